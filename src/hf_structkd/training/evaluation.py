"""A Trainer whose evaluation takes constant memory, whatever its task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer

from ..tasks import StreamingMetric, Task


class StreamingEvaluationTrainer(Trainer):
    """Reduces each image on the device to its task's statistics and streams them into the task's metric.

    A subclass sets `task` before it calls `use_task_metric`; with a `compute_metrics` of the caller's own,
    evaluation is Trainer's.
    """

    task: Task
    compute_metrics: Any
    _metric: StreamingMetric
    _streams_metrics = False

    def use_task_metric(self) -> None:
        """Stream into the task's metric, unless the caller gave `compute_metrics`."""
        if self.compute_metrics is None:
            self._streams_metrics = True
            self.compute_metrics = self._compute_metrics

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """Reduce each image to the task's statistics on the device, so that no logits are gathered or kept.

        Keeps Trainer's contract: (loss, predictions, labels), the statistics standing for the predictions.
        With a `compute_metrics` of the caller's it is Trainer's own.
        """
        if not self._streams_metrics:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)  # type: ignore[no-any-return]
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, output = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        statistics = self.task.evaluation_statistics(output, inputs)
        # Trainer calls a metric only where there are labels; these are counted in the statistics already.
        return loss, statistics, torch.zeros(statistics.shape[0], device=statistics.device)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's loop over a fresh metric: an evaluation that was interrupted leaves nothing behind."""
        self._metric = self.task.metric()
        return super().evaluation_loop(*args, **kwargs)

    def _compute_metrics(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        self._metric.add_statistics(torch.as_tensor(prediction.predictions))
        return self._metric.scores() if compute_result else {}
