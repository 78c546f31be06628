"""The part of the trainer that evaluates and predicts."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import Trainer
from transformers.trainer_utils import PredictionOutput

from ..models import FrozenTeacher
from ..tasks import Task
from .arguments import StructKDTrainingArguments
from .best_model import warn_of_undecided
from .evaluation import (
    Predicted,
    StreamingScores,
    joined,
    one_evaluation,
    predicted_batches,
    refuse_mixed_labels,
    score_teacher,
)
from .loaders import ImageGather, build_loader, replaced


class EvaluatingTrainer(Trainer):
    """`Trainer` with an evaluation in constant memory, in which every image counts exactly once."""

    args: StructKDTrainingArguments
    _streaming: StreamingScores | None
    _found_labels = False
    _joins_batches = False

    @property
    @abstractmethod
    def task(self) -> Task:
        """What the outputs mean."""

    @property
    @abstractmethod
    def teacher(self) -> FrozenTeacher | None:
        """The frozen teacher, or None."""

    def _get_dataloader(self, dataset: Any, *args: Any, **options: Any) -> Any:
        """Build Trainer's loader; one for evaluation delivers every image, see `build_loader`."""
        return build_loader(self, super()._get_dataloader, dataset, *args, **options)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor | None, Any, Any]:
        """Return the images' statistics in place of predictions, so that no logits are gathered or kept.

        Keeps Trainer's contract: (loss, predictions, labels). With a `compute_metrics` of the caller's it is
        Trainer's own.
        """
        if isinstance(self.gather_function, ImageGather):
            self.gather_function.images = len(inputs["pixel_values"])
        has_labels = inputs.get("labels") is not None and self.task.has_labels(inputs)
        self._found_labels = self._found_labels or has_labels
        if self._streaming is None:
            if self._joins_batches and not prediction_loss_only:
                refuse_mixed_labels(inputs)
            loss, *others = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        else:
            with torch.no_grad(), self.compute_loss_context_manager():
                loss, *others = self._streaming.step(
                    self, model, self._prepare_inputs(inputs), prediction_loss_only
                )
        if loss is not None and not has_labels and not loss:
            # A mean over nothing is 0 and would lower that over all batches; Trainer leaves NaN out of it.
            loss = torch.full_like(loss, math.nan)
        return loss, *others

    def evaluation_loop(self, dataloader: Any, description: str, *args: Any, **kwargs: Any) -> Any:
        """Run Trainer's loop over a fresh metric; see `one_evaluation`. Without any label the loss is NaN."""
        if self._streaming is not None:
            description = "Evaluation"  # in a "Prediction" Trainer would keep the statistics of every image
        with one_evaluation(self, dataloader, self._streaming):
            self._found_labels = False
            keeps = description == "Prediction" or not self.args.batch_eval_metrics
            self._joins_batches = keeps and self.args.eval_do_concat_batches
            output = super().evaluation_loop(dataloader, description, *args, **kwargs)
        if not any(gather_object([self._found_labels])):
            losses = [name for name in output.metrics if name.endswith("_loss")]
            output.metrics.update(dict.fromkeys(losses, math.nan))
        return output

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Return, as Trainer does, whether these metrics are the best; say where they cannot tell."""
        warn_of_undecided(self.args, metrics)
        return bool(super()._determine_best_metric(metrics, trial))

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Return predictions in the task's form (class maps, metres, boxes), the labels and the scores.

        Keeps Trainer's contract, and takes images without labels. All predictions are kept in memory; for
        many images see `predict_batches`. With a `compute_metrics` or `preprocess_logits_for_metrics` of the
        caller's it is Trainer's own: predictions are logits.
        """
        if self._streaming is None:
            return super().predict(test_dataset, *args, **kwargs)
        if self.preprocess_logits_for_metrics is not None:
            with replaced(self, _streaming=None, compute_metrics=None):
                return super().predict(test_dataset, *args, **kwargs)
        with self._streaming.keeping() as batches:
            output = super().predict(test_dataset, *args, **kwargs)
        found, labels = joined(batches, concatenated=self.args.eval_do_concat_batches)
        return PredictionOutput(found, labels, output.metrics)

    def predict_batches(self, dataset: Any) -> Iterator[Predicted]:
        """Yield `predictions` and `label_ids` of one batch after the other, in constant memory."""
        return predicted_batches(self, dataset)

    def evaluate_teacher(self, eval_dataset: Any = None) -> dict[str, float]:
        """Return the teacher's scores on `eval_dataset`, shown as in training; see `score_teacher`."""
        return score_teacher(self, self.teacher, self.task, eval_dataset)
