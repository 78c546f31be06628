"""What the tasks whose models have classes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PretrainedConfig

from ..data import ClassOptions
from ..matching.label_spaces import LabelMatch, load_label_map, match_label_spaces
from .base import Task


class ClassTask(Task):
    """A task whose models name their classes: those of teacher and student are matched by name.

    Args:
        student: The student's configuration; `id2label` names its classes.
        teacher: The teacher's configuration, or None when nothing is distilled.
        teacher_label_map: Teacher class name to student class name, where the names differ.

    Raises:
        ValueError: If the student shares no class with the teacher.
    """

    @staticmethod
    def task_options(options: ClassOptions) -> dict[str, Any]:
        """Read the map of class names, text or a file."""
        given = options.teacher_label_map
        return {"teacher_label_map": None if given is None else load_label_map(given)}

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        teacher_label_map: Mapping[str, str] | None = None,
    ) -> None:
        """Match the two label spaces."""
        self.id2label = {index: str(student.id2label[index]) for index in sorted(student.id2label)}
        self.labels: LabelMatch | None = None
        if teacher is not None:
            self.labels = match_label_spaces(
                student.id2label, teacher.id2label, label_map=dict(teacher_label_map or {})
            )
            self.score_map_channels = len(self.labels.names)

    def settings(self) -> dict[str, Any]:
        """Return the shared classes: the student's id of each, and the teacher's ids that it is taught by."""
        return {"shared_classes": None if self.labels is None else self.labels.settings()}
