"""The pixel-wise term: the student learns what the teacher says of each place."""

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
    """The two outputs, compared place by place: pixels of a map, or matched queries of a detector.

    The task says what the comparison is, for example KL(teacher || student) over classes at each pixel
    (Liu et al., TPAMI 2020, eq. (2)).

    Args:
        weight: As in `Term`.
        temperature: Divides both models' logits, > 0; the term is multiplied by its square.
    """

    name: ClassVar[str] = "pixel"
    title: ClassVar[str] = "pixel-wise term"
    compares: ClassVar[str] = "the two outputs, pixel by pixel or query by query"
    default_weight: ClassVar[float] = 1.0

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
