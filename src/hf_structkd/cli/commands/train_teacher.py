"""`structkd train-teacher`: train a model without a teacher, so that it can become one."""

from __future__ import annotations

from collections.abc import Sequence

from ..distil import train_teacher
from ..task_words import arguments_of

NAME = "train-teacher"
SUMMARY = "train the model that is named as the student, without a teacher, to become one"


def run(argv: Sequence[str]) -> None:
    """Parse and train."""
    train_teacher(arguments_of(NAME, argv))
