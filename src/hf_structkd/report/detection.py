"""The figures and the table of a finished detection run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..metrics._detections import DETECTION, TRUTH
from ..tasks import DetectionTask
from ..training.trainer import StructKDTrainer
from .class_bars import plot_class_bars
from .detection_predictions import Boxes, BoxRow, plot_detection_predictions
from .run import Exhibit, write_report

_OF_CLASS = "ap_"
# Boxes that are drawn; DETR's own demonstration draws at 0.7, but small students are less sure.
_SCORE_THRESHOLD = 0.3


def write_detection_report(
    trainer: StructKDTrainer,
    metrics: Mapping[str, float],
    *,
    teacher_metrics: Mapping[str, float] | None = None,
    alone: StructKDTrainer | None = None,
    alone_metrics: Mapping[str, float] | None = None,
) -> str:
    """Write `curves.png`, `predictions.png` and `classes.png` into `figures` and return the comparison table.

    One process does it for all: nothing in here waits for another.

    Args:
        trainer: The distilled student's trainer, after training.
        metrics: What its `evaluate()` returned.
        teacher_metrics: What its `evaluate_teacher()` returned, where there is a teacher.
        alone: The trainer of the same student without a teacher, where there is one.
        alone_metrics: What that one's `evaluate()` returned.

    Returns:
        The Markdown table teacher / alone / distilled: mAP, share of its gap, AP at 0.50 and 0.75,
        parameters, ms an image.

    Raises:
        TypeError: If the trainer's task is another.
    """
    task = trainer.task
    if not isinstance(task, DetectionTask):
        raise TypeError(f"`trainer` must train a detector, got one for {task.name}.")
    name = "distilled" if trainer.teacher is not None else "student"
    scores = {"teacher": teacher_metrics, "alone": alone_metrics, name: metrics}
    bars = {run: _class_scores(found) for run, found in scores.items() if found is not None}
    plot_class_bars(bars, Path(str(trainer.args.output_dir)) / "figures" / "classes.png")
    return write_report(
        trainer,
        metrics,
        metric="map",
        metric_label="mAP",
        extra=[("map_50", "AP at 0.50"), ("map_75", "AP at 0.75")],
        draw=partial(_draw, task),
        teacher_metrics=teacher_metrics,
        alone=alone,
        alone_metrics=alone_metrics,
    )


def _class_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """The average precision of each class, by its name."""
    unprefixed = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    of_class = {name: value for name, value in unprefixed.items() if name.startswith(_OF_CLASS)}
    return {name.removeprefix(_OF_CLASS): value for name, value in of_class.items()}


def _draw(task: DetectionTask, exhibit: Exhibit, path: Path) -> None:
    found = {
        name: task.evaluation_statistics(output, exhibit.batch).cpu().numpy()
        for name, output in exhibit.outputs.items()
    }
    rows = []
    for i, labels in enumerate(exhibit.batch["labels"]):
        height, width = (round(side) for side in labels["canvas_size"].tolist())
        # Every model's rows hold the same truth.
        truth = _boxes(next(iter(found.values()))[i], TRUTH)
        predictions = {name: _boxes(of_batch[i], DETECTION) for name, of_batch in found.items()}
        rows.append(BoxRow(exhibit.picture(i, (height, width)), truth, predictions))
    plot_detection_predictions(
        rows, path, class_names=list(task.id2label.values()), score_threshold=_SCORE_THRESHOLD
    )


def _boxes(rows: NDArray[np.float32], kind: int) -> Boxes:
    """The boxes of one kind among an image's rows, in pixels of the original image."""
    rows = rows[rows[:, 0] == kind]
    return Boxes(rows[:, 3:], rows[:, 1].astype(np.int64), rows[:, 2] if kind == DETECTION else None)
