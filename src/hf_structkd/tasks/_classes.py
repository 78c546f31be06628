"""What the tasks whose models have classes share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from transformers import PretrainedConfig

from ..data import ClassOptions
from ..matching.label_spaces import load_label_map, match_label_spaces
from ..models.prompted.prompts import read_prompts
from .base import Task

_MOST_NAMES = 6


def taught_names(options: ClassOptions, teacher: PretrainedConfig | None) -> dict[int, str] | None:
    """Return the classes that a teacher teaches: those that it is asked for, or its own; None without one."""
    if options.teacher_prompts is not None:
        return dict(enumerate(read_prompts(options.teacher_prompts)))
    return None if teacher is None else dict(teacher.id2label)


class ClassTask(Task):
    """A task whose models name their classes: those of teacher and student are matched by name.

    Args:
        student: The student's configuration; `id2label` names its classes.
        teacher: The teacher's configuration, or None when nothing is distilled.
        teacher_label_map: Teacher class name to student class name, where the names differ.
        teacher_prompts: Student class name to the phrases that a teacher which reads text was asked for; the
            classes of such a teacher have the student's names.

    Attributes:
        fewest_classes: How many classes the two must share.
        ignore_index: The label that does not count, or None; a class of this id is neither matched nor
            scored. A task that has one sets it before this class matches.

    Raises:
        ValueError: If the student shares fewer classes with the teacher.
    """

    fewest_classes: ClassVar[int] = 2
    ignore_index: int | None = None

    @staticmethod
    def task_options(options: Any) -> dict[str, Any]:
        """Read the map of class names, text or a file."""
        given, prompts = options.teacher_label_map, options.teacher_prompts
        return {
            "teacher_label_map": None if given is None else load_label_map(given),
            "teacher_prompts": None if prompts is None else read_prompts(prompts),
        }

    def __init__(
        self,
        student: PretrainedConfig,
        teacher: PretrainedConfig | None = None,
        *,
        teacher_label_map: Mapping[str, str] | None = None,
        teacher_prompts: Mapping[str, Any] | None = None,
    ) -> None:
        """Match the two label spaces."""
        self._student, self._teacher = student, teacher
        self._prompts = {} if teacher_prompts is None else read_prompts(teacher_prompts)
        self.id2label = {index: str(student.id2label[index]) for index in sorted(student.id2label)}
        self._teacher_names = (
            {} if teacher is None else {i: str(name) for i, name in teacher.id2label.items()}
        )
        if teacher is not None:
            self.labels = match_label_spaces(
                student.id2label,
                teacher.id2label,
                label_map=dict(teacher_label_map or {}),
                no_class=self.ignore_index,
                fewest=self.fewest_classes,
            )
            self.score_map_channels = len(self.labels.names)

    def describe(self) -> dict[str, str]:
        """Say how many classes the two models share, and name those that only one of them knows."""
        if self.labels is None:
            return {}
        taught = {index for group in self.labels.teacher_ids for index in group}
        unused = [name for index, name in self._teacher_names.items() if index not in taught]
        known = {*self.labels.student_ids, self.ignore_index}
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
        if self.ignore_index in self.id2label:
            text += f"; {self.id2label[self.ignore_index]} is the ignored label {self.ignore_index}: no class"
        prompts = {name: ", ".join(map(repr, phrases)) for name, phrases in self._prompts.items()}
        asked = [f"{name} by {phrases or 'nothing'}" for name, phrases in prompts.items()]
        return {"classes": text} | ({"prompts": _named(asked)} if asked else {})

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
            found.setdefault(name, "nothing: the ignored label" if index == self.ignore_index else alone)
        used = {index for group in self.labels.teacher_ids for index in group}
        unused = [name for index, name in self._teacher_names.items() if index not in used]
        return found | {f"{name} (teacher)": "nothing: the student does not have it" for name in unused}

    def settings(self) -> dict[str, Any]:
        """Return the shared classes, see `LabelMatch.settings`, and the teacher's names that are dropped."""
        if self.labels is None:
            return {"shared_classes": None}
        dropped = {"dropped_teacher_names": list(self.labels.ambiguous)} if self.labels.ambiguous else {}
        asked = {"teacher_prompts": self._prompts} if self._prompts else {}
        return {"shared_classes": self.labels.settings(), **dropped, **asked}

    def scoring(self) -> dict[str, Any]:
        """Return the student's classes."""
        return {"id2label": self.id2label}


def _named(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    return f"{len(names)} ({listed})"
