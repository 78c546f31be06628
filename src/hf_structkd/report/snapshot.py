"""One picture of what the models make of a few images, for a tracker that shows a training while it runs."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ..data import has_labels
from .run import FinishedRun, collate_first, exhibit_of, shown_data

_LONGEST_SIDE = 1600


def draw_snapshot(trainer: FinishedRun) -> Image.Image:
    """Draw image, label, teacher and student of a few validation images, as `predictions.png` shows them.

    A teacher whose weights are not loaded, because a cache answers for it, is left out.

    Args:
        trainer: The trainer of the student, which is left in eval mode.

    Returns:
        An RGB image of at most 1600 pixels a side.
    """
    teacher = trainer.teacher
    is_loaded = teacher is not None and teacher.source.is_loaded
    agrees = is_loaded and not has_labels(shown_data(trainer))
    exhibit = exhibit_of(
        trainer, {"student": trainer}, collate_first(trainer), {}, agrees=agrees, asks_teacher=is_loaded
    )
    with TemporaryDirectory() as folder:
        trainer.task.draw(exhibit, Path(folder))
        with Image.open(Path(folder) / "predictions.png") as file:
            picture = file.convert("RGB")
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return picture
