"""The teacher's own scores, on images of its own normalisation and size."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from ..data import has_labels, in_teacher_size
from ..metrics import PADDING
from ..models import FrozenTeacher
from ..tasks import StreamingMetric, Task
from .loaders import ImageGather


@torch.no_grad()
def teacher_scores(
    trainer: Trainer, teacher: FrozenTeacher, task: Task, eval_dataset: Any
) -> dict[str, float]:
    """Return the teacher's scores on a dataset or a set of that name; see `Evaluation.score_teacher`."""
    metric = task.metric()
    loader = trainer.get_eval_dataloader(eval_dataset)
    if not has_labels(loader.dataset):
        raise ValueError(
            "`eval_dataset` must have labels to score a teacher on, got none; pass labelled data."
        )
    gather = ImageGather(trainer, loader)
    with in_teacher_size(loader.dataset, teacher.image_size):
        for batch in loader:
            inputs = trainer._prepare_inputs(batch)
            statistics = teacher.statistics(inputs, partial(_statistics, task, inputs), task.scoring())
            # As Trainer pads what its own evaluation gathers: images have differently many boxes.
            statistics = trainer.accelerator.pad_across_processes(statistics, dim=1, pad_index=PADDING)
            metric.add_statistics(gather(statistics))
    teacher.flush()
    return single_scores(metric)


def _statistics(task: Task, inputs: dict[str, Any], output: Any) -> Tensor:
    return task.evaluation_statistics(task.as_student(output, inputs), inputs)


def single_scores(metric: StreamingMetric) -> dict[str, float]:
    """Return the scores that are single numbers, because a log takes no lists."""
    return {name: score for name, score in metric.compute().items() if isinstance(score, float)}
