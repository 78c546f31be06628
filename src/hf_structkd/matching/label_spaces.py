"""Matching the classes of two models by name, so that they are compared over the classes they share."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["LabelMatch", "load_label_map", "match_label_spaces"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelMatch:
    """The classes that student and teacher share, in the student's order.

    Softmax over the matched logits gives each model's probabilities renormalised over the shared classes.

    Attributes:
        names: Names of the shared classes, as the student writes them.
        student_ids: The student's class id of each.
        teacher_ids: The teacher's class ids of each: several where a label map merges teacher classes.
        num_student_labels: Number of all classes of the student.
        num_teacher_labels: Number of all classes of the teacher.
        ambiguous: Names that several classes of the teacher have, as it writes them; these match nothing.
    """

    names: tuple[str, ...]
    student_ids: tuple[int, ...]
    teacher_ids: tuple[tuple[int, ...], ...]
    num_student_labels: int
    num_teacher_labels: int
    ambiguous: tuple[str, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether both models have the same classes in the same order."""
        return self._student_is_identity and self._teacher_is_identity

    @property
    def _student_is_identity(self) -> bool:
        return self.student_ids == tuple(range(self.num_student_labels))

    @property
    def _teacher_is_identity(self) -> bool:
        return self.teacher_ids == tuple((index,) for index in range(self.num_teacher_labels))

    def settings(self) -> list[Any]:
        """Return the ids of `student_ids` and `teacher_ids` as JSON values."""
        return [list(self.student_ids), [list(ids) for ids in self.teacher_ids]]

    def student_logits(self, logits: Tensor) -> Tensor:
        """Pick the shared classes from the student's logits.

        Shape:
            - logits: (B, num_student_labels, ...)
            - output: (B, len(names), ...), the same tensor if nothing has to be picked

        Raises:
            ValueError: If the logits do not have one channel per student label.
        """
        _check_channels(logits, self.num_student_labels, "student")
        if self._student_is_identity:
            return logits
        return logits.index_select(1, torch.tensor(self.student_ids, device=logits.device))

    def teacher_logits(self, logits: Tensor) -> Tensor:
        """Pick the shared classes from the teacher's logits, in the same order.

        Where several teacher classes are merged, their probabilities are added: the logit of the sum is the
        `logsumexp` of theirs. Any temperature applies afterwards, to the merged class.

        Shape:
            - logits: (B, num_teacher_labels, ...)
            - output: (B, len(names), ...), the same tensor if nothing has to be picked

        Raises:
            ValueError: If the logits do not have one channel per teacher label.
        """
        _check_channels(logits, self.num_teacher_labels, "teacher")
        if self._teacher_is_identity:
            return logits
        flat = [index for group in self.teacher_ids for index in group]
        picked = logits.index_select(1, torch.tensor(flat, device=logits.device))
        if len(flat) == len(self.names):
            return picked
        groups = torch.split(picked, [len(group) for group in self.teacher_ids], dim=1)
        return torch.cat([group.logsumexp(dim=1, keepdim=True) for group in groups], dim=1)

    def all_teacher_logits(self, shared: Tensor) -> Tensor:
        """Undo `teacher_logits`: return logits from which it makes these again.

        A class that is not shared, and all but one of those that are merged, has probability 0.

        Shape:
            - shared: (B, len(names), ...)
            - output: (B, num_teacher_labels, ...)
        """
        if self._teacher_is_identity:
            return shared
        size = (len(shared), self.num_teacher_labels, *shared.shape[2:])
        logits = shared.new_full(size, -torch.inf)
        logits[:, [group[0] for group in self.teacher_ids]] = shared
        return logits


def match_label_spaces(
    student_id2label: Mapping[int, str],
    teacher_id2label: Mapping[int, str],
    *,
    label_map: Mapping[str, str] | None = None,
    no_class: int | None = None,
    fewest: int = 2,
) -> LabelMatch:
    """Match two label spaces by name; either may have classes that the other lacks, in any order.

    Names are compared without regard to case and to the difference between spaces, underscores and hyphens:
    "Traffic-Light" is "traffic light". Classes that only one model knows are left out, and so are several of
    the teacher that have one name ("N/A").

    Args:
        student_id2label: The student's `config.id2label`.
        teacher_id2label: The teacher's `config.id2label`.
        label_map: From teacher name to student name, for classes that the two call differently. An entry wins
            over an equal name. Several teacher classes may map to one student class: they are merged.
        no_class: The label that the student ignores; if it is one of its ids, that id is shared with nobody.
        fewest: The number of classes that must be shared: 2 for a softmax, which over one class is always 1,
            so that nothing would be learned.

    Raises:
        ValueError: If fewer classes are shared, the student has two classes of one name, a model has ids
            other than 0 to K - 1, or the map names a class that does not exist or is several of the teacher.

    Example:
        >>> match = match_label_spaces({0: "road", 1: "car"}, {0: "sky", 1: "Car", 2: "road"})
        >>> match.names, match.teacher_ids
        (('road', 'car'), ((2,), (1,)))
    """
    student = {name: ids[0] for name, ids in _ids_by_name(student_id2label, "student").items()}
    teacher = _ids_by_name(teacher_id2label, "teacher")
    repeated = [name for name, ids in teacher.items() if len(ids) > 1]
    renamed = _checked_map(label_map or {}, student_id2label, teacher_id2label)
    for name in set(renamed).intersection(repeated):
        raise ValueError(
            f"the label map names {teacher_id2label[teacher[name][0]]!r}, which is {len(teacher[name])} "
            "classes of the teacher; give each a name of its own in its `config.id2label`."
        )
    groups: dict[str, list[int]] = {}
    for name, ids in teacher.items():
        if name not in repeated:
            groups.setdefault(renamed.get(name, name), []).extend(ids)
    shared = {name: index for name, index in student.items() if name in groups and index != no_class}
    if len(shared) < fewest:
        raise ValueError(
            f"student and teacher share too few classes by name ({len(shared)}, at least {fewest} are "
            f"needed): the student has {_listed(student_id2label.values())}, the teacher has "
            f"{_listed(teacher_id2label.values())}; say with `teacher_label_map`, a JSON object of "
            "teacher and student names, which belong together."
        )
    if all(re.fullmatch(r"label \d+", name) for name in shared):
        logger.warning(
            "The classes are matched by the generic names LABEL_0, LABEL_1, ..., which say nothing of what "
            "they mean. Set `config.id2label` of both models unless their class ids are known to agree."
        )
    ordered = sorted(shared, key=shared.__getitem__)
    return LabelMatch(
        names=tuple(student_id2label[shared[name]] for name in ordered),
        student_ids=tuple(shared[name] for name in ordered),
        teacher_ids=tuple(tuple(sorted(groups[name])) for name in ordered),
        num_student_labels=len(student),
        num_teacher_labels=len(teacher_id2label),
        ambiguous=tuple(teacher_id2label[teacher[name][0]] for name in repeated),
    )


def load_label_map(path_or_json: str) -> dict[str, str]:
    """Read a label map, teacher name to student name, from a JSON file or from the JSON itself.

    Args:
        path_or_json: A path, or a JSON object such as '{"automobile": "car"}'.

    Raises:
        ValueError: If the file does not exist, or the text is not a JSON object from strings to strings.
    """
    label_map = read_json_object(path_or_json, "the label map")
    if not all(isinstance(student_name, str) for student_name in label_map.values()):
        raise ValueError(
            "the label map must be one JSON object from teacher names to student names, as strings, got "
            f"{label_map}."
        )
    return label_map


def read_json_object(path_or_json: str, what: str) -> dict[str, Any]:
    """Read a JSON object from a file or from the text itself; `what` names it in an error.

    Raises:
        ValueError: If the file does not exist, or the text is no JSON object without a repeated name.
    """
    inline = path_or_json.lstrip().startswith("{")
    source = what if inline else f"{what} {path_or_json}"
    if not inline and not Path(path_or_json).is_file():
        raise ValueError(f"{source} is neither a file nor a JSON object in braces.")
    text = path_or_json if inline else Path(path_or_json).read_text(encoding="utf-8")
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not valid JSON: {error}.") from error
    if not isinstance(pairs, tuple):
        raise ValueError(f"{source} must be one JSON object, got a {type(pairs).__name__}.")
    repeated = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    if repeated:
        raise ValueError(f"{source} has more than one entry for {_listed(sorted(repeated))}.")
    return dict(pairs)


def normalised_name(name: str) -> str:
    """Return a class name without what does not tell two classes apart: case, and spaces from "_" or "-"."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _ids_by_name(id2label: Mapping[int, str], role: str) -> dict[str, list[int]]:
    """Return the ids of each name; several ids have one name only in a teacher."""
    if sorted(id2label) != list(range(len(id2label))):
        raise ValueError(
            f"the {role}'s class ids must be 0 to K - 1, got {sorted(id2label)}; correct its `id2label`."
        )
    ids: dict[str, list[int]] = {}
    for index, name in id2label.items():
        same = ids.setdefault(normalised_name(name), [])
        if same and role == "student":
            raise ValueError(
                f"the {role} has two classes of one name: {id2label[same[0]]!r} (id {same[0]}) and "
                f"{name!r} (id {index}); rename one in its `config.id2label`."
            )
        same.append(index)
    return ids


def _checked_map(
    label_map: Mapping[str, str], student_id2label: Mapping[int, str], teacher_id2label: Mapping[int, str]
) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for teacher_name, student_name in label_map.items():
        for name, id2label, role in (
            (teacher_name, teacher_id2label, "teacher"),
            (student_name, student_id2label, "student"),
        ):
            known = {normalised_name(label): label for label in id2label.values()}
            if normalised_name(name) not in known:
                close = difflib.get_close_matches(normalised_name(name), known, n=3)
                raise ValueError(
                    f"the label map names {name!r}, which is no class of the {role}; "
                    + (f"did you mean {_listed(known[label] for label in close)}?" if close else "")
                    + ("" if close else f"it has {_listed(id2label.values())}.")
                )
        target = renamed.setdefault(normalised_name(teacher_name), normalised_name(student_name))
        if target != normalised_name(student_name):
            raise ValueError(f"the label map sends the teacher's {teacher_name!r} to two student classes.")
    return renamed


def _check_channels(logits: Tensor, expected: int, role: str) -> None:
    if logits.shape[1] != expected:
        raise ValueError(
            f"the {role}'s logits must have {expected} channels, one for each label of its config, got shape "
            f"{tuple(logits.shape)}."
        )
