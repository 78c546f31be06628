"""`structkd distill`: train a student with a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def distill(
    task: type[Task],
    argv: Sequence[str] | None = None,
    *,
    scenes: Mapping[str, Any],
    make_teacher: Callable[[], None],
) -> None:
    """Do the same in a script with a demonstration of its own.

    Args:
        task: The task.
        argv: The options; None takes those of the command line.
        scenes: Defaults of the demonstration, which is what runs without a dataset.
        make_teacher: Trains the teacher that `scenes` name, unless it is there already.
    """
    arguments = parse_run(task, argv, scenes=scenes)
    teacher = arguments.models.teacher_model_name_or_path
    if arguments.options.dataset_name is None and teacher == scenes["teacher_model_name_or_path"]:
        with arguments.training.main_process_first(desc="the teacher on the embedded scenes"):
            make_teacher()
    distil(arguments)
