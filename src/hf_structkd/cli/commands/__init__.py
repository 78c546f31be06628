"""The subcommands of `structkd`, one module each; a further one is a module here and a line in `COMMANDS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from . import ablate, cache, compare, distill, doctor, evaluate, export, predict, train_teacher


class Command(Protocol):
    """What the module of a subcommand has."""

    NAME: str
    """The word on the command line."""

    SUMMARY: str
    """One line of the help: the arguments, then what it does."""

    def run(self, argv: Sequence[str]) -> None:
        """Do it, with the words that follow the name; errors leave it as they are."""


COMMANDS: tuple[Command, ...] = (
    distill,
    doctor,
    cache,
    train_teacher,
    evaluate,
    compare,
    predict,
    export,
    ablate,
)
