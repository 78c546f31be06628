"""A command line without its file, for readers who do not have the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from .script_args import SETTINGS_FILES, read_settings


def spelled_out(argv: Sequence[str]) -> list[str]:
    """Return a command line with the options of its YAML or JSON file as flags; the flags beside it win.

    Args:
        argv: A program and its arguments, as `sys.argv` has them; without a file they stay as they are.

    Raises:
        UsageError: If the file cannot be read.
    """
    words = list(takewhile(lambda word: not word.startswith("-"), argv))
    place = next((at for at, word in enumerate(words) if at and word.endswith(SETTINGS_FILES)), None)
    if place is None or not Path(argv[place]).is_file():
        return list(argv)
    behind = argv[place + 1 :]
    given = {word.partition("=")[0].lstrip("-").replace("-", "_") for word in behind if word.startswith("--")}
    settings = read_settings(Path(argv[place]))
    flags = [word for name, value in settings.items() if name not in given for word in _flag(name, value)]
    return [*argv[:place], *flags, *behind]


def _flag(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if value is True:
        return [f"--{name}"]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", json.dumps(value) if isinstance(value, Mapping) else str(value)]
