"""The figures and the table of a finished segmentation run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..alignment import resize_map
from ..normalization import ImageNormalization
from ..tasks import SegmentationTask
from ..trainer import StructKDTrainer
from .comparison import ComparisonRow, comparison_table, count_parameters, milliseconds_per_image
from .curves import plot_curves
from .predictions import PredictionRow, plot_segmentation_predictions

_PICTURES = 4


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
    name = "distilled" if trainer.teacher is not None else "student"
    batch = collate_first(trainer)
    rows, histories = [], {}
    if trainer.teacher is not None and teacher_metrics is not None:
        images = trainer.teacher.images(batch["pixel_values"][:1])
        rows.append(_row("teacher", teacher_metrics["mean_iou"], trainer.teacher.model, images))
    for label, run, scores in (("alone", alone, alone_metrics), (name, trainer, metrics)):
        if run is not None and scores is not None:
            rows.append(_row(label, scores["eval_mean_iou"], run.model, batch["pixel_values"][:1]))
            histories[label] = run.state.log_history
    folder = Path(str(trainer.args.output_dir)) / "figures"
    reference = {"teacher": teacher_metrics["mean_iou"]} if teacher_metrics else None
    plot_curves(dict(reversed(histories.items())), folder / "curves.png", reference=reference)
    plot_segmentation_predictions(
        _prediction_rows(trainer, alone, batch, name),
        folder / "predictions.png",
        class_names=list(task.id2label.values()),
        ignore_index=task.ignore_index,
    )
    return comparison_table(rows, metric="mean_iou", metric_label="mean IoU")


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
def _prediction_rows(
    trainer: StructKDTrainer, alone: StructKDTrainer | None, batch: Mapping[str, Any], name: str
) -> list[PredictionRow]:
    images = batch["pixel_values"]
    logits: dict[str, Tensor] = {}
    if trainer.teacher is not None:
        logits["teacher"] = trainer.task.as_student(trainer.teacher(images).output).logits
    for label, run in (("alone", alone), (name, trainer)):
        if run is not None:
            logits[label] = run.model.eval()(pixel_values=images).logits
    processor = trainer.processing_class
    normalization = (
        ImageNormalization() if processor is None else ImageNormalization.from_image_processor(processor)
    )
    colours = normalization.denormalize(images).clamp(0, 1)
    rows = []
    for i, label_map in enumerate(batch["labels"]):
        size = (label_map.shape[-2], label_map.shape[-1])
        picture = resize_map(colours[i : i + 1], size)[0].permute(1, 2, 0).clamp(0, 1)
        predictions = {
            model: resize_map(maps[i : i + 1].float(), size)[0].argmax(0).cpu().numpy()
            for model, maps in logits.items()
        }
        rows.append(PredictionRow(picture.cpu().numpy(), label_map.cpu().numpy(), predictions))
    return rows


def _row(name: str, mean_iou: float, model: Any, images: Tensor) -> ComparisonRow:
    return ComparisonRow(
        name,
        {"mean_iou": mean_iou},
        parameters=count_parameters(model),
        milliseconds=milliseconds_per_image(model, images),
    )
