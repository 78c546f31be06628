"""The figures and the table of a finished depth run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..matching.alignment import resize_map
from ..tasks import DepthTask
from ..training.trainer import StructKDTrainer
from .depth_predictions import DepthPredictionRow, plot_depth_predictions
from .run import Exhibit, write_report

_FITTED = "Fitted to each image's ground truth by a scale and a shift before it is scored: {}."


def write_depth_report(
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
        The Markdown table teacher / alone / distilled: AbsRel, share of its gap, RMSE in metres, δ1,
        parameters, ms an image; under it whose depth is not metric and was fitted to the ground truth.

    Raises:
        TypeError: If the trainer's task is another.
    """
    task = trainer.task
    if not isinstance(task, DepthTask):
        raise TypeError(f"`trainer` must train a depth model, got one for {task.name}.")
    table = write_report(
        trainer,
        metrics,
        metric="abs_rel",
        metric_label="AbsRel",
        higher_is_better=False,
        extra=[("rmse", "RMSE in m (lower is better)"), ("delta1", "δ1 (higher is better)")],
        draw=partial(_draw, task),
        teacher_metrics=teacher_metrics,
        alone=alone,
        alone_metrics=alone_metrics,
    )
    if task.depth_kind != "metric":
        return f"{table}\n\n{_FITTED.format('every model')}"
    if trainer.teacher is not None and task.teacher_depth_kind != "metric":
        return f"{table}\n\n{_FITTED.format('the teacher')}"
    return table


def _draw(task: DepthTask, exhibit: Exhibit, path: Path) -> None:
    depths = {name: task.in_metres(output, exhibit.batch) for name, output in exhibit.outputs.items()}
    rows = []
    for i, label_map in enumerate(exhibit.batch["labels"]):
        size = (label_map.shape[-2], label_map.shape[-1])
        predictions = {
            name: resize_map(maps[i : i + 1, None], size)[0, 0].cpu().numpy() for name, maps in depths.items()
        }
        rows.append(DepthPredictionRow(exhibit.picture(i, size), label_map.cpu().numpy(), predictions))
    plot_depth_predictions(rows, path)
