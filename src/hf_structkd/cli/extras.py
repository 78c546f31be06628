"""Packages that only some subcommands need: they are imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from .endings import UsageError


def optional(name: str, *, extra: str, needed_for: str) -> Any:
    """Import a package, or say how it is installed.

    Args:
        name: Name of the package or module.
        extra: The extra of hf_structkd that installs it.
        needed_for: What needs it, for the message.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{needed_for} needs the package {name.partition('.')[0]}, which is not installed; "
            f'`pip install "hf_structkd[{extra}]"` installs it.'
        ) from error
