"""The parts of a run that its card reads; a `StructKDTrainer` has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol


class RunTask(Protocol):
    """The task of a run, as `tasks.Task` describes it."""

    name: ClassVar[str]
    metric_labels: ClassVar[Mapping[str, str]]
    class_metric_labels: ClassVar[Mapping[str, str]]
    usage: ClassVar[str]


class RunTerm(Protocol):
    """A term of a run, as `terms.Term` describes it."""

    name: ClassVar[str]
    title: ClassVar[str]
    compares: ClassVar[str]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the term without its weight, by their names."""


class Run(Protocol):
    """A training at any point of it.

    Attributes:
        args: The `StructKDTrainingArguments`; the card reads the settings that it lists by their names.
        state: The `TrainerState`.
        model: The student, a `PreTrainedModel`.
        teacher: The `FrozenTeacher`, or None for a student that is trained alone.
        task: The task that both models solve.
        terms: All terms, including those that are switched off.
        weights: The weight of every term, by its name.
        hub_model_id: Id of the repository to which the student is pushed, or None.
        train_dataset: The training images.
        eval_dataset: The validation images.
    """

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
