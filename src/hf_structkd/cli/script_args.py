"""Parse the command line of a script: flags, a YAML or JSON file, a preset, and the script's defaults."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import yaml
from transformers import HfArgumentParser

from ..data import ClassOptions, DataOptions
from ..data.options import option
from ..tasks import Task
from ..training.arguments import StructKDTrainingArguments
from ..training.presets import PRESETS, preset_settings
from .endings import ExitCode, UsageError
from .help_text import essential_help, full_help


@dataclass
class ModelArguments:
    """Options that name the models."""

    help_group: ClassVar[str] = "models"

    student_model_name_or_path: str | None = option(
        None,
        "Hub id, folder or name. From scratch start a folder with only config.json, and the names that come "
        "with the package: glpn-0.1m, glpn-0.8m, rtdetr-0.6m, rtdetr-2.6m, segformer-0.3m, segformer-0.8m, "
        "segformer-2m.",
    )
    teacher_model_name_or_path: str | None = option(
        None, "Hub id or folder, or a file of ONNX, TorchScript or torch.export."
    )
    student_revision: str | None = option(None, "Branch, tag or commit.")
    teacher_revision: str | None = option(None, "Branch, tag or commit.")
    trust_remote_code: bool = option(
        False, "Run code that lies beside student or teacher, as a wrapped network has it."
    )
    init_student_from_teacher: bool = option(
        False, "Start the student, also the one alone, from what fits of the teacher's weights."
    )
    teacher_layers: list[str] = option(
        [], "Also start the student's layers from these of the teacher: '*.encoder.layer=0,2,4'."
    )
    freeze: list[str] = option(
        [], "Patterns of names of student parameters that stay as they are, such as 'backbone.*'."
    )
    compare_baseline: bool = option(False, "Also train the same student without a teacher and compare.")


SETTINGS_FILES = (".yaml", ".yml", ".json")
# `Trainer` takes a list for some of the options whose flag is one text.
_TAKE_LISTS = {one.name for one in fields(StructKDTrainingArguments) if "list[" in str(one.type)}


class Arguments(NamedTuple):
    """One command line: the task, the models, the options of data and task, and the training arguments."""

    task: type[Task]
    models: ModelArguments
    options: DataOptions
    training: StructKDTrainingArguments


class _Parser(HfArgumentParser):
    """A parser with a short help, and errors without the names of all options."""

    def format_help(self) -> str:
        """Return the help on the options that matter."""
        return essential_help(self)

    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit."""
        print(f"{self.prog}: error: {message}; see --help.", file=sys.stderr)  # noqa: T201
        sys.exit(ExitCode.USAGE)


class _FullHelp(argparse.Action):
    """Prints the help on every option."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(full_help(parser))  # noqa: T201
        parser.exit()


def parse_run(
    task: type[Task], argv: Sequence[str] | None, *, scenes: Mapping[str, Any], prog: str | None = None
) -> Arguments:
    """Parse the command line of a task; without a dataset, `scenes` are the defaults.

    Args:
        task: The task, whose options it takes.
        argv: The arguments; None takes those of the command line.
        scenes: Defaults on the embedded scenes.
        prog: What the help calls the command; None is the name of the script.
    """
    types = (ModelArguments, task.options, StructKDTrainingArguments)
    parsed = Arguments(task, *parse_arguments(*types, argv=argv, prog=prog))
    if parsed.options.dataset_name is not None:
        return parsed
    return Arguments(task, *parse_arguments(*types, argv=argv, defaults=scenes, prog=prog))


def parse_arguments(
    *types: Any,
    argv: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    prog: str | None = None,
    **parser_options: Any,
) -> tuple[Any, ...]:
    """Parse flags into dataclasses; a YAML or JSON file before them and `--preset` set what no flag sets.

    In the order of the dataclasses' defaults, `defaults`, the preset, the file and the flags, the later wins.

    Args:
        *types: Dataclasses, as for `HfArgumentParser`.
        argv: The arguments; None takes those of the command line.
        defaults: Defaults of the script.
        prog: What the help calls the command; None is the name of the script.
        **parser_options: `usage` and `epilog`, the examples of the help, where they are not those of a run.

    Returns:
        One instance of each dataclass.

    Raises:
        UsageError: If the file cannot be read as a mapping, or it or a flag names no existing option.
        ValueError: If a value is out of its range.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Abbreviations are off, because `convert_preset` needs the full names of the flags.
    parser = _Parser(types, allow_abbrev=False, prog=prog, **parser_options)
    trains = StructKDTrainingArguments in types
    if trains:
        parser.add_argument("--preset", choices=sorted(PRESETS), help="Weights of a published configuration.")
    parser.add_argument("--help-all", action=_FullHelp, nargs=0, default=argparse.SUPPRESS)
    file: dict[str, Any] = {}
    if arguments and arguments[0].endswith(SETTINGS_FILES):
        path = Path(arguments.pop(0))
        file = _converted(parser, read_settings(path), source=path.name)
    scripts = _converted(parser, defaults or {}, source="`defaults`")
    preset = _chosen_preset(arguments, file) if trains else None
    parser.set_defaults(**{**scripts, **(preset_settings(preset) if preset else {}), **file})
    *filled, unknown = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    parsed = filled[: len(types)]  # behind them stands what belongs to none, the preset
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no option; {_hint(unknown[0], parser._option_string_actions)}")
    flags = {
        argument.lstrip("-").split("=")[0].replace("-", "_")
        for argument in arguments
        if argument.startswith("--")
    }
    for part in parsed:
        if isinstance(part, StructKDTrainingArguments):
            part.convert_preset(preset, given=flags | set(file))
    return tuple(parsed)


class _TwiceError(Exception):
    """A key stands twice in one mapping, and the last value would win in silence."""


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    content: dict[Any, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _TwiceError(key)
        content[key] = value
    return content


class _Loader(yaml.SafeLoader):
    """YAML without Python objects, in which no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is written twice; one that a merge (`<<`) brings may be written again."""
        _once((key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


def read_settings(path: Path) -> Mapping[Any, Any]:
    """Return what a YAML or JSON file sets; raise `UsageError` where it is none."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}; the first argument may name a YAML or JSON file.")
    is_json = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_once) if is_json else _Loader(text).get_single_data()
    except _TwiceError as error:
        raise UsageError(f"{path.name} sets {error.args[0]!r} twice; keep one of the two.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"{path.name} is not valid {'JSON' if is_json else 'YAML'}: {said}; correct the file."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UsageError(
            f"{path.name} must map option names to values, got a {type(content).__name__}; write one "
            "`name: value` a line."
        )
    return content


def _converted(
    parser: argparse.ArgumentParser, settings: Mapping[Any, Any], *, source: str
) -> dict[str, Any]:
    """Check the names, and convert every value as a flag does."""
    actions = {action.dest: action for action in reversed(parser._actions)}
    converted = {}
    for name, value in settings.items():
        if name not in actions:
            raise UsageError(f"{source} sets {name!r}, which is no option; {_hint(str(name), actions)}")
        converted[name] = _as_flag(parser, actions[name], value, source=source)
    return converted


def _as_flag(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, *, source: str) -> Any:
    """Convert a value as argparse does the text of a flag; what it cannot be ends in a sentence."""
    is_list, is_map = isinstance(value, (list, tuple)), isinstance(value, Mapping)
    kind: Any = action.type
    takes_map = kind is dict or action.dest in StructKDTrainingArguments._VALID_DICT_FIELDS
    takes_list = action.nargs == "+"
    if is_map and action.dest in ClassOptions.task_fields:
        return json.dumps(value)  # the flag takes JSON
    if (value is None and (action.default is None or kind is str or takes_list)) or (is_map and takes_map):
        return value
    if value is None or is_map or (is_list and not takes_list and action.dest not in _TAKE_LISTS):
        raise UsageError(f"{source} sets {action.dest!r} to {value!r}, where one value belongs; see --help.")
    if is_list and not takes_list:
        return value
    try:
        values = [parser._get_value(action, str(one)) for one in (value if is_list else [value])]
    except argparse.ArgumentError as error:
        parser.error(f"{source}: {error}")
    return values if takes_list else values[0]


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "see --help for all."


def _chosen_preset(arguments: Sequence[str], file: Mapping[str, Any]) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default=file.get("preset"))
    chosen: str | None = parser.parse_known_args(list(arguments))[0].preset
    return chosen
