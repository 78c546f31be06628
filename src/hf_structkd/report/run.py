"""The figures and the table of a finished run, whatever its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..matching.alignment import resize_map
from ..matching.normalization import ImageNormalization
from ..models.parameters import count_parameters
from ..training.trainer import StructKDTrainer
from .comparison import ComparisonRow, comparison_table, milliseconds_per_image
from .curves import plot_curves

_PICTURES = 4


class Exhibit(NamedTuple):
    """A few evaluation images and what every model made of them.

    Attributes:
        images: (B, 3, H, W), RGB in [0, 1].
        batch: The batch that the models were given; `labels` may be a list of maps of their own sizes.
        outputs: Name of the model -> its output in the student's terms: teacher, alone, distilled.
    """

    images: Tensor
    batch: Mapping[str, Any]
    outputs: Mapping[str, Any]

    def picture(self, index: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """Image `index` at `size` as (H, W, 3), for a map that is drawn beside it."""
        picture = resize_map(self.images[index : index + 1], size)[0].permute(1, 2, 0).clamp(0, 1)
        array: NDArray[np.float32] = picture.cpu().numpy()
        return array


def write_report(
    trainer: StructKDTrainer,
    metrics: Mapping[str, float],
    *,
    metric: str,
    metric_label: str,
    draw: Callable[[Exhibit, Path], object],
    higher_is_better: bool = True,
    extra: Sequence[tuple[str, str]] = (),
    teacher_metrics: Mapping[str, float] | None = None,
    alone: StructKDTrainer | None = None,
    alone_metrics: Mapping[str, float] | None = None,
) -> str:
    """Write `figures/curves.png`, have `figures/predictions.png` drawn and return the comparison table.

    One process does it for all: nothing in here waits for another.

    Args:
        trainer: The distilled student's trainer, after training.
        metrics: What its `evaluate()` returned.
        metric: Name of the task's main metric, without `eval_`.
        metric_label: The metric's name for people.
        draw: Draws the predictions to the path it is given.
        higher_is_better: False for an error.
        extra: Name and label of each further metric that the table prints.
        teacher_metrics: What its `evaluate_teacher()` returned, where there is a teacher.
        alone: The trainer of the same student without a teacher, where there is one.
        alone_metrics: What that one's `evaluate()` returned.

    Returns:
        The Markdown table teacher / alone / distilled.
    """
    name = "distilled" if trainer.teacher is not None else "student"
    runs = {"alone": alone, name: trainer}
    batch = collate_first(trainer)
    rows, histories = [], {}
    if trainer.teacher is not None and teacher_metrics is not None:
        images = trainer.teacher.images(batch["pixel_values"][:1])
        rows.append(_row("teacher", teacher_metrics, trainer.teacher.model, images))
    for label, scores in (("alone", alone_metrics), (name, metrics)):
        run = runs[label]
        if run is not None and scores is not None:
            unprefixed = {key.removeprefix("eval_"): value for key, value in scores.items()}
            rows.append(_row(label, unprefixed, run.model, batch["pixel_values"][:1]))
            histories[label] = run.state.log_history
    folder = Path(str(trainer.args.output_dir)) / "figures"
    plot_curves(
        dict(reversed(histories.items())),
        folder / "curves.png",
        metric=f"eval_{metric}",
        metric_label=metric_label if higher_is_better else f"{metric_label} (lower is better)",
        reference={"teacher": teacher_metrics[metric]} if teacher_metrics else None,
    )
    draw(_exhibit(trainer, runs, batch), folder / "predictions.png")
    return comparison_table(
        rows, metric=metric, metric_label=metric_label, higher_is_better=higher_is_better, extra=extra
    )


def collate_first(trainer: StructKDTrainer) -> dict[str, Any]:
    """A few evaluation rows, spread over the set where it has a length, as one batch on the device."""
    data: Any = trainer.eval_dataset
    if hasattr(data, "__len__"):
        chosen = np.linspace(0, len(data) - 1, num=min(_PICTURES, len(data))).round().astype(int)
        rows = [data[int(index)] for index in chosen]
    else:
        rows = [row for row, _ in zip(data, range(_PICTURES), strict=False)]
    batch: dict[str, Any] = trainer._prepare_inputs(trainer.task.collate(rows))
    return batch


@torch.no_grad()
def _exhibit(
    trainer: StructKDTrainer, runs: Mapping[str, StructKDTrainer | None], batch: Mapping[str, Any]
) -> Exhibit:
    images = batch["pixel_values"]
    outputs: dict[str, Any] = {}
    if trainer.teacher is not None:
        outputs["teacher"] = trainer.task.as_student(trainer.teacher(batch).output, batch)
    for label, run in runs.items():
        if run is not None:
            outputs[label] = run.model.eval()(**run.task.model_inputs(batch))
    processor = trainer.processing_class
    normalization = (
        ImageNormalization() if processor is None else ImageNormalization.from_image_processor(processor)
    )
    return Exhibit(normalization.denormalize(images).clamp(0, 1), batch, outputs)


def _row(name: str, metrics: Mapping[str, float], model: Any, images: Tensor) -> ComparisonRow:
    return ComparisonRow(
        name,
        metrics,
        parameters=count_parameters(model),
        milliseconds=milliseconds_per_image(model, images),
    )
