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
