"""What the tasks whose models have classes share on a command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from transformers import PretrainedConfig

from ...data import LoadedData, Normalization
from ...matching.label_spaces import load_label_map


@dataclass
class LabelMapArguments:
    """How the classes of the two models belong together."""

    teacher_label_map: str | None = field(
        default=None, metadata={"help": "JSON object or file: teacher class name to student class name."}
    )

    def task_options(self) -> dict[str, Any]:
        """Keyword arguments of the task."""
        given = self.teacher_label_map
        return {"teacher_label_map": None if given is None else load_label_map(given)}


def with_teachers_classes(
    load: Callable[..., LoadedData],
) -> Callable[[Any, Normalization, PretrainedConfig | None, int], LoadedData]:
    """A workflow's `load_data` around a loader: where the data names no classes, the teacher does."""

    def load_data(
        options: Any, normalization: Normalization, teacher: PretrainedConfig | None, seed: int
    ) -> LoadedData:
        names = None if teacher is None else teacher.id2label
        return load(**asdict(options), normalization=normalization, default_id2label=names, seed=seed)

    return load_data
