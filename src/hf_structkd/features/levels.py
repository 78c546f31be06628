"""Capturing several feature maps of one forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from torch import Tensor

from .feature_capture import FeatureCapture


class LevelsCapture:
    """Several captures as one capture of several levels.

    Args:
        captures: One capture for each level.

    Attributes:
        description: Name of the captured features for people.
    """

    def __init__(self, captures: Sequence[FeatureCapture]) -> None:
        """Take ownership of the captures."""
        self._captures = list(captures)
        self.description = " and ".join(capture.description for capture in self._captures)

    @contextmanager
    def recording(self) -> Iterator[Self]:
        """Capture what the forwards inside the `with` block compute."""
        with ExitStack() as stack:
            for capture in self._captures:
                stack.enter_context(capture.recording())
            yield self

    def pop_maps(self) -> tuple[Tensor, ...]:
        """Return the maps (B, C, h, w) in the order of the captures, and release them."""
        return tuple(capture.pop() for capture in self._captures)

    def remove(self) -> None:
        """Remove the hooks from the model."""
        for capture in self._captures:
            capture.remove()
