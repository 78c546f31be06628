"""The task term: the student's supervised loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..features.forward import Batch, Forward
from ..tasks import Task
from .base import Term


@dataclass(eq=False)
class TaskTerm(Term):
    """The student's supervised loss, which compares its output with the labels."""

    name: ClassVar[str] = "task"
    title: ClassVar[str] = "task loss"
    compares: ClassVar[str] = "the student's output with the labels (its own supervised loss)"
    default_weight: ClassVar[float] = 1.0
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the task's own loss."""
        return task.task_loss(student.output, batch)
