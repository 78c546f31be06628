"""The words after a subcommand that works on trained models: the models, then options and a file of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data import DataOptions
from .script_args import parse_arguments
from .trained.loading import solved_task

_FILES = (".yaml", ".yml", ".json")


def words_before_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before the first option, and the rest."""
    first = next((place for place, word in enumerate(argv) if word.startswith("-")), len(argv))
    return list(argv[:first]), list(argv[first:])


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before the options, and the options with the YAML or JSON file before them."""
    words, rest = words_before_options(argv)
    if words and words[-1].endswith(_FILES):
        rest.insert(0, words.pop())
    return words, rest


def parse_models(
    command: str, argv: Sequence[str], *types: Any, examples: str
) -> tuple[list[str], Any, tuple[Any, ...]]:
    """Parse models, and the options of the data of their task.

    Args:
        command: Name of the subcommand.
        argv: The words behind it.
        *types: Dataclasses of further options.
        examples: Lines for the help.

    Returns:
        The names of the models; the options of the data; one instance of each of `types`.

    Raises:
        ValueError: If the first model cannot be read, or solves no known task.
        UsageError: If an option does not exist.
    """
    names, rest = split_words(argv)
    # Without a model the help knows no task.
    options = solved_task(names[0]).options if names else DataOptions
    program = f"structkd {command}"
    usage = f"{program} MODEL... [FILE.yaml] [--option value ...]"
    own, *others = parse_arguments(options, *types, argv=rest, prog=program, usage=usage, epilog=examples)
    return names, own, tuple(others)
