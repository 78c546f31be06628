"""What users import, what importing does, and which module may know which."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import hf_structkd

PACKAGE = Path(hf_structkd.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Words that belong in `tasks/`.
TASK_WORDS = ("segformer", "segmentation", "depth", "detection", "dpt", "detr", "upernet", "semantic")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    parts = ["hf_structkd", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports anywhere in it."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


# ---- names ----


def test_all_is_sorted_and_importable() -> None:
    assert hf_structkd.__all__ == sorted(hf_structkd.__all__)
    assert len(set(hf_structkd.__all__)) == len(hf_structkd.__all__)
    for name in hf_structkd.__all__:
        assert getattr(hf_structkd, name) is not None


def test_every_public_name_is_documented() -> None:
    for name in hf_structkd.__all__:
        if name != "__version__":
            assert (getattr(hf_structkd, name).__doc__ or "").strip(), name


@pytest.mark.parametrize("name", ["data", "losses", "metrics", "models.backbones", "report", "tasks"])
def test_subpackages_name_what_exists(name: str) -> None:
    module = importlib.import_module(f"hf_structkd.{name}")
    assert module.__all__
    for public in module.__all__:
        assert hasattr(module, public), public


def test_the_version_is_the_installed_ones() -> None:
    assert hf_structkd.__version__ == version("hf_structkd")


# ---- importing ----

WATCH = """
import gc, json, logging, os, random, sys, warnings
gc.disable()  # for speed
import accelerate, datasets, evaluate, kornia, matplotlib, numpy, torch, transformers
from transformers import AutoModelForSemanticSegmentation, Trainer, TrainingArguments

def state():
    return {
        "environment": dict(os.environ),
        "warnings": [str(entry) for entry in warnings.filters],
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "dtype": str(torch.get_default_dtype()),
        "random": [hash(random.getstate()), torch.initial_seed(), str(numpy.random.get_state())],
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
    }

before = state()
import hf_structkd
after = state()
print(json.dumps({name: [before[name], after[name]] for name in before if before[name] != after[name]}))
"""


def test_importing_changes_nothing_outside() -> None:
    """A library that edits the environment or the warning filters changes its user's other code."""
    process = subprocess.run(
        [sys.executable, "-c", WATCH], capture_output=True, text=True, check=True, timeout=250
    )
    assert json.loads(process.stdout.splitlines()[-1]) == {}


# ---- layering ----


def test_losses_import_torch_scipy_and_the_standard_library_only() -> None:
    """They must be usable in a loop of one's own, without Transformers; scipy assigns queries."""
    for path in MODULES:
        if relative(path).startswith("losses/"):
            for name in imported(path):
                root = name.split(".")[0]
                known = root in ("torch", "scipy") or root in sys.stdlib_module_names
                assert known or within(name, "hf_structkd.losses"), f"{relative(path)}: {name}"


def test_the_trainer_names_no_task_and_no_architecture() -> None:
    """A task that the trainer knows by name is one that a new file in `tasks/` cannot add."""
    for node in ast.walk(tree(PACKAGE / "training" / "trainer.py")):
        texts = [
            getattr(node, attribute)
            for attribute in ("id", "attr", "name", "arg", "module", "value")
            if isinstance(getattr(node, attribute, None), str)
        ]
        for text in texts:
            for word in TASK_WORDS:
                assert word not in text.lower(), text


def test_the_package_imports_no_example_and_no_script() -> None:
    """They are not installed with it."""
    for path in MODULES:
        for name in imported(path):
            assert name.split(".")[0] not in ("examples", "scripts", "tests"), f"{relative(path)}: {name}"


def test_every_module_is_documented() -> None:
    assert [relative(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


def test_types_are_published() -> None:
    """Without the marker a type checker takes every import as Any."""
    assert (PACKAGE / "py.typed").is_file()
