"""What a checkpoint says of the settings it was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.trainer_utils import has_length
from transformers.utils import logging

from .arguments import TRAINER_SETTINGS, StructKDTrainingArguments
from .distillation import Distillation
from .manifest import last_checkpoint, list_files, read_object, remove_unfinished

logger = logging.get_logger(__name__)

SETTINGS_FILE = "structkd_settings.json"
_PLAN = "plan"


def complete_checkpoint(
    folder: str | Path,
    settings: Mapping[str, Any],
    distillation: Distillation,
    args: StructKDTrainingArguments,
) -> None:
    """Add to a checkpoint the settings, the terms' states and the list of all files, its last but one.

    Args:
        folder: The checkpoint, which Trainer has written but for its own state.
        settings: What `settings_to_keep` returned before the training.
        distillation: Its weights may have changed since.
        args: If older checkpoints will be rotated away, incomplete ones, which would count, are removed.
    """
    settings = {**settings, "weights_in_use": distillation.weights_in_use}
    (Path(folder) / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    distillation.save(folder)
    list_files(folder)
    if args.save_total_limit:
        remove_unfinished(Path(folder).parent, keep=folder)


def settings_to_keep(
    distillation: Distillation,
    args: StructKDTrainingArguments,
    resume_from_checkpoint: str | None,
    plan: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what a resumed run must find again: the terms, the teacher and the match, as JSON values.

    Args:
        distillation: The terms and the two models.
        args: The settings.
        resume_from_checkpoint: The checkpoint to resume, or None.
        plan: What `run_plan` returned. A resumed run may have another one, which is said.

    Raises:
        ValueError: If the checkpoint to resume, or the last one in `output_dir`, has other settings: one
            folder would hold two experiments, or one run have two sets of weights. Also if the optimiser to
            resume is another one.
    """
    pair, teacher = distillation.pair, distillation.pair.teacher
    settings: dict[str, Any] = {f"{name}_weight": weight for name, weight in distillation.weights.items()}
    for term in distillation.terms:
        settings |= {f"{term.name}.{name}": value for name, value in term.settings().items()}
    settings |= {name: getattr(args, name) for name in TRAINER_SETTINGS}
    later: dict[str, float] = {f"{term.name}_warmup_steps": term.warmup_steps for term in distillation.terms}
    later |= {"ema_decay": args.ema_decay, "balance_steps": args.balance_steps}
    settings |= later
    settings["teacher"] = None if teacher is None else teacher.source.description
    settings |= pair.task.settings()
    kept = {**settings, _PLAN: dict(plan)}

    checkpoint = resume_from_checkpoint or last_checkpoint(args.output_dir)
    if not checkpoint:
        return kept
    saved = read_object(Path(checkpoint) / SETTINGS_FILE)
    if saved is None:
        raise ValueError(
            f"`output_dir` holds {checkpoint}, and its {SETTINGS_FILE} is missing, cut or no JSON, so that "
            "nothing tells whether this run may go on from it; remove it, or choose another `output_dir`."
        )
    changed = _changes({**dict.fromkeys(later, 0), **saved}, settings)  # older checkpoints lack them
    if changed:
        advice = "to start anew, choose another `output_dir` or remove the checkpoints of the earlier run"
        if resume_from_checkpoint:
            advice = "restore them to resume, or choose another `output_dir`"
        raise ValueError(
            f"`output_dir` holds {checkpoint}, which was trained with other settings ({'; '.join(changed)}); "
            f"{advice}."
        )
    if resume_from_checkpoint:
        _compare_plans(saved.get(_PLAN, plan), plan, resume_from_checkpoint)
    return kept


def run_plan(args: StructKDTrainingArguments, max_steps: int, data: Any) -> dict[str, Any]:
    """Return the settings of Trainer's own on which every step of a run depends, as JSON values."""
    return {
        "max_steps": max_steps,
        "training rows": len(data) if has_length(data) else None,
        "images in a step": args.global_batch_size,
        "optim": str(getattr(args.optim, "value", args.optim)),
        "learning_rate": args.learning_rate,
        "weight_decay": args.weight_decay,
        "seed": args.seed,
        "precision": "fp16" if args.fp16 else "bf16" if args.bf16 else "fp32",
    }


def _compare_plans(saved: Mapping[str, Any], plan: Mapping[str, Any], checkpoint: str) -> None:
    """Warn of another plan than that of the checkpoint; refuse an optimiser that cannot read its state."""
    changed = _changes(saved, plan)
    if saved["optim"] != plan["optim"]:
        raise ValueError(
            f"`optim` must be {saved['optim']!r} to resume {checkpoint}, which holds the state of that "
            f"optimiser, got {plan['optim']!r}; restore it, or start a new run in another `output_dir`."
        )
    if changed:
        logger.warning(
            "%s is resumed in another way than it was trained: %s. What its optimiser holds (the learning "
            "rate at the start, the weight decay) stays as it was; the rest is as it is now.",
            checkpoint,
            "; ".join(changed),
        )


def _changes(saved: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} was {saved.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if saved.get(name) != value
    ]


@contextmanager
def of_this_student(checkpoint: str | None) -> Iterator[None]:
    """Say in one sentence that the optimiser's state does not fit the layers that are trained."""
    try:
        yield
    except ValueError as error:  # of torch's optimisers
        raise ValueError(
            f"{checkpoint} holds the optimiser of another student, or of other trained layers ({error}); "
            "resume it with the student that wrote it, or start a new run in another `output_dir`."
        ) from error
