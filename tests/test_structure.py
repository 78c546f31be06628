"""The package keeps the structure that `scripts/check_structure.py` states, and it sees faults."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_structure.py"


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_structure", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(structure: ModuleType) -> dict[str, Any]:
    """The package, read once."""
    read: dict[str, Any] = structure.read_modules()
    return read


def test_no_limit_is_broken(structure: ModuleType, modules: dict[str, Any]) -> None:
    """One import back, and neither side can be read or tested without the other."""
    assert structure.faults(modules) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("losses.pixel", "from ..tasks.base import Task", "hf_structkd.losses.pixel imports upwards from"),
        ("losses.pixel", "def f():\n    from . import holistic", "an import is hidden at pixel.py:2"),
        ("losses.pixel", "if X:\n    from . import holistic", "an import is hidden at pixel.py:2"),
        ("losses._common", "from .pixel import X", "imports run in a circle"),
        ("losses.pixel", "x = 1\n" * 301, "hf_structkd.losses.pixel has 301 lines, more than 300"),
        (
            "losses.pixel",
            "def f():\n" + "    x = 1\n" * 45,
            "hf_structkd.losses.pixel.f has 46 lines of code",
        ),
        (
            "losses.pixel",
            f"def f({', '.join('abcdefghijk')}): ...",
            "hf_structkd.losses.pixel.f has 11 arguments",
        ),
    ],
)
def test_what_breaks_a_limit_is_named(
    structure: ModuleType, modules: dict[str, Any], name: str, text: str, fault: str
) -> None:
    """A check that sees nothing passes for ever."""
    name = f"hf_structkd.{name}"
    changed = modules[name]._replace(tree=ast.parse(text), lines=text.splitlines())
    assert any(sentence.startswith(fault) for sentence in structure.faults({**modules, name: changed}))
