"""The settings that a card lists, as text by their names."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..data import DataOptions

_TRAINING_SETTINGS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "fp16",
    "bf16",
)
# What the text of a card says of the data by itself.
_TOLD_OF_DATA = frozenset(
    {
        "dataset_name",
        "dataset_config_name",
        "dataset_revision",
        "train_split",
        "validation_split",
        "unlabeled_dataset_name",
        "unlabeled_revision",
    }
)
_OFF_AT_ZERO = ("ema_decay", "balance_steps")
_PAIR_SETTINGS = ("student_feature", "teacher_feature", "teacher_image_size")


def settings_of_run(run: Any) -> dict[str, str]:
    """Return the settings of the training and of the active terms that have a value, as text."""
    settings = {name: getattr(run.args, name) for name in _TRAINING_SETTINGS}
    settings |= {name: getattr(run.args, name) or None for name in _OFF_AT_ZERO}
    if run.args.balance_steps:  # the weights of the table are shares
        in_use = run.distillation.weights_in_use.items()
        settings["weights in use"] = ", ".join(f"{name} {weight:.3g}" for name, weight in in_use if weight)
    if run.teacher is not None:
        settings |= {name: getattr(run.args, name) for name in _PAIR_SETTINGS}
        for term in run.terms:
            settings |= term.settings() if run.weights[term.name] > 0 else {}
    return {name: _printed(value) for name, value in settings.items() if value not in (None, [])}


def settings_of_data(options: DataOptions) -> dict[str, str]:
    """Return the options of data and task that differ from their defaults, as text without folders."""
    default = type(options)()
    values = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in _TOLD_OF_DATA}
    changed = {name: value for name, value in values.items() if value != getattr(default, name)}
    return {name: _without_folders(_printed(value)) for name, value in changed.items()}


def _without_folders(text: str) -> str:
    path = Path(text).expanduser()
    return path.name if path.is_absolute() or path.is_file() else text


def _printed(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(getattr(value, "value", value))
