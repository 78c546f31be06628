"""`structkd distill`: train a student with a teacher."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...tasks import Task
from ..distil import distil
from ..script_args import parse_run
from ..task_words import arguments_of

NAME = "distill"
SUMMARY = "train a student with a teacher, evaluate and save it, and write its card"


def run(argv: Sequence[str]) -> None:
    """Parse and distil."""
    distil(arguments_of(NAME, argv))


def distill(task: type[Task], argv: Sequence[str] | None = None, *, scenes: Mapping[str, Any]) -> None:
    """Do the same in a script with a demonstration of its own.

    Args:
        task: The task.
        argv: The options; None takes those of the command line.
        scenes: Defaults of the demonstration, which is what runs without a dataset.
    """
    settings = ", ".join(f"{name} {_as_text(value)}" for name, value in scenes.items())
    demonstration = f"Without --dataset_name it is a demonstration on embedded scenes, with {settings}."
    distil(parse_run(task, argv, scenes=scenes, description=demonstration))


def _as_text(value: Any) -> str:
    if isinstance(value, Path):
        return os.path.relpath(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
