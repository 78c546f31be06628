"""Which of a run's checkpoints is the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging

from ..tasks import Task
from .arguments import StructKDTrainingArguments

logger = logging.get_logger(__name__)

_PREFIX = "eval_"


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
        first = f"{next(iter(eval_dataset))}_" if isinstance(eval_dataset, Mapping) and eval_dataset else ""
        args.metric_for_best_model = first + task.headline.metric
    if not args.gives_best_direction:
        # The name of a set may stand before the metric's.
        name = "_" + str(args.metric_for_best_model).removeprefix(_PREFIX)
        args.greater_is_better = not name.endswith(tuple(f"_{error}" for error in ("loss", *task.errors)))


def warn_of_undecided(args: TrainingArguments, metrics: Mapping[str, float]) -> None:
    """Say that a score of NaN, as it is where nothing is labelled, cannot choose the best model."""
    name = _PREFIX + str(args.metric_for_best_model).removeprefix(_PREFIX)
    if args.metric_for_best_model is not None and math.isnan(metrics.get(name, 0.0)):
        logger.warning(
            "`%s` is NaN, so that this model cannot be the best one; if it stays so, no checkpoint is chosen "
            "and the last student is kept.",
            name,
        )
