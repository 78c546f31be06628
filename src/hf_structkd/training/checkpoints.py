"""What a checkpoint says of the settings it was trained with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..models import FrozenTeacher
from ..tasks import Task
from ..terms import Terms
from .arguments import TRAINER_SETTINGS, StructKDTrainingArguments
from .manifest import last_checkpoint, read_object

SETTINGS_FILE = "structkd_settings.json"


def save_settings(settings: Mapping[str, Any], folder: str | Path) -> None:
    """Write a run's settings into its checkpoint."""
    (Path(folder) / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def run_settings(
    terms: Terms,
    weights: Mapping[str, float],
    args: StructKDTrainingArguments,
    teacher: FrozenTeacher | None,
    task: Task,
) -> dict[str, Any]:
    """Return what a resumed run must find again: the terms, the teacher and the match, as JSON values."""
    settings: dict[str, Any] = {f"{name}_weight": weight for name, weight in weights.items()}
    for term in terms:
        settings |= {f"{term.name}.{name}": value for name, value in term.settings().items()}
    settings |= {name: getattr(args, name) for name in TRAINER_SETTINGS}
    return {**settings, "teacher": None if teacher is None else teacher.source.description, **task.settings()}


def refuse_other_settings(
    settings: Mapping[str, Any],
    output_dir: str | None,
    resume_from_checkpoint: str | os.PathLike[str] | bool | None,
) -> None:
    """Raise `ValueError` if the checkpoint to resume, or the last one in `output_dir`, has other settings.

    One folder would then hold two experiments, or one run have two sets of weights.
    """
    if isinstance(resume_from_checkpoint, (str, os.PathLike)):
        checkpoint = os.fspath(resume_from_checkpoint)
    else:
        checkpoint = last_checkpoint(output_dir) or ""
    if not checkpoint:
        return
    saved = read_object(Path(checkpoint) / SETTINGS_FILE)
    if saved is None:
        raise ValueError(
            f"`output_dir` holds {checkpoint}, and its {SETTINGS_FILE} is missing, cut or no JSON, so that "
            "nothing tells whether this run may go on from it; remove it, or choose another `output_dir`."
        )
    changed = [
        f"{name} was {saved.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if saved.get(name) != value
    ]
    if changed:
        advice = "restore them to resume, or choose another `output_dir`"
        if not resume_from_checkpoint:
            advice = "to start anew, choose another `output_dir` or remove the checkpoints of the earlier run"
        raise ValueError(
            f"`output_dir` holds {checkpoint}, which was trained with other settings ({'; '.join(changed)}); "
            f"{advice}."
        )
