"""What a checkpoint says of the settings it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .arguments import TRAINER_SETTINGS, StructKDTrainingArguments
from .distillation import Distillation
from .manifest import last_checkpoint, list_files, read_object, remove_unfinished

SETTINGS_FILE = "structkd_settings.json"


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
    settings = {**settings, "weights_in_use": distillation.weights}
    (Path(folder) / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    distillation.save(folder)
    list_files(folder)
    if args.save_total_limit:
        remove_unfinished(Path(folder).parent, keep=folder)


def settings_to_keep(
    distillation: Distillation, args: StructKDTrainingArguments, resume_from_checkpoint: str | None
) -> dict[str, Any]:
    """Return what a resumed run must find again: the terms, the teacher and the match, as JSON values.

    Raises:
        ValueError: If the checkpoint to resume, or the last one in `output_dir`, has other settings: one
            folder would hold two experiments, or one run have two sets of weights.
    """
    pair, teacher = distillation.pair, distillation.pair.teacher
    settings: dict[str, Any] = {f"{name}_weight": weight for name, weight in distillation.weights.items()}
    for term in distillation.terms:
        settings |= {f"{term.name}.{name}": value for name, value in term.settings().items()}
    settings |= {name: getattr(args, name) for name in TRAINER_SETTINGS}
    settings["teacher"] = None if teacher is None else teacher.source.description
    settings |= pair.task.settings()

    checkpoint = resume_from_checkpoint or last_checkpoint(args.output_dir)
    if not checkpoint:
        return settings
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
        advice = "to start anew, choose another `output_dir` or remove the checkpoints of the earlier run"
        if resume_from_checkpoint:
            advice = "restore them to resume, or choose another `output_dir`"
        raise ValueError(
            f"`output_dir` holds {checkpoint}, which was trained with other settings ({'; '.join(changed)}); "
            f"{advice}."
        )
    return settings
