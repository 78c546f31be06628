"""Which of a run's checkpoints is the best one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging

from ..data import has_labels
from ..metrics import AGREEMENT
from ..tasks import Task
from .arguments import StructKDTrainingArguments

logger = logging.get_logger(__name__)

_PREFIX = "eval_"
_OF_TRAINER = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def choose_best_metric(args: StructKDTrainingArguments, task: Task, eval_dataset: Any = None) -> None:
    """Fill in what the arguments leave open of the best model: the task's headline, and its direction.

    Trainer takes a metric whose name does not end in "loss" for one that is better when it is higher, so that
    it would keep the model with the largest error.

    Args:
        args: `metric_for_best_model` and `greater_is_better` are set where the caller gave none.
        task: Knows its headline and which of its metrics are errors.
        eval_dataset: Of several sets, which a dict names, the first one's headline is taken.
    """
    if not (args.load_best_model_at_end or args.save_strategy == SaveStrategy.BEST):
        return
    if not args.gives_best_metric:
        name, rows = next(iter(_sets(eval_dataset).items()))
        args.metric_for_best_model = name + ("" if has_labels(rows) else AGREEMENT) + task.headline.metric
    if not args.gives_best_direction:
        # The name of a set may stand before the metric's.
        name = "_" + str(args.metric_for_best_model).removeprefix(_PREFIX)
        args.greater_is_better = not name.endswith(tuple(f"_{error}" for error in ("loss", *task.errors)))


def refuse_unknown_metric(args: TrainingArguments, task: Task, eval_dataset: Any = None) -> None:
    """Raise `ValueError` if `metric_for_best_model` is no score of the task.

    Trainer looks for it after the first evaluation, when a part of the training is over.
    """
    if args.metric_for_best_model is None:
        return
    name, known = str(args.metric_for_best_model).removeprefix(_PREFIX), list[str]()
    of_a_class: tuple[str, ...] = ()
    for start, rows in _sets(eval_dataset).items():
        # Without labels the scores are agreement with the teacher, and there is no loss.
        first = start if has_labels(rows) else start + AGREEMENT
        known += [f"{start}loss"] if has_labels(rows) else []
        known += [f"{first}{score}" for score in task.metric_labels]
        known += [f"{start}{score}" for score in _OF_TRAINER]
        of_a_class += tuple(f"{first}{one}" for one in task.class_metric_labels)
    if name not in known and not (of_a_class and name.startswith(of_a_class)):
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"`metric_for_best_model` must be a score of the evaluation, got {name!r}; "
            f"{f'did you mean {close[0]!r}? ' if close else ''}Choose one of {', '.join(known)}"
            f"{''.join(f', {start}CLASS' for start in of_a_class)}."
        )


def _sets(eval_dataset: Any) -> dict[str, Any]:
    """Return the sets that are evaluated by the beginnings of the names of their scores."""
    if isinstance(eval_dataset, Mapping) and eval_dataset:
        return {f"{name}_": rows for name, rows in eval_dataset.items()}
    return {"": eval_dataset}


def warn_of_undecided(args: TrainingArguments, metrics: Mapping[str, float]) -> None:
    """Say that a score of NaN, as it is where nothing is labelled, cannot choose the best model."""
    name = _PREFIX + str(args.metric_for_best_model).removeprefix(_PREFIX)
    if args.metric_for_best_model is not None and math.isnan(metrics.get(name, 0.0)):
        logger.warning(
            "`%s` is NaN, so that this model cannot be the best one; if it stays so, no checkpoint is chosen "
            "and the last student is kept.",
            name,
        )
