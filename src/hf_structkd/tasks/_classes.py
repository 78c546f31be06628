"""What the tasks whose models have classes share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PretrainedConfig

from ..matching.label_spaces import load_label_map, match_label_spaces
from .base import Task

_MOST_NAMES = 6


class ClassTask(Task):
    """A task whose models name their classes: those of teacher and student are matched by name.

    Args:
        student: The student's configuration; `id2label` names its classes.
        teacher: The teacher's configuration, or None when nothing is distilled.
        teacher_label_map: Teacher class name to student class name, where the names differ.
        ignore_index: The label that does not count; a class of this id is neither matched nor scored.

    Raises:
        ValueError: If the student shares no class with the teacher.
    """

    @staticmethod
    def task_options(options: Any) -> dict[str, Any]:
        """Read the map of class names, text or a file."""
        given = options.teacher_label_map
        return {"teacher_label_map": None if given is None else load_label_map(given)}

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        teacher_label_map: Mapping[str, str] | None = None,
        ignore_index: int | None = None,
    ) -> None:
        """Match the two label spaces."""
        self._no_class = ignore_index
        self.id2label = {index: str(student.id2label[index]) for index in sorted(student.id2label)}
        self._teacher_names = (
            {} if teacher is None else {i: str(name) for i, name in teacher.id2label.items()}
        )
        if teacher is not None:
            self.labels = match_label_spaces(
                student.id2label,
                teacher.id2label,
                label_map=dict(teacher_label_map or {}),
                no_class=ignore_index,
            )
            self.score_map_channels = len(self.labels.names)

    def describe(self) -> dict[str, str]:
        """Say how many classes the two models share, and name those that only one of them knows."""
        if self.labels is None:
            return {}
        taught = {index for group in self.labels.teacher_ids for index in group}
        unused = [name for index, name in self._teacher_names.items() if index not in taught]
        known = {*self.labels.student_ids, self._no_class}
        unknown = [name for index, name in self.id2label.items() if index not in known]
        text = f"{len(self.labels.names)} shared by name"
        if any(re.fullmatch(r"LABEL_\d+", name) for name in self.labels.names):
            text += " (LABEL_0, LABEL_1, …: generic names, taken to mean the same in both models)"
        text += f"; {_named(unused)} of the teacher's unused" if unused else ""
        fate = (
            "learned from labels alone" if self.learns_from_labels else "never learned: there are no labels"
        )
        text += f"; {_named(unknown)} of the student's {fate}" if unknown else ""
        if self.labels.ambiguous:
            text += f"; {_named(self.labels.ambiguous)} dropped: several classes of the teacher have one name"
        if self._no_class in self.id2label:
            text += f"; {self.id2label[self._no_class]} is the ignored label {self._no_class}: no class"
        return {"classes": text}

    def taught_classes(self) -> dict[str, str]:
        """Say of each class whether labels and teacher teach it, one of them alone, or nothing."""
        alone, both = (
            ("labels alone", "labels, and ") if self.learns_from_labels else ("nothing: no labels", "")
        )
        if self.labels is None:
            return dict.fromkeys(self.id2label.values(), alone)
        found: dict[str, str] = {}
        shared = zip(self.labels.student_ids, self.labels.teacher_ids, strict=True)
        for own, theirs in shared:
            names = ", ".join(self._teacher_names[index] for index in theirs)
            found[self.id2label[own]] = f"{both}the teacher's {names}"
        for index, name in self.id2label.items():
            found.setdefault(name, "nothing: the ignored label" if index == self._no_class else alone)
        used = {index for group in self.labels.teacher_ids for index in group}
        unused = [name for index, name in self._teacher_names.items() if index not in used]
        return found | {f"{name} (teacher)": "nothing: the student does not have it" for name in unused}

    def settings(self) -> dict[str, Any]:
        """Return the shared classes, see `LabelMatch.settings`, and the teacher's names that are dropped."""
        if self.labels is None:
            return {"shared_classes": None}
        dropped = {"dropped_teacher_names": list(self.labels.ambiguous)} if self.labels.ambiguous else {}
        return {"shared_classes": self.labels.settings(), **dropped}

    def scoring(self) -> dict[str, Any]:
        """Return the student's classes."""
        return {"id2label": self.id2label}


def _named(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    return f"{len(names)} ({listed})"
