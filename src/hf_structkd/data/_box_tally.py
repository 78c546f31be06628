"""How many boxes each cleaning rule concerned, counted over all workers and told once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch

from ._datasets import MAX_WORKERS, shared_zeros, worker_slot
from .box_conventions import Written, check_format
from .box_frames import check_scale
from .boxes import BOX_RULES, Cleaned, ObjectBoxes, rule_counts

logger = logging.getLogger(__name__)

# So many boxes of a stream tell its convention.
_FIRST_BOXES = 1000
# Fewer boxes may well leave a class out.
_MANY = 20
# What the class of id 0 is called where no box can have it.
_NO_CLASS = ("background", "n/a", "none", "")


class BoxTally:
    """Count boxes by rule, and refuse those of another convention.

    Attributes:
        name: what a warning calls the dataset.
        is_complete: whether all rows of the dataset are counted, so that reading one adds nothing.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.name = "dataset"
        self.is_complete = False
        self._counts = shared_zeros(MAX_WORKERS, len(BOX_RULES))
        self._first: list[Written] = []
        self._categories: list[Any] = []

    @property
    def counts(self) -> dict[str, int]:
        """Boxes by the name of the rule, over all workers."""
        return dict(zip(BOX_RULES, self._counts.sum(dim=0).tolist(), strict=True))

    def add_all(self, rows: Iterable[Cleaned], target: ObjectBoxes) -> int:
        """Check and count the rows of a stored dataset, and warn once if a rule concerned any box.

        Returns:
            The number of boxes that are left to train on.
        """
        left = 0
        unknown: set[Any] = set()
        categories: list[Any] = []
        written: list[Written] = []
        for cleaned in rows:
            self._counts[worker_slot()] += cleaned.counts
            unknown.update(cleaned.unknown)
            categories.extend(cleaned.categories)
            written.append(cleaned.written)
            left += int((~cleaned.objects.crowd).sum())
        self.is_complete = True
        if written:
            self._check(Written.joined(written), target, complete=True)
        first, label = target.first_category_id, target.id2label[0]
        lacks_first = _check_first_id(categories, target, self.name)
        if lacks_first and len(categories) >= _MANY and label.lower() not in _NO_CLASS:
            logger.warning(
                "%s, boxes: none of %d has the category %d (%r); %s.",
                *(self.name, len(categories), first, label, _question(first)),
            )
        if any(self.counts.values()):
            logger.warning("%s, boxes: %s.", self.name, _summary(self.counts, unknown))
        return left

    def add(self, cleaned: Cleaned, target: ObjectBoxes, *, where: str) -> None:
        """Check and count a row of a stream, and warn at the first box that each rule concerns."""
        if self.is_complete:
            return
        if sum(len(one.numbers) for one in self._first) < _FIRST_BOXES:
            self._first.append(cleaned.written)
            self._categories += cleaned.categories
            self._check(Written.joined(self._first), target, complete=False)
            if len(self._categories) >= _MANY:
                _check_first_id(self._categories, target, self.name)
        self._warn_at_first(cleaned.counts, set(cleaned.unknown), where)

    def add_lost(self, count: int, *, where: str) -> None:
        """Count boxes that a training crop shows below a pixel, and warn at the first."""
        if count:
            self._warn_at_first(rule_counts({"below_pixel": count}), set(), where)

    def _check(self, written: Written, target: ObjectBoxes, *, complete: bool) -> None:
        check_format(written, target.bbox_format, name=self.name, complete=complete)
        check_scale(written, target.bbox_format, name=self.name)

    def _warn_at_first(self, counts: torch.Tensor, unknown: set[Any], where: str) -> None:
        new = (self._counts.sum(dim=0) == 0) & (counts > 0)
        self._counts[worker_slot()] += counts
        if new.any():
            first = dict(zip(BOX_RULES, torch.where(new, counts, 0).tolist(), strict=True))
            text = _summary(first, unknown)
            logger.warning("%s, boxes in %s: %s; further ones are only counted.", self.name, where, text)


def _check_first_id(categories: list[Any], target: ObjectBoxes, name: str) -> bool:
    """Refuse ids that run from 1 to K, and tell whether the first class has no box but others have."""
    first, ids = target.first_category_id, {one for one in categories if isinstance(one, int)}
    if not ids or min(ids) != first + 1:
        return False
    if max(ids) == first + len(target.id2label):
        raise ValueError(
            f"The ids of categories must run from {first} to {max(ids) - 1}, got {min(ids)} to {max(ids)} in "
            f"{name}; {_question(first)}."
        )
    return target.id2label[0] not in categories


def _question(first: int) -> str:
    return f"do your ids start at {first + 1}? Then pass first_category_id={first + 1}"


def _summary(counts: dict[str, int], unknown: set[Any]) -> str:
    """Return, for instance, "3 clipped to the image, 1 dropped (unknown category 9)"."""
    # The type comes first, because ids and names cannot be compared.
    values = ", ".join(map(repr, sorted(unknown, key=lambda value: (type(value).__name__, value))))
    phrases = BOX_RULES | {"unknown_category": f"dropped (unknown category {values})"}
    return ", ".join(f"{count} {phrases[rule]}" for rule, count in counts.items() if count)
