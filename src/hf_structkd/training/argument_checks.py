"""What is refused of a run's arguments before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType

NEED_METRICS = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
"""Schedules that follow a metric."""

FSDP_REFUSED = (
    "`fsdp` is not supported by StructKDTrainer: accelerate fails to shard students such as SegFormer, and "
    "trains with DDP in silence on CPUs; launch without it, which is DDP."
)


def check_run(args: TrainingArguments) -> None:
    """Raise `ValueError` for what `Trainer` takes, though it trains nothing or fails far from here."""
    if args.fsdp:
        raise ValueError(FSDP_REFUSED)  # before accelerate remembers it for every later trainer
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(args, name) < 1:
            raise ValueError(f"`{name}` must be at least 1, got {getattr(args, name)}.")
    if args.max_steps == 0 or args.max_steps < -1:
        raise ValueError(
            f"`max_steps` must be at least 1, or -1 to follow `num_train_epochs`, got {args.max_steps}."
        )
    if args.max_steps == -1 and not 0 < args.num_train_epochs < math.inf:
        raise ValueError(f"`num_train_epochs` must be finite and above 0, got {args.num_train_epochs}.")
    if not 0 <= args.learning_rate < math.inf:
        raise ValueError(f"`learning_rate` must be finite and at least 0, got {args.learning_rate}.")
    folder = Path(args.output_dir or "")
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"`output_dir` must be a folder, got {folder}; {path} is a file.")


def names_of(value: str | Sequence[str] | None) -> list[str]:
    """Return one or several names as a list, as JSON gives them back."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
