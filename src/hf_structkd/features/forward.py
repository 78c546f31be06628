"""One forward pass of a model, with the feature maps that were captured in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

Batch = Mapping[str, Any]


class Forward(NamedTuple):
    """One forward pass: the model's output and the captured feature maps (B, C, h, w), if any."""

    output: Any
    features: tuple[Tensor, ...] = ()


class Capture(Protocol):
    """Keeps what the pair-wise term compares of a model's forward: `FeatureCapture`, for example."""

    @property
    def description(self) -> str:
        """What is captured, for people."""

    def recording(self) -> AbstractContextManager[Any]:
        """Capture what the forwards inside the `with` block compute."""

    def pop_maps(self) -> tuple[Tensor, ...]:
        """Return the captured maps (B, C, h, w), finest first, and let go of them."""

    def remove(self) -> None:
        """Take the hooks off the model."""


def run_model(model: nn.Module, inputs: Mapping[str, Any], capture: Capture | None) -> Forward:
    """Run a model and keep its feature maps where they are wanted."""
    if capture is None:
        return Forward(model(**inputs))
    with capture.recording():
        output = model(**inputs)
    return Forward(output, capture.pop_maps())
