"""Small architectures that come with the package and are known by name; they start from scratch."""

from __future__ import annotations

import difflib
from pathlib import Path

_FOLDER = Path(__file__).with_name("configurations")

NAMED = tuple(sorted(folder.name for folder in _FOLDER.iterdir()))
"""The names: an architecture, and its parameters in millions."""


def place_of(name_or_path: str | Path) -> str | Path:
    """Return the folder of an architecture that comes with the package; any other name stays as it is.

    Args:
        name_or_path: One of `NAMED`, a folder, or a Hub id. A folder of that name goes first.

    Raises:
        ValueError: If it is nearly one of the names.
    """
    name = str(name_or_path)
    if Path(name).exists():
        return name_or_path
    if name in NAMED:
        return str(_FOLDER / name)
    close = difflib.get_close_matches(name, NAMED, n=1, cutoff=0.85)
    if close:
        raise ValueError(
            f"{name!r} is no folder and no architecture that comes with the package; did you mean "
            f"{close[0]!r}?"
        )
    return name_or_path
