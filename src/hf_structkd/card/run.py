"""Reads the facts of a card from the trainer of a run, the disk and the Hub."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import huggingface_hub
import torch
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import logging

from ..data import DataOptions, has_labels
from ..features import has_adapters
from ..models.loading import config_of, holds_only_a_configuration, model_of
from ..models.parameters import count_parameters
from ..models.plain_module import ModuleConfig
from ..models.shipping import needs_own_code
from ..models.teacher_forms import class_name
from .command import printable_command
from .facts import CardFacts, DataFacts, Origin, TermFacts, license_notice
from .origin import find_origin, name_of
from .scores import read_scores
from .settings import settings_of_data, settings_of_run

logger = logging.get_logger(__name__)

_TIME = "train_runtime"
SCENES = Origin("the embedded scenes of hf_structkd", generated=True)
_SCENES = "scenes"
_FIGURES = ("figures/predictions.png", "figures/classes.png", "figures/curves.png")
_REPORT = "report.html"
_NO_NAMES = frozenset(
    {"checkpoint", "run", "out", "output", "outputs", "seed", "exp", "experiment", "test", "tmp", "results"}
)
_LIBRARIES = ("hf_structkd", "torch", "transformers", "accelerate", "datasets")


class RunTask(Protocol):
    """The task of a run, as `tasks.Task` describes it."""

    name: ClassVar[str]
    metric_labels: ClassVar[Mapping[str, str]]
    class_metric_labels: ClassVar[Mapping[str, str]]
    usage: ClassVar[str]

    def describe(self) -> Mapping[str, str]:
        """Return lines that say how the two models are matched, text by label."""

    def taught_classes(self) -> Mapping[str, str]:
        """Return for every class of either model by what it is taught."""


class RunTerm(Protocol):
    """A term of a run, as `terms.Term` describes it."""

    name: ClassVar[str]
    title: ClassVar[str]
    compares: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the term without its weight, by their names."""


class Run(Protocol):
    """A training at any point of it; `teacher` and `hub_model_id` may be None."""

    args: Any
    state: Any
    model: Any
    teacher: Any
    task: RunTask
    terms: Iterable[RunTerm]
    weights: Mapping[str, float]
    hub_model_id: str | None
    train_dataset: Any
    eval_dataset: Any


class RunNotes(NamedTuple):
    """Facts of a card that a trainer does not know.

    Attributes:
        data: Options of the data, which are the embedded scenes without a `dataset_name`; None if unknown.
        student_revision: Branch, tag or commit from which the student was loaded.
        teacher_revision: Branch, tag or commit from which the teacher was loaded.
        command: `sys.argv` of the run; None if no command line started it.
        metrics: Scores that `evaluate()` returned; None means the last evaluation that the trainer logged.
        teacher_metrics: Scores that `evaluate_teacher()` returned; None where the teacher was not scored.
        table: Table that `write_report` returned.
    """

    data: DataOptions | None = None
    student_revision: str | None = None
    teacher_revision: str | None = None
    command: Sequence[str] | None = None
    metrics: Mapping[str, float] | None = None
    teacher_metrics: Mapping[str, float] | None = None
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
    origins = [] if data is None else [data.source, data.unlabeled]
    evaluations = ({k: v for k, v in entry.items() if k.startswith("eval_")} for entry in reversed(log))
    metrics = notes.metrics or next(filter(None, evaluations), {})
    models = _models(run, notes)
    labels = run.task.metric_labels, run.task.class_metric_labels
    facts = CardFacts(
        name=_title(run, folder.resolve().name, models),
        repo_id=_repo_id(run),
        folder=folder.resolve().name,
        pipeline_tag=run.task.name,
        **models,
        **training_facts(run, notes),
        usage=run.task.usage,
        data=data,
        dataset_ids=tuple(origin.hub_id for origin in origins if origin and origin.hub_id),
        scores=read_scores(metrics, *labels),
        teacher_scores=read_scores(notes.teacher_metrics or {}, *labels),
        table=notes.table,
        figures=tuple(name for name in _FIGURES if (folder / name).is_file()),
        report=_REPORT if (folder / _REPORT).is_file() else None,
    )
    notice = license_notice(facts)
    if notice is not None and args.push_to_hub:
        logger.warning("%s", notice)
    return facts


def training_facts(run: Run, notes: RunNotes) -> dict[str, Any]:
    """Return the fields of `CardFacts` on how the student was trained, by their names; no file is read."""
    args, command = run.args, None
    if notes.command is not None:
        secrets = [args.hub_token or "", huggingface_hub.get_token() or ""]
        command = printable_command(notes.command, processes=args.world_size, secrets=secrets)
    log = reversed(run.state.log_history)
    return {
        "terms": tuple(TermFacts(term.title, run.weights[term.name], term.compares) for term in run.terms),
        "settings": settings_of_run(run) | ({} if notes.data is None else settings_of_data(notes.data)),
        "command": command,
        "seed": args.seed,
        "steps": run.state.global_step,
        "epochs": float(run.state.epoch or 0),
        "global_batch_size": args.global_batch_size,
        "train_seconds": next((entry[_TIME] for entry in log if _TIME in entry), None),
        "hardware": _device_name(args.device),
        "processes": args.world_size,
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _repo_id(run: Run) -> str | None:
    """Return where the student is pushed to, or where it will be if it is pushed later."""
    return run.hub_model_id or run.args.hub_model_id or None


def _title(run: Run, folder: str, models: Mapping[str, Any]) -> str:
    """Return the repository's name, or the folder's, or where that is a number what the student is."""
    repo_id = _repo_id(run)
    if repo_id is not None:
        return repo_id.rpartition("/")[2]
    words = {word.lower() for word in re.findall(r"[^\W\d_]{3,}", folder)}
    if words - _NO_NAMES:
        return folder
    student = models["student"].name or models["architecture"]
    return f"{student} distilled from {models['teacher'].name}" if models.get("teacher") else student


def _models(run: Run, notes: RunNotes) -> dict[str, Any]:
    """Return the facts of student and teacher."""
    name, token = run.model.name_or_path, run.args.hub_token
    from_scratch = not name or holds_only_a_configuration(name)
    if from_scratch:
        student = Origin(name_of(name) if name else "")
    else:
        student = find_origin(name, kind="model", revision=notes.student_revision, token=token)
    config, is_adapter = config_of(run.model), has_adapters(run.model)
    facts: dict[str, Any] = {
        "architecture": type(model_of(run.model)).__name__,
        "parameters": count_parameters(run.model),
        "needs_library": needs_own_code(config),
        "is_wrapped": config.model_type == ModuleConfig.model_type,
        "is_adapter": is_adapter,
        "base_is_found": is_adapter and _has_classes_of(student.hub_id, config, token),
        "student": student,
        "from_scratch": from_scratch,
    }
    if run.teacher is None:
        return facts
    source = run.teacher.source
    teacher = Origin(class_name(source.outline))  # a model that was built in this process has no name
    if source.name:
        teacher = find_origin(source.name, kind="model", revision=notes.teacher_revision, token=token)
    told = {"matching": run.task.describe(), "classes": run.task.taught_classes()}
    return facts | told | {"teacher": teacher, "teacher_description": source.description}


def _has_classes_of(hub_id: str | None, config: PretrainedConfig, token: str | None) -> bool:
    """Return whether a model on the Hub can be read and has the classes of a configuration."""
    try:
        return hub_id is not None and bool(
            AutoConfig.from_pretrained(hub_id, token=token).id2label == config.id2label
        )
    except (OSError, ValueError):  # what cannot be read here is no base that others find
        return False


def _data_facts(options: DataOptions, run: Run) -> DataFacts:
    token = run.args.hub_token
    unlabeled = None
    if options.unlabeled_dataset_name is not None:
        unlabeled = _dataset(options.unlabeled_dataset_name, options.unlabeled_revision, token)
    return DataFacts(
        source=_dataset(options.dataset_name, options.dataset_revision, token),
        config=options.dataset_config_name,
        train_split=options.train_split,
        validation_split=str(getattr(run.eval_dataset, "split", None) or options.validation_split),
        train_images=_length(run.train_dataset),
        validation_images=_length(run.eval_dataset),
        unlabeled=unlabeled,
        notes=tuple(getattr(run.train_dataset, "notes", {}).items()),
        has_labels=has_labels(run.train_dataset),
        is_scored=run.eval_dataset is not None,
        agreement=not has_labels(run.eval_dataset),
    )


def _dataset(name: str | None, revision: str | None, token: str | None) -> Origin:
    if name is None or name == _SCENES:
        return SCENES
    return find_origin(name, kind="dataset", revision=revision, token=token)


def _length(dataset: Any) -> int | None:
    return len(dataset) if hasattr(dataset, "__len__") else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()} ({platform.machine()})"
