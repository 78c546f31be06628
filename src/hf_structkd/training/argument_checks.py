"""What is refused of a run's arguments before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import is_torch_version
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from ..terms.base import check_choice

NEED_METRICS = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
"""Schedules that follow a metric."""

# Of these every number of a weight has its own state, whatever part of the weight it is kept with.
_ELEMENTWISE = (
    *(OptimizerNames.ADAMW_TORCH, OptimizerNames.ADAMW_TORCH_FUSED, OptimizerNames.ADAGRAD),
    *(OptimizerNames.RMSPROP, OptimizerNames.SGD),
)
_OLDEST_TORCH = "2.9"

FSDP_REFUSED = (
    "`fsdp` is not supported by StructKDTrainer: accelerate fails to shard students such as SegFormer, and "
    "trains with DDP in silence on CPUs; launch without it and pass `shard`, for example `--shard teacher`."
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


def check_shard(args: TrainingArguments, names: Sequence[str]) -> None:
    """Raise `ValueError` for what does not go with sharded models, whose forwards need all processes.

    Args:
        args: The arguments, complete.
        names: Which models are sharded.
    """
    for name in names:
        check_choice("shard", name, ("student", "teacher"))
    if not names:
        return
    if is_torch_version("<", _OLDEST_TORCH):
        raise ValueError(f"`shard` needs torch {_OLDEST_TORCH} or later; install it, or leave `shard` out.")
    if args.world_size == 1:
        raise ValueError(
            f"`shard` needs several processes to share what {' and '.join(names)} hold, got one; start them "
            "with `accelerate launch --num_processes`, or leave `shard` out."
        )
    optimizer = args.optim if "student" in names else OptimizerNames.ADAMW_TORCH
    is_quantized = "teacher" in names and getattr(args, "teacher_dtype", None) == "int8"
    for name, is_refused, advice in (
        ("teacher_dtype", is_quantized, "weights in eight bits cannot be split; choose bfloat16"),
        (
            "ema_decay",
            "student" in names and getattr(args, "ema_decay", 0) > 0,
            "the average would be a whole student on every process; leave it out",
        ),
        ("torch_compile", args.torch_compile, "compiled code does not put layers together; leave it out"),
        (
            "auto_find_batch_size",
            args.auto_find_batch_size,
            "one process alone may lack memory; leave it out",
        ),
        ("fp16", args.fp16 and "student" in names, "its scaler is not tested there; pass `bf16`"),
        (
            "optim",
            optimizer not in _ELEMENTWISE,
            f"choose one of {', '.join(one.value for one in _ELEMENTWISE)}",
        ),
        (
            "accelerator_config",
            not args.accelerator_config.even_batches,
            "processes with fewer batches would leave the others waiting; set `even_batches` in it",
        ),
    ):
        if is_refused:
            raise ValueError(f"`{name}` does not go with `shard`, got {getattr(args, name)}: {advice}.")


def check_balance(args: TrainingArguments, *, steps: Any, sharded: Sequence[str]) -> None:
    """Raise `ValueError` if `balance_steps` is no number of steps, or gradients cannot be measured."""
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"`balance_steps` must be a number of steps, at least 0, got {steps!r}.")
    if steps and (args.fp16 or "student" in sharded):
        other = "`fp16`, in which small gradients vanish; pass `bf16`" if args.fp16 else "a sharded student"
        raise ValueError(f"`balance_steps` does not go with {other}, or set it to 0, got {steps}.")


def names_of(value: str | Sequence[str] | None) -> list[str]:
    """Return one or several names as a list, as JSON gives them back."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
