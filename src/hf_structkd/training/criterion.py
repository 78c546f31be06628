"""Which terms are on, and their unweighted values for one batch."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..features.forward import Batch, Forward
from ..losses import pairwise_distillation_loss
from ..tasks import FeaturePair, Task
from .terms import TERMS


@dataclass(frozen=True)
class Criterion:
    """The task term and the two terms that need no critic.

    Args:
        task: What the terms mean for this task.
        terms: Names of the terms that are on; a term that is not named is never computed.
        temperature: Of the pixel-wise term.
        granularity: Side of a node in pixels, one number or rows and columns.
        node_grid: Nodes a side, in place of `granularity`.
        connection_range: Nearest nodes each node is compared with; None is all.
        node_pooling: "mean" or "max".
    """

    task: Task
    terms: Collection[str]
    temperature: float = 1.0
    granularity: tuple[int, int] = (2, 2)
    node_grid: int | None = None
    connection_range: int | None = None
    node_pooling: Literal["mean", "max"] = "mean"

    def __post_init__(self) -> None:
        """Refuse a term that nobody computes: it would be left out in silence."""
        unknown = sorted(set(self.terms) - set(TERMS))
        if unknown:
            raise ValueError(f"`terms` must be among {', '.join(TERMS)}, got {', '.join(unknown)}.")

    def __call__(self, student: Forward, teacher: Forward | None, batch: Batch) -> dict[str, Tensor]:
        """Return each term that is on, by name, as an unweighted scalar."""
        values = {}
        if "task" in self.terms:
            values["task"] = self.task.task_loss(student.output, batch)
        if teacher is not None and "pixel" in self.terms:
            values["pixel"] = self.task.pixel_loss(student, teacher, batch, temperature=self.temperature)
        if teacher is not None and "pairwise" in self.terms:
            pairs = self.feature_pairs(student, teacher, batch)
            values["pairwise"] = torch.stack([self._pairwise(pair) for pair in pairs]).mean()
        return values

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Batch) -> list[FeaturePair]:
        """The task's pairs that have two nodes or more.

        The coarsest levels of a pyramid may have one, with which nothing can be compared. Where every pair
        is so small they come back all, and the loss says what is wrong.
        """
        pairs = self.task.feature_pairs(student, teacher, batch)
        return [pair for pair in pairs if self._node_count(pair) > 1] or pairs

    def _node_count(self, pair: FeaturePair) -> int:
        height, width = pair.student.shape[-2:]
        rows, columns = self.node_size(height, width)
        return math.ceil(height / rows) * math.ceil(width / columns)

    def _pairwise(self, pair: FeaturePair) -> Tensor:
        return pairwise_distillation_loss(
            pair.student,
            pair.teacher,
            granularity=self.node_size(pair.student.shape[-2], pair.student.shape[-1]),
            connection_range=self.connection_range,
            pooling=self.node_pooling,
            mask=pair.mask,
        )

    def node_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a node on a map of `height` by `width` pixels."""
        if self.node_grid is None:
            return self.granularity
        return math.ceil(height / self.node_grid), math.ceil(width / self.node_grid)
