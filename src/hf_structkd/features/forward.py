"""One forward pass of a model and the feature maps captured in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

Batch = Mapping[str, Any]

Reading = Literal["output", "features"]
"""A part of a forward that a term may read."""


class Forward(NamedTuple):
    """One forward pass.

    Attributes:
        output: The model's output, or None where a cache holds none because nothing reads it.
        features: The captured feature maps (B, C, h, w), if any.
        nodes: Of a teacher whose answer was stored: its maps pooled to nodes (B, C, rows, columns). The maps
            in `features` then have the right size and no content.
        node_sums: Of such a teacher: what `Question.sum_up` returned of the nodes of each map.
    """

    output: Any
    features: tuple[Tensor, ...] = ()
    nodes: tuple[Tensor, ...] = ()
    node_sums: tuple[Tensor, ...] = ()


class Question(NamedTuple):
    """What the terms that are on read of a teacher's answer.

    Attributes:
        reads: The parts that are read.
        pool: Pools the teacher's map of a pair to the nodes that are all that is read of it; None where the
            maps themselves are read.
        pooling: What `pool` depends on, as JSON values.
        sum_up: Computes what of these nodes is the same in every step, (B, ...), to be kept exactly.
    """

    reads: frozenset[Reading]
    pool: Callable[[Any], Tensor] | None = None
    pooling: Mapping[str, Any] | None = None
    sum_up: Callable[[Tensor], Tensor] | None = None


class Capture(Protocol):
    """A capture of the feature maps that the pair-wise term compares, such as `FeatureCapture`."""

    description: str  # a name of the captured features for people

    def recording(self) -> AbstractContextManager[Any]:
        """Capture what the forwards inside the `with` block compute."""

    def pop_maps(self) -> tuple[Tensor, ...]:
        """Return the captured maps (B, C, h, w), finest first, and release them."""

    def remove(self) -> None:
        """Remove the hooks from the model."""


def run_model(model: nn.Module, inputs: Mapping[str, Any], capture: Capture | None) -> Forward:
    """Run a model, and return its output with the maps of `capture`, if there is one."""
    if capture is None:
        return Forward(model(**inputs))
    with capture.recording():
        output = model(**inputs)
    return Forward(output, capture.pop_maps())
