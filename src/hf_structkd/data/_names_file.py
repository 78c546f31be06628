"""The file in which people name the classes."""

from __future__ import annotations

import json
from pathlib import Path


def read_names(path: Path) -> dict[int, str]:
    """Return the names by id; raise `ValueError` if one of the ids 0 to K - 1 has none of its own."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise type(error)(
            f"`id2label_path` must be a JSON file that names the classes, got {path} "
            f"({error.strerror or error}); correct the path."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path.name} must be JSON that names the classes, and is none ({error})."
        ) from error
    named = dict(enumerate(content)) if isinstance(content, list) else content
    try:
        names = {int(index): str(name) for index, name in named.items() if isinstance(name, (str, int))}
    except (AttributeError, ValueError):
        names = {}
    if (
        not names
        or len(names) != len(named)
        or sorted(names) != list(range(len(names)))
        or len(set(names.values())) != len(names)
    ):
        raise ValueError(
            f"{path.name} must map each class id, 0 to K - 1, to a name of its own, got {content}; write it "
            'as {"0": "sky", "1": "building", ...}.'
        )
    return dict(sorted(names.items()))
