"""The feature-imitation term: the student learns the patterns of the teacher's channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..features.forward import Batch, Forward, Reading
from ..losses.mimic import feature_imitation_loss
from ..tasks import Task
from .base import Term
from .levels import of_several_places
from .projections import projected, projections_for


@dataclass(eq=False)
class MimicTerm(Term):
    """One minus the correlation between the channels of the two feature maps (PKD, NeurIPS 2022).

    If the widths differ, a 1×1 convolution turns the student's channels into the teacher's. It is trained
    with the student, and is not a part of it. If the task compares several levels, the term is the mean of
    those of two pixels or more.

    Args:
        weight: The weight, as in `Term`.
    """

    name: ClassVar[str] = "mimic"
    title: ClassVar[str] = "feature imitation"
    compares: ClassVar[str] = "the patterns of the feature maps' channels, after a 1×1 projection"
    reads: ClassVar[frozenset[Reading]] = frozenset({"features"})
    owns_modules: ClassVar[bool] = True

    def build(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> Iterable[nn.Module]:
        """Make one projection for each level."""
        return projections_for(task.feature_pairs(student, teacher, batch))

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the mean over the levels."""
        assert teacher is not None
        levels = of_several_places(projected(task.feature_pairs(student, teacher, batch), self.modules))
        losses = [feature_imitation_loss(maps, pair.teacher, mask=pair.mask) for maps, pair in levels]
        return torch.stack(losses).mean()
