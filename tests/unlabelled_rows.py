"""Rows without labels, as a loader makes them, and detection rows of which some have labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from .cases import DETECTION, SEGMENTATION, Rows, TaskCase


class UnlabelledRows(Rows):
    """Rows that say that they have no labels."""

    has_labels = False


def empty_labels(case: TaskCase, labels: Any) -> Any:
    """Labels in which every pixel is ignored, all depth is a hole, or there are no boxes."""
    if case.name.startswith(DETECTION.name):
        return {**labels, "boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    return torch.full_like(labels, 255 if case is SEGMENTATION else 0)


def unlabelled(case: TaskCase, count: int) -> UnlabelledRows:
    """The images of a case, without their labels."""
    rows = case.rows(count).rows
    marked = [
        {**row, "labels": empty_labels(case, row["labels"]), "labeled": torch.tensor(False)} for row in rows
    ]
    return UnlabelledRows(marked)


def _mixed_rows(count: int) -> Rows:
    """Every third row has labels, so that batches hold none, one or several of them."""
    bare = unlabelled(DETECTION, count).rows
    rows = [{**row, "labeled": torch.tensor(True)} for row in DETECTION.rows(count).rows]
    return Rows([row if index % 3 == 0 else bare[index] for index, row in enumerate(rows)])


MIXED = replace(DETECTION, name="detection, some images without labels", rows=_mixed_rows)
