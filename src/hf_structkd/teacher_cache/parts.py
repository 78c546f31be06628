"""The parts of an answer, which are stored apart: runs whose terms read other parts share what they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..features.forward import Reading
from .store import AnswerStore

OUTPUT = "output"


@dataclass
class FoundPart:
    """One part of the answers to a batch, as far as a store holds it.

    Attributes:
        store: Where the part is kept.
        keys: The key of each image.
        tensors: Those of each image by name, or None where they are missing.
    """

    store: AnswerStore
    keys: Sequence[str]
    tensors: list[dict[str, Tensor] | None]

    @property
    def is_missing(self) -> bool:
        """Whether the part of an image is missing."""
        return None in self.tensors

    def complete(self, computed: Sequence[dict[str, Tensor]], *, keep: bool) -> None:
        """Fill in, and perhaps store, what is missing; what is stored stays, to the last bit."""
        for image, (key, tensors) in enumerate(zip(self.keys, computed, strict=True)):
            if self.tensors[image] is None:
                self.tensors[image] = tensors
                if keep:
                    self.store.put(key, tensors)

    def answer(self, image: int) -> dict[str, Tensor]:
        """Return the tensors of an image, when none is missing."""
        tensors = self.tensors[image]
        assert tensors is not None
        return tensors


def of_part(part: Reading, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an answer that belong to a part of it."""
    is_output = part == "output"
    return {name: value for name, value in tensors.items() if name.startswith(f"{OUTPUT}.") == is_output}
