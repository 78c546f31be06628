"""The pixel-wise term: the student learns the teacher's output at each place."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from torch import Tensor

from ..features.forward import Batch, Forward
from ..losses import check_temperature
from ..tasks import Task
from .base import Term


@dataclass(eq=False)
class PixelTerm(Term):
    """The comparison of the two outputs at each place, a pixel of a map or a matched query of a detector.

    The task defines the comparison, for example KL(teacher || student) over classes at each pixel (Liu et
    al., TPAMI 2020, eq. (2)).

    Args:
        weight: The weight, as in `Term`.
        temperature: The number above 0 that divides both logits; the term is multiplied by its square.
    """

    name: ClassVar[str] = "pixel"
    title: ClassVar[str] = "pixel-wise term"
    compares: ClassVar[str] = "the two outputs, pixel by pixel or query by query"
    default_weight: ClassVar[float] = 1.0
    reads_probabilities: ClassVar[bool] = True

    _: KW_ONLY
    temperature: float = 1.0

    def check(self) -> None:
        """Check the temperature too."""
        super().check()
        check_temperature(self.temperature)

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the task's distance between the two outputs."""
        assert teacher is not None
        return task.output_loss(student, teacher, batch, temperature=self.temperature)
