"""The figures and the table of a finished segmentation run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..matching.alignment import resize_map
from ..tasks import SegmentationTask
from ..training.trainer import StructKDTrainer
from .predictions import PredictionRow, plot_segmentation_predictions
from .run import Exhibit, write_report


def write_segmentation_report(
    trainer: StructKDTrainer,
    metrics: Mapping[str, float],
    *,
    teacher_metrics: Mapping[str, float] | None = None,
    alone: StructKDTrainer | None = None,
    alone_metrics: Mapping[str, float] | None = None,
) -> str:
    """Write `figures/curves.png` and `figures/predictions.png` and return the comparison table.

    One process does it for all: nothing in here waits for another.

    Args:
        trainer: The distilled student's trainer, after training.
        metrics: What its `evaluate()` returned.
        teacher_metrics: What its `evaluate_teacher()` returned, where there is a teacher.
        alone: The trainer of the same student without a teacher, where there is one.
        alone_metrics: What that one's `evaluate()` returned.

    Returns:
        The Markdown table teacher / alone / distilled: mean IoU, share of the gap, parameters, ms an image.

    Raises:
        TypeError: If the trainer's task is another.
    """
    task = trainer.task
    if not isinstance(task, SegmentationTask):
        raise TypeError(f"`trainer` must train a segmentation model, got one for {task.name}.")
    return write_report(
        trainer,
        metrics,
        metric="mean_iou",
        metric_label="mean IoU",
        draw=partial(_draw, task),
        teacher_metrics=teacher_metrics,
        alone=alone,
        alone_metrics=alone_metrics,
    )


def _draw(task: SegmentationTask, exhibit: Exhibit, path: Path) -> None:
    logits = {name: task.prediction(output).float() for name, output in exhibit.outputs.items()}
    rows = []
    for i, label_map in enumerate(exhibit.batch["labels"]):
        size = (label_map.shape[-2], label_map.shape[-1])
        predictions = {
            name: resize_map(maps[i : i + 1], size)[0].argmax(0).cpu().numpy()
            for name, maps in logits.items()
        }
        rows.append(PredictionRow(exhibit.picture(i, size), label_map.cpu().numpy(), predictions))
    plot_segmentation_predictions(
        rows, path, class_names=list(task.id2label.values()), ignore_index=task.ignore_index
    )
