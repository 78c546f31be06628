"""Evaluation in constant memory, whatever the task, and predictions in the task's own form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer

from ..features.forward import run_model
from ..metrics import PADDING
from ..models import FrozenTeacher
from ..tasks import StreamingMetric, Task
from .arguments import StructKDTrainingArguments
from .loaders import ImageGather, replaced


class Predicted(NamedTuple):
    """What was predicted for some images, in the order of the dataset.

    Attributes:
        predictions: One for each image, as the task's `image_predictions` returns it.
        label_ids: The labels of each image, or None where the images have none.
    """

    predictions: list[Any]
    label_ids: list[Any] | None


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
        self._kept: list[Predicted] | None = None

    def start(self, task: Task) -> None:
        """Start anew: an evaluation that was interrupted leaves nothing behind."""
        self._task = task
        self._metric = task.metric()

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
        loss, output = trainer.compute_loss(model, inputs, return_outputs=True)
        if self._kept is not None:
            self._kept.append(predicted(self._task, output, inputs, trainer.gather_function))
        if loss_only:
            return loss, None, None
        statistics = self._task.evaluation_statistics(output, inputs)
        return loss, statistics, torch.zeros(statistics.shape[0], device=statistics.device)

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Add a batch's statistics; return the scores at the end."""
        self._metric.add_statistics(torch.as_tensor(prediction.predictions))
        return _scores(self._metric) if compute_result else {}


def feed_as_wanted(args: StructKDTrainingArguments, compute_metrics: Callable[..., Any] | None) -> None:
    """Let a metric of the caller's be called once, with all that was predicted, unless it takes batches.

    One that is fed batch by batch takes `compute_result`, by which Trainer tells it of the last batch.

    Args:
        args: `batch_eval_metrics`, whose default suits the tasks' own metrics, is set to what it takes.
        compute_metrics: The caller's metric, or None.
    """
    if compute_metrics is not None:
        parameters = inspect.signature(compute_metrics).parameters.values()
        takes_batches = any(p.name == "compute_result" or p.kind == p.VAR_KEYWORD for p in parameters)
        args.batch_eval_metrics = args.batch_eval_metrics and takes_batches


def refuse_mixed_labels(inputs: Mapping[str, Any]) -> None:
    """Raise `ValueError` for labels in a list, whose entries Trainer would join place by place."""
    if isinstance(inputs.get("labels"), list):
        raise ValueError(
            "`eval_do_concat_batches` must be False where labels are a list (boxes, or maps of different "
            "sizes), got True: Trainer would join the first image of every batch, the second and so on; set "
            "it to False, which gives `compute_metrics` and the caller of `predict` one entry for each batch."
        )


@contextmanager
def one_evaluation(trainer: Any, loader: Any, streaming: StreamingScores | None) -> Iterator[None]:
    """Let Trainer's loop count every image once, and feed the task's own metric batch by batch."""
    trainer.gather_function = ImageGather(trainer, loader)
    if streaming is None:
        yield
        return
    streaming.start(trainer.task)
    # What would be handed to a function of the caller's are no logits.
    with (
        replaced(trainer.args, batch_eval_metrics=True),
        replaced(trainer, preprocess_logits_for_metrics=None),
    ):
        yield


# ---- predictions ----


def predicted(task: Task, output: Any, inputs: Mapping[str, Any], gather: Callable[[Any], Any]) -> Predicted:
    """Return what a batch's output predicts and the batch's labels, image by image, of all processes."""
    labels = inputs.get("labels")
    given = None if labels is None else gather([_as_arrays(one) for one in labels])
    return Predicted(gather(task.image_predictions(output, inputs)), given)


@torch.no_grad()
def predicted_batches(trainer: Any, dataset: Any) -> Iterator[Predicted]:
    """Yield what the student predicts for each batch; see `StructKDTrainer.predict_batches`."""
    loader = trainer.get_test_dataloader(dataset)
    gather = ImageGather(trainer, loader)
    model = trainer.model.eval()
    try:
        for batch in loader:
            inputs = trainer._prepare_inputs(batch)
            with trainer.compute_loss_context_manager():
                output = run_model(model, trainer.task.model_inputs(inputs), None).output
            yield predicted(trainer.task, output, inputs, gather)
    finally:
        loader.end()  # a caller may stop early, and accelerate would believe itself inside the loader


def joined(batches: list[Predicted], *, concatenated: bool) -> tuple[Any, Any]:
    """Return the predictions and labels of all batches, as arrays wherever the images have one shape.

    Args:
        batches: What was predicted.
        concatenated: Whether the images of all batches are put together; otherwise there is one entry for
            each batch.
    """
    predictions = [batch.predictions for batch in batches]
    labels = [batch.label_ids for batch in batches if batch.label_ids is not None]
    return _put_together(predictions, concatenated), _put_together(labels, concatenated) if labels else None


def _put_together(batches: list[list[Any]], concatenated: bool) -> Any:
    if concatenated:
        return _stacked([one for batch in batches for one in batch])
    return [_stacked(batch) for batch in batches]


def _stacked(images: list[Any]) -> Any:
    are_arrays = all(isinstance(one, np.ndarray) for one in images)
    return np.stack(images) if are_arrays and len({one.shape for one in images}) == 1 else images


def _as_arrays(labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {name: _as_arrays(value) for name, value in labels.items()}
    return labels.cpu().numpy() if isinstance(labels, Tensor) else labels


# ---- the teacher ----


def score_teacher(
    trainer: Trainer, teacher: FrozenTeacher | None, task: Task, eval_dataset: Any = None
) -> dict[str, float]:
    """Return a teacher's scores, without the prefix `eval_`.

    The teacher is shown images of its own normalisation and size, as in training.

    Args:
        trainer: The trainer.
        teacher: Its teacher.
        task: Its task.
        eval_dataset: As in `Trainer.evaluate`; None takes that of the trainer. The scores of a set of a dict
            have the name of the set before theirs.

    Raises:
        ValueError: If there is no teacher.
    """
    if teacher is None:
        raise ValueError("there is no teacher to evaluate; pass `teacher_model` and give a term a weight.")
    override = eval_dataset is not None
    data = eval_dataset if override else trainer.eval_dataset
    if not isinstance(data, dict):
        return _teacher_scores(trainer, teacher, task, eval_dataset)
    # As in `Trainer.evaluate`: the name finds a loader whose workers are kept.
    parts = {name: _teacher_scores(trainer, teacher, task, data[name] if override else name) for name in data}
    return {f"{name}_{key}": value for name, scores in parts.items() for key, value in scores.items()}


@torch.no_grad()
def _teacher_scores(
    trainer: Trainer, teacher: FrozenTeacher, task: Task, eval_dataset: Any
) -> dict[str, float]:
    metric = task.metric()
    loader = trainer.get_eval_dataloader(eval_dataset)
    gather = ImageGather(trainer, loader)
    for batch in loader:
        inputs = trainer._prepare_inputs(batch)
        statistics = teacher.statistics(inputs, partial(_statistics_of_teacher, task, inputs), task.scoring())
        # As Trainer pads what its own evaluation gathers: images have differently many boxes.
        statistics = trainer.accelerator.pad_across_processes(statistics, dim=1, pad_index=PADDING)
        metric.add_statistics(gather(statistics))
    teacher.flush()
    return _scores(metric)


def _statistics_of_teacher(task: Task, inputs: dict[str, Any], output: Any) -> Tensor:
    return task.evaluation_statistics(task.as_student(output, inputs), inputs)


def _scores(metric: StreamingMetric) -> dict[str, float]:
    """Return the scores that are single numbers, because a log takes no lists."""
    return {name: score for name, score in metric.compute().items() if isinstance(score, float)}
