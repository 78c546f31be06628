"""What a checkpoint says of the settings it was trained with."""

from __future__ import annotations

import json
from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint

from .training_args import StructKDTrainingArguments

SETTINGS_FILE = "structkd_settings.json"


def save_settings(args: StructKDTrainingArguments, folder: str | Path) -> None:
    """Write the distillation settings into a checkpoint."""
    text = json.dumps(args.structkd_settings(), indent=2) + "\n"
    (Path(folder) / SETTINGS_FILE).write_text(text, encoding="utf-8")


def refuse_other_settings(args: StructKDTrainingArguments, resume_from_checkpoint: str | bool | None) -> None:
    """Raise `ValueError` if the checkpoint to resume, or the last one in `output_dir`, has other settings.

    One folder would then hold two experiments, or one run have two sets of weights.
    """
    if isinstance(resume_from_checkpoint, str):
        checkpoint = resume_from_checkpoint
    else:
        checkpoint = last_checkpoint(args.output_dir) or ""
    path = Path(checkpoint) / SETTINGS_FILE
    if not path.is_file():
        return
    saved = json.loads(path.read_text(encoding="utf-8"))
    changed = [
        f"{name} was {saved.get(name)!r} and is {value!r}"
        for name, value in args.structkd_settings().items()
        if saved.get(name) != value
    ]
    if changed:
        raise ValueError(
            f"`output_dir` holds {checkpoint}, which was trained with other settings ({'; '.join(changed)}); "
            "restore them to resume, or choose another `output_dir`."
        )


def last_checkpoint(output_dir: str | None) -> str | None:
    """The latest checkpoint in a folder, or None, also where there is no folder."""
    if output_dir is None or not Path(output_dir).is_dir():
        return None
    last: str | None = get_last_checkpoint(output_dir)
    return last
