"""The code of a class or function of the user's own, as it can be written beside weights."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

from transformers.dynamic_module_utils import get_imports, get_relative_import_files


class Code(NamedTuple):
    """How an object is imported where its code lies beside weights.

    Attributes:
        statement: The import.
        expression: What names the object afterwards.
        files: The files that are written there; none for code of an installed package.
    """

    statement: str
    expression: str
    files: tuple[Path, ...]


def code_of(thing: Callable[..., Any]) -> Code:
    """Return how a class or function is imported elsewhere.

    A file of the user's own goes with the weights, and so do the files that it imports relatively. What an
    installed package holds is imported from that package.

    Raises:
        ValueError: If it cannot be imported elsewhere; the message is the reason, a part of a sentence.
    """
    name = getattr(thing, "__qualname__", None)
    if name is None or "<" in name:
        raise ValueError(f"{name or type(thing).__name__} has no name in a file; write it at the top of one")
    module = thing.__module__
    if module == "__main__":
        raise ValueError(f"{name} stands in the program that runs; move it to a file that this imports")
    outer = name.partition(".")[0]
    file = Path(inspect.getsourcefile(thing) or "")
    if _is_known(module) and ("site-packages" in file.parts or _is_editable(module)):
        return Code(f"from {module} import {outer}", name, ())
    if file.suffix != ".py":
        raise ValueError(f"{name} has no source file")
    files = (file, *(Path(one) for one in get_relative_import_files(file)))
    for one in files:
        _refuse_unshippable(one)
    return Code(f"from .{file.stem} import {outer}", name, files)


def _refuse_unshippable(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file.name}, which its file imports, is not in the same folder")
    missing = [name for name in get_imports(file) if not _is_known(name)]
    if missing:
        raise ValueError(
            f"{file.name} imports {missing[0]}, which belongs to no installed package; write both into one "
            f"file, or import it as `from .{missing[0]} import ...`"
        )


def _is_known(module: str) -> bool:
    """Return whether a module has the name of one of Python or of an installed package."""
    package = module.partition(".")[0]
    return package in sys.stdlib_module_names or package in _packages()


def _is_editable(module: str) -> bool:
    """Return whether an installed package is a working copy somewhere else."""
    names = _packages().get(module.partition(".")[0], ())
    return any(
        '"editable": true' in (distribution(name).read_text("direct_url.json") or "") for name in names
    )


@cache
def _packages() -> Mapping[str, Sequence[str]]:
    return packages_distributions()
