"""What is read of a run for its card; a `StructKDTrainer` and the options of its data say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

import torch


class RunArguments(Protocol):
    """The settings of a run; those that the card lists are read by their names."""

    @property
    def output_dir(self) -> str | None:
        """Folder of the student, where the card is written."""

    @property
    def hub_token(self) -> str | None:
        """Token of the Hub; None is that of the environment."""

    @property
    def push_to_hub(self) -> bool:
        """Whether the student is pushed."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def device(self) -> torch.device:
        """Device that trains."""

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""

    @property
    def global_batch_size(self) -> int:
        """Images in one optimiser step."""


class RunTask(Protocol):
    """The task of a run, as `tasks.Task` has it."""

    name: ClassVar[str]
    metric_labels: ClassVar[Mapping[str, str]]
    class_metric_labels: ClassVar[Mapping[str, str]]
    usage: ClassVar[str]


class RunTeacher(Protocol):
    """The teacher of a run."""

    @property
    def model(self) -> Any:
        """The model itself, a `PreTrainedModel`."""

    @property
    def description(self) -> str:
        """Its class and size."""


class RunTerm(Protocol):
    """A term of a run, as `terms.Term` has it."""

    name: ClassVar[str]
    title: ClassVar[str]
    compares: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Return its settings beside the weight, by their names."""


class Run(Protocol):
    """A training, at any time of it."""

    @property
    def args(self) -> RunArguments:
        """Its settings."""

    @property
    def state(self) -> Any:
        """Its `TrainerState`."""

    @property
    def model(self) -> Any:
        """The student, a `PreTrainedModel`."""

    @property
    def teacher(self) -> RunTeacher | None:
        """The teacher; None for a student that is trained alone."""

    @property
    def task(self) -> RunTask:
        """What both solve."""

    @property
    def terms(self) -> Iterable[RunTerm]:
        """Every term, on or off."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of every term, by its name."""

    @property
    def hub_model_id(self) -> str | None:
        """Where the student is pushed."""

    @property
    def train_dataset(self) -> Any:
        """Images trained on."""

    @property
    def eval_dataset(self) -> Any:
        """Images scored."""
