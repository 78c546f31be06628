"""Which of a run's checkpoints is the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from transformers.trainer_utils import SaveStrategy
from transformers.utils import logging

from ..tasks import Task
from .arguments import StructKDTrainingArguments

logger = logging.get_logger(__name__)

_PREFIX = "eval_"


def choose_best_metric(args: StructKDTrainingArguments, task: Task) -> None:
    """Fill in what the arguments leave open of the best model: the task's headline, and its direction.

    Trainer takes a metric whose name does not end in "loss" for one that is better when it is higher, so that
    it would keep the model with the largest error.

    Args:
        args: `metric_for_best_model` and `greater_is_better` are set where the caller gave none.
        task: Knows its headline and which of its metrics are errors.
    """
    if not (args.load_best_model_at_end or args.save_strategy == SaveStrategy.BEST):
        return
    if not args.gives_best_metric:
        args.metric_for_best_model = task.headline.metric
    if not args.gives_best_direction:
        name = str(args.metric_for_best_model).removeprefix(_PREFIX)
        args.greater_is_better = name not in task.errors and not name.endswith("loss")


def warn_of_undecided(args: StructKDTrainingArguments, metrics: Mapping[str, float]) -> None:
    """Say that a score of NaN, as it is where nothing is labelled, cannot choose the best model."""
    name = _PREFIX + str(args.metric_for_best_model).removeprefix(_PREFIX)
    if args.metric_for_best_model is not None and math.isnan(metrics.get(name, 0.0)):
        logger.warning(
            "`%s` is NaN, so that this model cannot be the best one; if it stays so, no checkpoint is chosen "
            "and the last student is kept.",
            name,
        )
