"""The base of the captures: hooks that keep features while a `with` block is open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from torch.utils.hooks import RemovableHandle

from .probe import remove_hooks


class HookedCapture(ABC):
    """Hooks on a model that do nothing outside `recording()`.

    Gradient checkpointing runs forwards again during backward; these must not overwrite the captured maps.

    Attributes:
        description: Name of the captured feature for people, such as "input of decode_head.classifier".
    """

    def __init__(self, description: str) -> None:
        """Start without a hook; a subclass adds its own hooks to `_handles`."""
        self.description = description
        self._recording = False
        self._handles: list[RemovableHandle] = []

    @abstractmethod
    def _forget(self) -> None:
        """Release what was captured."""

    @contextmanager
    def recording(self) -> Iterator[Self]:
        """Capture what the forwards inside the `with` block compute; release what was captured before."""
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
        """Remove the hooks from the model."""
        remove_hooks(self._handles)
        self._forget()
