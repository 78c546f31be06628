"""What a task adds to the workflow that all share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from transformers import PretrainedConfig

from ...data import DenseData, Normalization
from ...tasks import Task
from ...training.arguments import StructKDTrainingArguments
from ..script_args import ModelArguments, parse_arguments


class Arguments(NamedTuple):
    """One command line: which models, which data, the task's options, and how to train."""

    models: ModelArguments
    data: Any
    task: Any
    training: StructKDTrainingArguments


@dataclass(frozen=True)
class Workflow:
    """What a task adds to the workflow that all share.

    Attributes:
        task: What is solved.
        data_arguments: Dataclass of the data's options; has `dataset_name` and `image_size`.
        task_arguments: Dataclass of the task's options; `task_options()` are the task's keyword arguments.
        load_data: Loads the data, from the data's options, the student's normalisation, the teacher's
            configuration or None, and the seed.
        write_report: Writes the figures and returns the table, see `write_report`.
    """

    task: type[Task]
    data_arguments: type
    task_arguments: type
    load_data: Callable[[Any, Normalization, PretrainedConfig | None, int], DenseData]
    write_report: Callable[..., str]

    def parse(self, argv: Sequence[str] | None, *, scenes: Mapping[str, Any]) -> Arguments:
        """Parse a command line; without a dataset, `scenes` are the defaults, for the embedded ones."""
        types = (ModelArguments, self.data_arguments, self.task_arguments, StructKDTrainingArguments)
        parsed = Arguments(*parse_arguments(*types, argv=argv))
        if parsed.data.dataset_name is not None:
            return parsed
        return Arguments(*parse_arguments(*types, argv=argv, defaults=scenes))
