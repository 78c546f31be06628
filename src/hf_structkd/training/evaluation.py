"""Evaluation in constant memory, whatever the task."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import EvalPrediction, Trainer

from ..metrics import PADDING
from ..models import FrozenTeacher
from ..tasks import StreamingMetric, Task


class StreamingScores:
    """A `compute_metrics` that is fed each batch's statistics in place of its logits.

    Each image is reduced on the device to its task's statistics, so that no logits are gathered or kept.

    Args:
        task: Says what the statistics are, and makes the metric.
    """

    def __init__(self, task: Task) -> None:
        """Start with an empty metric."""
        self._task = task
        self._metric: StreamingMetric = task.metric()

    def start(self, task: Task) -> None:
        """Start anew: an evaluation that was interrupted leaves nothing behind."""
        self._task = task
        self._metric = task.metric()

    def statistics(self, output: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return each image's statistics, and in place of labels zeros.

        Trainer calls a metric only where there are labels; these are counted in the statistics already.
        """
        statistics = self._task.evaluation_statistics(output, inputs)
        return statistics, torch.zeros(statistics.shape[0], device=statistics.device)

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Add a batch's statistics; return the scores at the end."""
        self._metric.add_statistics(torch.as_tensor(prediction.predictions))
        return _scores(self._metric) if compute_result else {}


@torch.no_grad()
def score_teacher(trainer: Trainer, teacher: FrozenTeacher | None, task: Task) -> dict[str, float]:
    """Return a teacher's scores on a trainer's `eval_dataset`, without a prefix.

    The teacher is shown images of its own normalisation and size, as in training.

    Raises:
        ValueError: If there is no teacher.
    """
    if teacher is None:
        raise ValueError("there is no teacher to evaluate; pass `teacher_model` and give a term a weight.")
    metric = task.metric()
    for batch in trainer.get_eval_dataloader():
        inputs = trainer._prepare_inputs(batch)
        statistics = teacher.statistics(inputs, partial(_statistics_of_teacher, task, inputs), task.scoring())
        # As Trainer pads what its own evaluation gathers: images have differently many boxes.
        statistics = trainer.accelerator.pad_across_processes(statistics, dim=1, pad_index=PADDING)
        metric.add_statistics(trainer.accelerator.gather_for_metrics(statistics))
    teacher.flush()
    return _scores(metric)


def _statistics_of_teacher(task: Task, inputs: dict[str, Any], output: Any) -> Tensor:
    return task.evaluation_statistics(task.as_student(output, inputs), inputs)


def _scores(metric: StreamingMetric) -> dict[str, float]:
    """Return the scores that are single numbers, because a log takes no lists."""
    return {name: score for name, score in metric.compute().items() if isinstance(score, float)}
