"""The command `structkd`: finds the subcommand and ends as `endings` has it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .commands import COMMANDS
from .endings import UsageError, one_sentence
from .task_words import WORDS

_HELP = ("-h", "--help", "--help-all", "help")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command line.

    Args:
        argv: The words after `structkd`; None takes those of the process.

    Raises:
        SystemExit: After the help, and in place of every error.
    """
    words = sys.argv if argv is None else ["structkd", *argv]
    with one_sentence(words):
        _run(words[1:])


def _run(words: Sequence[str]) -> None:
    name = words[0] if words else "help"
    if name in _HELP:
        print(_help())  # noqa: T201
        return
    if name == "--version":
        print(f"structkd {version('hf_structkd')}")  # noqa: T201
        return
    commands = {command.NAME: command for command in COMMANDS}
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`structkd --help` lists them."
        raise UsageError(f"{name!r} is no command of structkd; {hint}")
    commands[name].run(words[1:])


def _help() -> str:
    lines = [f"  {command.NAME:<12}{command.SUMMARY}" for command in COMMANDS]
    return "\n".join(
        [
            "usage: structkd COMMAND TASK [FILE.yaml] [--option value ...]",
            "",
            "commands:",
            *lines,
            "",
            f"tasks: {', '.join(WORDS)} (or their beginnings: seg, dep, det)",
            "",
            "structkd distill seg --help shows the options that matter, --help-all all of them. Several",
            "processes: accelerate launch -m hf_structkd distill ... An error is one sentence and an exit",
            "code; --debug shows its traceback.",
        ]
    )
