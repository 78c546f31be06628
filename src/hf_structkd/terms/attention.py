"""The attention-transfer term: the student learns where the teacher's features are large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..features.forward import Batch, Forward, Reading
from ..losses.attention import attention_transfer_loss
from ..tasks import Task
from .base import Term
from .levels import of_several_places


@dataclass(eq=False)
class AttentionTerm(Term):
    """One minus the cosine of the two models' maps of attention (Zagoruyko and Komodakis, ICLR 2017).

    If the task compares several levels of features, the term is the mean over those of two pixels or more.

    Args:
        weight: The weight, as in `Term`.
    """

    name: ClassVar[str] = "attention"
    title: ClassVar[str] = "attention transfer"
    compares: ClassVar[str] = "where in the image the features are large"
    reads: ClassVar[frozenset[Reading]] = frozenset({"features"})

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the mean over the levels."""
        assert teacher is not None
        pairs = task.feature_pairs(student, teacher, batch)
        levels = of_several_places([(pair.student, pair) for pair in pairs])
        losses = [attention_transfer_loss(maps, pair.teacher, mask=pair.mask) for maps, pair in levels]
        return torch.stack(losses).mean()
