"""How many boxes each cleaning rule concerned, counted over all workers and told once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch

from ._datasets import MAX_WORKERS, shared_zeros, worker_slot
from .boxes import BOX_RULES, Cleaned

logger = logging.getLogger(__name__)


class BoxTally:
    """Count boxes by rule.

    Attributes:
        name: what a warning calls the dataset.
        is_complete: whether all rows of the dataset are counted, so that reading one adds nothing.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.name = "dataset"
        self.is_complete = False
        self._counts = shared_zeros(MAX_WORKERS, len(BOX_RULES))

    @property
    def counts(self) -> dict[str, int]:
        """Boxes by the name of the rule, over all workers."""
        return dict(zip(BOX_RULES, self._counts.sum(dim=0).tolist(), strict=True))

    def add_all(self, rows: Iterable[Cleaned]) -> None:
        """Count the rows of a stored dataset, and warn once if a rule concerned any box."""
        unknown: set[Any] = set()
        for cleaned in rows:
            self._counts[worker_slot()] += cleaned.counts
            unknown.update(cleaned.unknown)
        self.is_complete = True
        if any(self.counts.values()):
            logger.warning("%s, boxes: %s.", self.name, _summary(self.counts, unknown))

    def add(self, cleaned: Cleaned, *, where: str) -> None:
        """Count a row of a stream, and warn at the first box that each rule concerns."""
        if self.is_complete:
            return
        new = (self._counts.sum(dim=0) == 0) & (cleaned.counts > 0)
        self._counts[worker_slot()] += cleaned.counts
        if new.any():
            first = dict(zip(BOX_RULES, torch.where(new, cleaned.counts, 0).tolist(), strict=True))
            text = _summary(first, set(cleaned.unknown))
            logger.warning("%s, boxes in %s: %s; further ones are only counted.", self.name, where, text)


def _summary(counts: dict[str, int], unknown: set[Any]) -> str:
    """Return, for instance, "3 clipped to the image, 1 dropped (unknown category 9)"."""
    # The type comes first, because ids and names cannot be compared.
    values = ", ".join(map(repr, sorted(unknown, key=lambda value: (type(value).__name__, value))))
    phrases = BOX_RULES | {"unknown_category": f"dropped (unknown category {values})"}
    return ", ".join(f"{count} {phrases[rule]}" for rule, count in counts.items() if count)
