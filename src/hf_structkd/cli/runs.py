"""What scripts share: train, evaluate and save, and the arguments of the student alone."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from ..terms import BUILT_IN_TERMS
from ..training.arguments import StructKDTrainingArguments
from ..training.manifest import last_checkpoint
from ..training.trainer import StructKDTrainer
from .failures import Failures

logger = logging.get_logger(__name__)

ALONE_FOLDER = "alone"


def train_and_evaluate(trainer: StructKDTrainer, failures: Failures) -> dict[str, float]:
    """Train, save the student with its image processor, evaluate, and write `all_results.json`.

    Args:
        trainer: Its `args.resume_from_checkpoint` is a path to resume from, or "true" for the last checkpoint
            in `output_dir`.
        failures: Takes the failure of the evaluation; the student is saved by then.

    Returns:
        What `evaluate()` returned, and nothing if it failed or there is nothing to evaluate on.
    """
    resume = _resumption(trainer.args)
    if resume is True and last_checkpoint(trainer.args.output_dir) is None:
        # A comparison that stopped in its first half has nothing to resume in its second half.
        logger.warning(
            "%s holds no complete checkpoint to resume: training starts anew.", trainer.args.output_dir
        )
        resume = None
    result = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(_internal_call=True)  # without a push, which comes last, when all else is on disk
    trainer.save_state()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    metrics: dict[str, float] = {}
    if trainer.eval_dataset is None:  # images alone need not be scored
        return metrics
    with failures.of("The evaluation"):
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    return metrics


def alone_arguments(
    args: StructKDTrainingArguments, *, folder: str | None = None
) -> StructKDTrainingArguments:
    """Return the arguments of a run for the same student without a teacher.

    Args:
        args: Arguments of the distilled run; they stay as they are. If that run resumes, this one does so
            too, from its own last checkpoint if it has one.
        folder: Output folder; None is `alone` inside the folder of the distilled run.

    Raises:
        ValueError: If the weight of the task is 0, so that nothing would be left to learn.
    """
    if args.task_weight == 0:
        raise ValueError(
            "`task_weight` is 0, so that the student alone would have nothing to learn from; set it above 0, "
            "or leave `--compare_baseline` out."
        )
    alone = copy.deepcopy(args)
    for term in BUILT_IN_TERMS:
        if term.needs_teacher:
            setattr(alone, f"{term.name}_weight", 0.0)
    alone.output_dir = folder or str(Path(str(args.output_dir)) / ALONE_FOLDER)
    alone.push_to_hub = False
    alone.resume_from_checkpoint = last_checkpoint(alone.output_dir) if _resumption(args) else None
    return alone


def refuse_used_folder(args: StructKDTrainingArguments) -> None:
    """Raise `ValueError` if `output_dir` holds checkpoints, which this run would rotate away."""
    folder = Path(str(args.output_dir))
    for place in (folder, folder / ALONE_FOLDER):
        # Also one that cannot be resumed, as `save_only_model` writes them, is not to be rotated away.
        last = get_last_checkpoint(place) if place.is_dir() else None
        if last is not None and not _resumption(args):
            raise ValueError(
                f"`output_dir` {place} already holds {Path(last).name}; continue it with "
                "`--resume_from_checkpoint true`, or choose another folder."
            )


def _resumption(args: StructKDTrainingArguments) -> str | bool | None:
    """Return what `Trainer.train` takes; "true" and "false" of a flag are no paths."""
    resume: str | bool | None = args.resume_from_checkpoint
    return {"true": True, "false": False}.get(str(resume).lower(), resume)
