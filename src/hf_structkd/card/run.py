"""Reads the facts of a card from the trainer of a run, the disk and the Hub."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from transformers import PretrainedConfig
from transformers.utils import logging

from ..data import DataOptions, DenseOptions
from ..models.loading import config_of, holds_only_a_configuration
from ..models.parameters import count_parameters
from .command import printable_command
from .facts import CardFacts, DataFacts, Origin, TermFacts, license_notice
from .origin import find_origin, name_of
from .protocols import Run
from .scores import finite_scores

logger = logging.get_logger(__name__)

_TIME = "train_runtime"
SCENES = Origin("the embedded scenes of hf_structkd", generated=True)
_SCENES = "scenes"
_FIGURES = ("figures/predictions.png", "figures/classes.png", "figures/curves.png")
_LIBRARIES = ("hf_structkd", "torch", "transformers", "accelerate", "datasets")
_TRAINING_SETTINGS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "fp16",
    "bf16",
)
_PAIR_SETTINGS = ("student_feature", "teacher_feature", "teacher_image_size")


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """Facts of a card that a trainer does not know.

    Attributes:
        data: Options of the data, which are the embedded scenes without a `dataset_name`; None if unknown.
        student_revision: Branch, tag or commit from which the student was loaded.
        teacher_revision: Branch, tag or commit from which the teacher was loaded.
        command: `sys.argv` of the run; None if no command line started it.
        metrics: Scores that `evaluate()` returned; None means the last evaluation that the trainer logged.
        table: Table that `write_report` returned.
    """

    data: DataOptions | None = None
    student_revision: str | None = None
    teacher_revision: str | None = None
    command: Sequence[str] | None = None
    metrics: Mapping[str, float] | None = None
    table: str | None = None


def card_facts(run: Run, notes: RunNotes | None = None) -> CardFacts:
    """Return the facts of a run's card; call this on the main process, at any point of the run.

    Licences are read from the cards of teacher, student and data, on the disk or on the Hub. A licence that
    cannot be read is not known. The card says whether the licences are unknown or differ; if the run is
    pushed, a warning says so too.

    Args:
        run: Trainer of the run. A student that `from_config` built from a configuration of the Hub looks
            like a pretrained one.
        notes: Facts that the trainer does not know.
    """
    notes = notes or RunNotes()
    args, log = run.args, run.state.log_history
    folder = Path(str(args.output_dir))
    data = None if notes.data is None else _data_facts(notes.data, run)
    facts = CardFacts(
        name=(run.hub_model_id or folder.resolve().name).rpartition("/")[2],
        repo_id=run.hub_model_id or None,
        pipeline_tag=run.task.name,
        **_models(run, notes),
        usage=run.task.usage,
        terms=term_facts(run),
        settings=_settings(run),
        data=data,
        dataset_ids=_dataset_ids(data),
        metrics=finite_scores(notes.metrics or _last_evaluation(log)),
        metric_labels=run.task.metric_labels,
        class_metric_labels=run.task.class_metric_labels,
        table=notes.table,
        figures=tuple(name for name in _FIGURES if (folder / name).is_file()),
        command=_command(notes.command, args),
        seed=args.seed,
        steps=run.state.global_step,
        epochs=float(run.state.epoch or 0),
        global_batch_size=args.global_batch_size,
        train_seconds=next((entry[_TIME] for entry in reversed(log) if _TIME in entry), None),
        hardware=_device_name(args.device),
        processes=args.world_size,
        versions={name: version(name) for name in _LIBRARIES},
    )
    notice = license_notice(facts)
    if notice is not None and args.push_to_hub:
        logger.warning("%s", notice)
    return facts


def term_facts(run: Run) -> tuple[TermFacts, ...]:
    """Return the facts of all terms."""
    return tuple(TermFacts(term.title, run.weights[term.name], term.compares) for term in run.terms)


def _models(run: Run, notes: RunNotes) -> dict[str, Any]:
    """Return the facts of student and teacher."""
    start, from_scratch = _start(run, notes.student_revision)
    facts: dict[str, Any] = {
        "architecture": type(run.model).__name__,
        "parameters": count_parameters(run.model),
        "needs_library": _needs_library(config_of(run.model)),
        "student": start,
        "from_scratch": from_scratch,
    }
    if run.teacher is None:
        return facts
    source, token = run.teacher.source, run.args.hub_token
    teacher = Origin(type(source.outline).__name__)  # a model that was built in this process has no name
    if source.name:
        teacher = find_origin(source.name, kind="model", revision=notes.teacher_revision, token=token)
    return facts | {"teacher": teacher, "teacher_description": source.description}


def _start(run: Run, revision: str | None) -> tuple[Origin, bool]:
    """Return the origin of the student, and whether it started without weights."""
    name = run.model.name_or_path
    if not name or holds_only_a_configuration(name):
        return Origin(name_of(name) if name else ""), True
    return find_origin(name, kind="model", revision=revision, token=run.args.hub_token), False


def _data_facts(options: DataOptions, run: Run) -> DataFacts:
    token = run.args.hub_token
    unlabeled = None
    if isinstance(options, DenseOptions) and options.unlabeled_dataset_name is not None:
        unlabeled = _dataset(options.unlabeled_dataset_name, options.unlabeled_revision, token)
    return DataFacts(
        source=_dataset(options.dataset_name, options.dataset_revision, token),
        config=options.dataset_config_name,
        train_split=options.train_split,
        validation_split=options.validation_split,
        train_images=_length(run.train_dataset),
        validation_images=_length(run.eval_dataset),
        unlabeled=unlabeled,
    )


def _dataset(name: str | None, revision: str | None, token: str | None) -> Origin:
    if name is None or name == _SCENES:
        return SCENES
    return find_origin(name, kind="dataset", revision=revision, token=token)


def _dataset_ids(data: DataFacts | None) -> tuple[str, ...]:
    origins = [] if data is None else [data.source, data.unlabeled]
    return tuple(origin.hub_id for origin in origins if origin is not None and origin.hub_id is not None)


def _length(dataset: Any) -> int | None:
    return len(dataset) if hasattr(dataset, "__len__") else None


def _command(argv: Sequence[str] | None, args: Any) -> str | None:
    if argv is None:
        return None
    secrets = [args.hub_token or "", huggingface_hub.get_token() or ""]
    return printable_command(argv, processes=args.world_size, secrets=secrets)


def _last_evaluation(history: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Return the scores of the evaluation that was logged last."""
    for entry in reversed(history):
        scores = {name: value for name, value in entry.items() if name.startswith("eval_")}
        if scores:
            return scores
    return {}


def _settings(run: Run) -> dict[str, str]:
    """Return the settings of the training and of the active terms that have a value, as text."""
    settings = {name: getattr(run.args, name) for name in _TRAINING_SETTINGS}
    if run.teacher is not None:
        settings |= {name: getattr(run.args, name) for name in _PAIR_SETTINGS}
        for term in run.terms:
            settings |= term.settings() if run.weights[term.name] > 0 else {}
    return {name: _printed(value) for name, value in settings.items() if value not in (None, [])}


def _printed(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(getattr(value, "value", value))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} ({platform.machine()})"


def _needs_library(config: PretrainedConfig) -> bool:
    """Return whether a model of this configuration needs a class of this package."""
    nested = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    package = __name__.partition(".")[0]
    return type(config).__module__.partition(".")[0] == package or any(map(_needs_library, nested))
