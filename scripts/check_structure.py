"""Measure the package's structure against its limits, and print the graph of its imports.

    python scripts/check_structure.py

Every import counts, also one inside a function or behind a condition. The exit status is 1 if a limit is
broken.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "hf_structkd"

ROOMS = (
    *("losses", "matching", "features", "metrics", "scenes", "hub", "data", "models", "teacher_cache"),
    *("adversary", "card", "report", "tasks", "terms", "training", "cli", "__main__"),
)
"""The packages from the ground up: a module imports only from its own room and from rooms before it."""

MOST_BOXES, MOST_LINES, MOST_MEDIAN_LINES, MOST_CODE_LINES, MOST_ARGUMENTS = 20, 300, 130, 45, 10


class Module(NamedTuple):
    """One file of the package.

    Attributes:
        name: Its dotted name.
        path: The file.
        tree: Its syntax tree.
        lines: Its text, line by line.
    """

    name: str
    path: Path
    tree: ast.Module
    lines: list[str]

    @property
    def room(self) -> str:
        """The package below `hf_structkd` that it stands in; empty for the top."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


def read_modules() -> dict[str, Module]:
    """Return every module by its dotted name."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["hf_structkd", *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, path, ast.parse(text), text.splitlines())
    return modules


def imports_of(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it.

    `from .room import name` is an import of `room.name` if that is a module, and of `room` if it is not.
    """
    package = module.name.split(".")
    if module.path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            inner = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else source for name in inner}
    return (found & modules.keys()) - {module.name}


def hidden_imports(modules: dict[str, Module]) -> list[str]:
    """Name every import that is not at the top level of its module."""
    return [
        f"{module.path.name}:{node.lineno}"
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in module.tree.body
    ]


def functions(modules: dict[str, Module]) -> Iterator[tuple[str, ast.FunctionDef, int]]:
    """Yield every function with its place and its lines of code, without docstring, comments and blanks."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                body = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                first = node.body[0]
                documented = ast.get_docstring(node) is not None
                text = set(range(first.lineno, (first.end_lineno or 0) + 1)) if documented else set()
                kept = [module.lines[number - 1].strip() for number in body if number not in text]
                code = [line for line in kept if line and not line.startswith("#")]
                yield f"{module.name}.{node.name}", node, len(code)


def argument_count(node: ast.FunctionDef) -> int:
    """Count a function's parameters, without `self` and `cls`."""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def faults(modules: dict[str, Module]) -> list[str]:
    """Return one sentence for every limit that is broken."""
    found = []
    graph = {name: imports_of(module, modules) for name, module in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"imports run in a circle: {' -> '.join(error.args[1])}")
    order = {room: place for place, room in enumerate(ROOMS)}
    for name, targets in graph.items():
        room = modules[name].room
        if room not in order:
            found += [f"{name} stands in no room"] if room else []
            continue
        upward = [t for t in targets if order.get(modules[t].room, len(ROOMS)) > order[room]]
        found += [f"{name} imports upwards from {target}" for target in upward]
    found += [f"an import is hidden at {place}" for place in hidden_imports(modules)]
    boxes = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    if len(boxes) > MOST_BOXES:
        found.append(f"the top level has {len(boxes)} boxes, more than {MOST_BOXES}")
    lengths = {name: len(module.lines) for name, module in modules.items()}
    found += [
        f"{name} has {n} lines, more than {MOST_LINES}" for name, n in lengths.items() if n > MOST_LINES
    ]
    if statistics.median(lengths.values()) > MOST_MEDIAN_LINES:
        found.append(f"the median module has more than {MOST_MEDIAN_LINES} lines")
    for name, node, code in functions(modules):
        if code > MOST_CODE_LINES:
            found.append(f"{name} has {code} lines of code, more than {MOST_CODE_LINES}")
        is_public = not node.name.startswith("_") or node.name == "__init__"
        if is_public and argument_count(node) > MOST_ARGUMENTS:
            found.append(f"{name} has {argument_count(node)} arguments, more than {MOST_ARGUMENTS}")
    return found


def main() -> int:
    """Print the graph room by room, the measures and the faults."""
    modules = read_modules()
    for room in ROOMS:
        inside = [module for module in modules.values() if module.room == room]
        targets = {modules[t].room for module in inside for t in imports_of(module, modules)}
        below = [other for other in ROOMS if other in targets - {room}]
        lines = sum(len(module.lines) for module in inside)
        print(f"{room:<10}{len(inside):>3} modules {lines:>6} lines  <- {', '.join(below) or '-'}")
    lengths = sorted(len(module.lines) for module in modules.values())
    longest = max(code for _, _, code in functions(modules))
    print(
        f"{len(modules)} modules, {sum(lengths)} lines; median {statistics.median(lengths):g}, longest "
        f"{lengths[-1]}; longest function {longest} lines of code"
    )
    broken = faults(modules)
    print("\n".join(broken) if broken else "no limit is broken: 0 circles, 0 upward edges, 0 hidden imports")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
