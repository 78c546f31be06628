"""Evaluation in constant memory, whatever the task, in which every image counts once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer
from transformers.trainer_utils import PredictionOutput

from ..data import has_labels, in_teacher_size
from ..features.forward import run_model
from ..metrics import AGREEMENT
from ..models import FrozenTeacher
from ..tasks import StreamingMetric, Task
from .arguments import StructKDTrainingArguments
from .best_model import choose_best_metric
from .loaders import ImageGather, replaced
from .pair import ModelPair
from .predictions import Predicted, joined, predicted
from .teacher_scores import single_scores, teacher_scores


class Evaluation:
    """What `StructKDTrainer` does around Trainer's evaluation and prediction.

    With a metric of the caller's, Trainer's own evaluation runs, and every image counts once too.

    Args:
        pair: The two models and the task.
        args: Where they leave open how the best model is found and how a metric is fed, they are filled in.
        options: Trainer's arguments. A missing `compute_metrics` becomes the task's, which is fed batch by
            batch with what each image adds to it.

    Attributes:
        metric: The metric of the task, or None where the caller has one.
    """

    def __init__(self, pair: ModelPair, args: StructKDTrainingArguments, options: dict[str, Any]) -> None:
        """Start without an evaluation."""
        self.metric: StreamingScores | None = None
        self._pair = pair
        if options.get("compute_metrics") is None:
            options["compute_metrics"] = self.metric = StreamingScores(pair.task)
            choose_best_metric(args, pair.task, options.get("eval_dataset"))
        else:
            _feed_as_wanted(args, options["compute_metrics"])
        self._found_labels = False
        self._joins_batches = False

    def step(
        self,
        trainer: Trainer,
        step: Callable[..., Any],
        model: nn.Module,
        inputs: dict[str, Any],
        loss_only: bool,
        ignore_keys: Any,
    ) -> tuple[Tensor | None, Any, Any]:
        """Return (loss, statistics, labels) of a batch, so that no logits are gathered or kept.

        Args:
            trainer: The trainer.
            step: Trainer's `prediction_step`, which runs for a metric of the caller's.
            model: The student.
            inputs: The batch.
            loss_only: Whether the loss alone is wanted.
            ignore_keys: Passed to `step`.
        """
        if isinstance(trainer.gather_function, ImageGather):
            trainer.gather_function.images = len(inputs["pixel_values"])
        has_labels = inputs.get("labels") is not None and self._pair.task.has_labels(inputs)
        self._found_labels = self._found_labels or has_labels
        if self.metric is not None:
            with torch.no_grad(), trainer.compute_loss_context_manager():
                prepared = trainer._prepare_inputs(inputs)
                loss, found, labels = self.metric.step(trainer, model, prepared, loss_only)
            return _over_labels(loss, has_labels), found, labels
        if self._joins_batches and not loss_only and isinstance(inputs.get("labels"), list):
            raise ValueError(
                "`eval_do_concat_batches` must be False where labels are a list (boxes, or maps of "
                "different sizes), got True: Trainer would join the first image of every batch, the second "
                "and so on; set it to False, which gives `compute_metrics` and the caller of `predict` one "
                "entry for each batch."
            )
        loss, found, labels = step(model, inputs, loss_only, ignore_keys)
        return _over_labels(loss, has_labels), found, labels

    def loop(
        self,
        trainer: Trainer,
        loop: Callable[..., Any],
        loader: Any,
        description: str,
        *args: Any,
        **options: Any,
    ) -> Any:
        """Run Trainer's `evaluation_loop` over a fresh metric. Without any label the loss is NaN.

        Data that say that they have no labels are scored by agreement with the teacher, and have no loss.
        """
        trainer.gather_function = ImageGather(trainer, loader)
        self._found_labels = False
        agrees = self._pair.teacher is not None and not has_labels(getattr(loader, "dataset", None))
        if self.metric is None:
            keeps = description == "Prediction" or not trainer.args.batch_eval_metrics
            self._joins_batches = keeps and trainer.args.eval_do_concat_batches
            output = loop(loader, description, *args, **options)
        else:
            self.metric.start(self._pair.task, self._pair.teacher if agrees else None)
            size = self._pair.teacher_size if agrees else None
            # Statistics are no logits for a function of the caller's; in a "Prediction" they would be kept.
            with (
                in_teacher_size(getattr(loader, "dataset", None), size),
                replaced(trainer.args, batch_eval_metrics=True),
                replaced(trainer, preprocess_logits_for_metrics=None),
            ):
                output = loop(loader, "Evaluation", *args, **options)
        if not any(gather_object([self._found_labels])):
            losses = [name for name in output.metrics if name.endswith("_loss")]
            output.metrics.update(dict.fromkeys(losses, math.nan))
        return output

    def predict(
        self, trainer: Trainer, predict: Callable[..., PredictionOutput], *args: Any, **options: Any
    ) -> PredictionOutput:
        """Run Trainer's `predict`, and return what the task predicts in place of the statistics."""
        if self.metric is None:
            return predict(*args, **options)
        if trainer.preprocess_logits_for_metrics is not None:
            with replaced(self, metric=None), replaced(trainer, compute_metrics=None):
                return predict(*args, **options)
        with self.metric.keeping() as batches:
            output = predict(*args, **options)
        found, labels = joined(batches, concatenated=trainer.args.eval_do_concat_batches)
        return PredictionOutput(found, labels, output.metrics)

    @torch.no_grad()
    def batches(self, trainer: Trainer, dataset: Any) -> Iterator[Predicted]:
        """Yield what the student predicts for each batch."""
        loader: Any = trainer.get_test_dataloader(dataset)
        gather, task = ImageGather(trainer, loader), self._pair.task
        model = trainer.model.eval()
        try:
            for batch in loader:
                inputs = trainer._prepare_inputs(batch)
                with trainer.compute_loss_context_manager():
                    output = run_model(model, task.model_inputs(inputs), None).output
                yield predicted(task, output, inputs, gather)
        finally:
            loader.end()  # a caller may stop early, and accelerate would believe itself inside the loader

    def score_teacher(self, trainer: Trainer, eval_dataset: Any = None) -> dict[str, float]:
        """Return the teacher's scores, without the prefix `eval_`.

        The teacher is shown images of its own normalisation and size, as in training.

        Args:
            trainer: The trainer.
            eval_dataset: As in `Trainer.evaluate`; None takes that of the trainer. The scores of a set of a
                dict have the name of the set before theirs.

        Raises:
            ValueError: If there is no teacher, or the data say that they have no labels.
        """
        teacher = self._pair.teacher
        if teacher is None:
            raise ValueError(
                "there is no teacher to evaluate; pass `teacher_model` and give a term a weight."
            )
        override = eval_dataset is not None
        data = eval_dataset if override else trainer.eval_dataset
        if not isinstance(data, dict):
            return teacher_scores(trainer, teacher, self._pair.task, eval_dataset)
        # As in `Trainer.evaluate`: the name finds a loader whose workers are kept.
        sets = {name: data[name] if override else name for name in data}
        parts = {name: teacher_scores(trainer, teacher, self._pair.task, one) for name, one in sets.items()}
        return {f"{name}_{key}": value for name, scores in parts.items() for key, value in scores.items()}


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
        self._teacher: FrozenTeacher | None = None
        self._kept: list[Predicted] | None = None

    def start(self, task: Task, teacher: FrozenTeacher | None = None) -> None:
        """Start anew: an evaluation that was interrupted leaves nothing behind.

        With a teacher, its answers take the place of labels, and the names of the scores say so.
        """
        self._task = task
        self._metric = task.metric()
        self._teacher = teacher

    @contextmanager
    def keeping(self) -> Iterator[list[Predicted]]:
        """Keep the predictions of every batch, as a list that is filled inside the `with` block."""
        with replaced(self, _kept=[]):
            assert self._kept is not None
            yield self._kept

    def step(
        self, trainer: Any, model: nn.Module, inputs: dict[str, Any], loss_only: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the loss, each image's statistics, and in place of labels zeros.

        Trainer calls a metric only where there are labels; these are counted in the statistics already. For
        images without labels, which can only be predicted, there is nothing to return.
        """
        if self._kept is not None and inputs.get("labels") is None:
            output = run_model(model, self._task.model_inputs(inputs), None).output
            self._kept.append(predicted(self._task, output, inputs, trainer.gather_function))
            return None, None, None
        if self._teacher is None:
            loss, output = trainer.compute_loss(model, inputs, return_outputs=True)
        else:
            loss, output = None, run_model(model, self._task.model_inputs(inputs), None).output
        if self._kept is not None:
            self._kept.append(predicted(self._task, output, inputs, trainer.gather_function))
        if loss_only:
            return loss, None, None
        if self._teacher is not None:
            inputs = {**inputs, "labels": self._task.answers(self._teacher(inputs).output, inputs)}
        statistics = self._task.evaluation_statistics(output, inputs)
        return loss, statistics, torch.zeros(statistics.shape[0], device=statistics.device)

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Add a batch's statistics; return the scores at the end."""
        self._metric.add_statistics(torch.as_tensor(prediction.predictions))
        if not compute_result:
            return {}
        start = "" if self._teacher is None else AGREEMENT
        return {f"{start}{name}": value for name, value in single_scores(self._metric).items()}


def _over_labels(loss: Tensor | None, has_labels: bool) -> Tensor | None:
    """Return NaN, which Trainer leaves out of its mean, for a loss over nothing, which is 0."""
    if loss is None or has_labels or loss:
        return loss
    return torch.full_like(loss, math.nan)


def _feed_as_wanted(args: StructKDTrainingArguments, compute_metrics: Callable[..., Any]) -> None:
    """Let a metric of the caller's be called once, with all that was predicted, unless it takes batches.

    One that is fed batch by batch takes `compute_result`, by which Trainer tells it of the last batch.

    Args:
        args: `batch_eval_metrics`, whose default suits the tasks' own metrics, is set to what it takes.
        compute_metrics: The caller's metric.
    """
    parameters = inspect.signature(compute_metrics).parameters.values()
    takes_batches = any(p.name == "compute_result" or p.kind == p.VAR_KEYWORD for p in parameters)
    args.batch_eval_metrics = args.batch_eval_metrics and takes_batches
