"""What the captures of features share: hooks that keep something while a `with` block is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from torch.utils.hooks import RemovableHandle

from .probe import remove_hooks


class HookedCapture(ABC):
    """Hooks on a model that do nothing outside `recording()`.

    Gradient checkpointing runs forwards again during backward: these must not overwrite what was captured.

    Attributes:
        description: What is captured, for people: "input of decode_head.classifier".
    """

    def __init__(self, description: str) -> None:
        """Start with no hook; a subclass adds its own to `_handles`."""
        self.description = description
        self._recording = False
        self._handles: list[RemovableHandle] = []

    @abstractmethod
    def _forget(self) -> None:
        """Let go of what was captured."""

    @contextmanager
    def recording(self) -> Iterator[Self]:
        """Capture what the forwards inside the `with` block compute, and forget what was captured before."""
        self._forget()
        self._recording = True
        try:
            yield self
        except BaseException:
            self._forget()
            raise
        finally:
            self._recording = False

    def remove(self) -> None:
        """Take the hooks off the model."""
        remove_hooks(self._handles)
        self._forget()
