"""The first word after a subcommand: which task it means, and the command line that follows it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ..data.options import SCENE_SIZE
from ..tasks import TASKS, Task
from .endings import UsageError
from .script_args import Arguments, parse_run

WORDS: Mapping[str, type[Task]] = {task.short_name: task for task in TASKS}
_SHORTEST = 3
_ON_SCENES: Mapping[str, Any] = {"image_size": list(SCENE_SIZE)}


def arguments_of(command: str, argv: Sequence[str]) -> Arguments:
    """Parse what follows the name of a subcommand: the task, and the options of `parse_run`.

    Raises:
        UsageError: If the first word is no task.
    """
    word = argv[0] if argv else ""
    tasks = [task for name, task in WORDS.items() if len(word) >= _SHORTEST and name.startswith(word)]
    if len(tasks) != 1:
        got = repr(word) if word else "nothing"
        close = difflib.get_close_matches(word, WORDS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"for example `structkd {command} seg --help`."
        raise UsageError(f"`structkd {command}` wants a task, {', '.join(WORDS)}, got {got}; {hint}")
    return parse_run(tasks[0], argv[1:], scenes=_ON_SCENES, prog=f"structkd {command} {word}")
