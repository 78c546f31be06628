"""The help of a command with two hundred options: those that matter first, all of them in groups."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

from ..data import DataOptions

ESSENTIAL: Mapping[str, tuple[str, ...]] = {
    "models": ("student_model_name_or_path", "teacher_model_name_or_path", "compare_baseline"),
    "data": (
        *("dataset_name", "validation_fraction", "image_size", "label_values"),
        *("teacher_label_map", "teacher_prompts"),
        *("depth_scale", "teacher_depth_kind", "bbox_format", "augmentation_views"),
    ),
    "terms": ("preset", "pixel_weight", "pairwise_weight", "holistic_weight"),
    "training": ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "bf16", "seed"),
    "run": ("output_dir", "teacher_cache", "resume_from_checkpoint", "push_to_hub"),
}
"""Names of the options that `--help` shows, by group; those that a task does not have are left out."""

_OF_TRAINING = ("augmentation_views", "keep_views")

# The first group with a prefix of the name counts.
_OF_TRAINER: Mapping[str, tuple[str, ...]] = {
    "evaluation and checkpoints": (
        *("eval_", "do_", "per_device_eval", "batch_eval", "include_for", "prediction_loss", "metric_for"),
        *("greater_is", "save_", "load_best", "resume_", "restore_", "ignore_data_skip", "overwrite_"),
        *("enable_jit_checkpoint", "output_dir"),
    ),
    "report and Hub": (
        *("log", "report_to", "run_name", "project", "trackio", "disable_tqdm", "include_num_input"),
        *("push_to_hub", "hub_"),
    ),
    "devices and precision": (
        *("bf16", "fp16", "tf32", "use_cpu", "half_precision", "ddp_", "fsdp", "deepspeed", "accelerator_"),
        *("parallelism_", "torch_", "gradient_checkpointing", "activation_checkpointing", "dataloader_"),
        *("local_rank", "full_determinism", "use_liger", "liger_", "skip_memory", "auto_find", "debug"),
    ),
}
_OF_LIBRARY: Mapping[str, tuple[str, ...]] = {
    "critic": ("critic_", "gradient_penalty"),
    "devices and precision": ("shard",),
    "teacher": ("teacher_", "student_feature"),
    "training": ("ema_",),
    "terms": ("",),
}
_ORDER = (
    *("models", "data", "labels and task", "terms", "critic", "teacher", "training"),
    *(*_OF_TRAINER, "other"),
)


class Formatter(argparse.HelpFormatter):
    """Prints the choices, and defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.choices is not None:
            text += f" One of {', '.join(map(str, action.choices))}."
        return text if action.default in (None, False, "", []) else f"{text} (default: %(default)s)"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # A flag may be written with hyphens too, which would double the length of every entry.
        return action.option_strings[0]


def essential_help(parser: Any) -> str:
    """Return the help on the options that matter, with examples."""
    actions = {action.dest: action for action in reversed(_options(parser))}
    hidden = () if "num_train_epochs" in actions else _OF_TRAINING
    own = {kind.help_group: list(_names(kind)) for kind in parser.dataclass_types if _is_small(kind)}
    groups = {
        title: [actions[name] for name in names if name in actions and name not in hidden]
        for title, names in {**own, **ESSENTIAL}.items()
    }
    shown = sum(map(len, groups.values()))
    more = f"These are {shown} of {len(actions)} options: --help-all prints all, in groups."
    return f"{_formatted(parser, groups)}\n{_examples(parser)}\n{more}\n"


def full_help(parser: Any) -> str:
    """Return the help on every option, in groups."""
    groups: dict[str, list[argparse.Action]] = {title: [] for title in _ORDER}
    for action in _options(parser):
        groups.setdefault(_group_of(action.dest, parser.dataclass_types), []).append(action)
    return f"{_formatted(parser, groups)}\n{_examples(parser)}"


def _options(parser: Any) -> list[argparse.Action]:
    return [one for one in parser._actions if one.dest not in ("help", "help_all")]


def _group_of(name: str, types: Iterable[Any]) -> str:
    owner = next((kind for kind in types if name in _names(kind)), None)
    if owner is None:
        return "terms" if name == "preset" else "other"
    if issubclass(owner, DataOptions):
        is_data = name in _names(DataOptions) or "unlabeled" in name
        return "data" if is_data else "labels and task"
    if not issubclass(owner, TrainingArguments):
        return getattr(owner, "help_group", "other")
    of_trainer = name in _names(TrainingArguments)
    rules = _OF_TRAINER if of_trainer else _OF_LIBRARY
    return next((title for title, starts in rules.items() if name.startswith(starts)), "training")


def _names(kind: Any) -> dict[str, None]:
    return dict.fromkeys(one.name for one in fields(kind))


def _is_small(kind: Any) -> bool:
    """Return whether all options of a class matter: it has a group of its own, which is none of a run."""
    return getattr(kind, "help_group", None) not in (None, *ESSENTIAL)


def _formatted(parser: Any, groups: Mapping[str, list[argparse.Action]]) -> str:
    formatter = Formatter(parser.prog, max_help_position=32, width=110)
    formatter.add_usage(parser.usage or f"{parser.prog} [FILE.yaml] [--option value ...]", [], [])
    formatter.add_text(parser.description)
    for title, actions in groups.items():
        formatter.start_section(title)
        formatter.add_arguments(actions)
        formatter.end_section()
    return formatter.format_help()


def _examples(parser: Any) -> str:
    if parser.epilog is not None:
        return f"examples:\n{parser.epilog}\n"
    program, words = parser.prog, parser.prog.partition(" ")[2]
    return f"""examples:
  {program} --dataset_name street --validation_fraction 0.1 --image_size 512 512 \\
      --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT --output_dir outputs/street
  {program} street.yaml --seed 2                  a YAML file sets the same names; flags win
  accelerate launch -m hf_structkd {words} street.yaml      several processes or GPUs
"""
