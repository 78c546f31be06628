"""What may fail after a training without taking the rest with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging

logger = logging.get_logger(__name__)


class Failures:
    """The failures of what follows a training: each is said at once, and the first is raised at the end."""

    def __init__(self) -> None:
        """Start without one."""
        self._first: Exception | None = None

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Go on after an error inside the `with` block, and keep it for the end."""
        try:
            yield
        except Exception as error:  # it is raised at the end
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            logger.error("%s failed (%s); what else belongs to the run is still written.", part, reason)
            self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the first error, if there is one."""
        if self._first is not None:
            raise self._first
