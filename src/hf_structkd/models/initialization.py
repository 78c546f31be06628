"""A student that starts from the weights of its teacher, as far as they fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..matching.label_spaces import LabelMatch
from .loading import config_of
from .plain_module import ModuleConfig
from .teacher_forms import WrappedTeacher, class_name

_INDEX = re.compile(r"(?<=\.)\d+(?=\.)")


class Start(NamedTuple):
    """What a student took over from its teacher.

    Attributes:
        tensors: How many of the student's tensors were copied, wholly or for the shared classes.
        of_tensors: How many it has.
        values: How many numbers were copied.
        of_values: How many it has.
        layers: Names of lists of layers that are shorter in the student, to the teacher's layers that were
            taken.
    """

    tensors: int
    of_tensors: int
    values: int
    of_values: int
    layers: Mapping[str, tuple[int, ...]]

    def __str__(self) -> str:
        """Say it in one line."""
        text = f"{self.tensors} of {self.of_tensors} tensors, {self.values:,} of {self.of_values:,} numbers"
        for name, taken in self.layers.items():
            text += f"; {name} has the layers {', '.join(map(str, taken))}"
        return text


@torch.no_grad()
def start_from_teacher(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    labels: LabelMatch | None = None,
    *,
    layers: Mapping[str, Sequence[int]] | None = None,
) -> Start:
    """Copy into a student every module of its teacher whose tensors have the same names and shapes.

    Where a list of layers is shorter in the student, its layers take those of the teacher at equal distances,
    for example the layers 0, 2, 4 of six, as DistilBERT does (Sanh et al., 2019, arXiv:1910.01108), or those
    that `layers` names. A tensor that has one row for each class gets the rows of the classes that the two
    models share.

    Args:
        student: The student, changed in place.
        teacher: The teacher.
        labels: How their classes are matched; None where they have none.
        layers: Pattern of the name of a list of layers, such as "*.encoder.layer", to the teacher's layers
            that the student's take, from 0.

    Returns:
        What was copied.

    Raises:
        ValueError: If nothing fits, or `layers` names no list of layers of both, or not as many layers as the
            student has.
    """
    source = (teacher.inner if isinstance(teacher, WrappedTeacher) else teacher).state_dict()
    own = student.state_dict()
    thinned = _thinned_layers(own, source) | _chosen_layers(own, source, layers or {})
    of_classes = set() if labels is None else _class_tensors(student) & _class_tensors(teacher)
    unclear = _unclear_rows(student, teacher)
    copied: dict[str, int] = {}
    for names in _modules(own):
        given = [source.get(_taken_from(name, thinned)) for name in names]
        fitting = [
            tensor is not None
            and name not in unclear
            and _fits(own[name], tensor, labels if name in of_classes else None)
            for name, tensor in zip(names, given, strict=True)
        ]
        if all(fitting):  # a bias without its weights says nothing
            for name, tensor in zip(names, given, strict=True):
                copied[name] = _copy(own[name], tensor, labels if name in of_classes else None)
    if not any(name not in of_classes for name in copied):  # a classifier alone reads other features
        raise ValueError(
            f"`init_student_from_teacher` must be off for a {class_name(student)} and a teacher "
            f"{class_name(teacher)} that share no module of one name and shape before the classifier; leave "
            "it out, or choose a student of the teacher's family."
        )
    total = sum(tensor.numel() for tensor in own.values())
    taken = {name: tuple(indices) for name, indices in thinned.items()}
    return Start(sum(map(bool, copied.values())), len(own), sum(copied.values()), total, taken)


def _thinned_layers(own: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the lists of layers that are shorter in the student, with the teacher's layers to take."""
    counts, more = _layer_counts(own), _layer_counts(source)
    return {
        name: [index * more[name] // count for index in range(count)]
        for name, count in counts.items()
        if more.get(name, 0) > count
    }


def _chosen_layers(
    own: Mapping[str, Tensor], source: Mapping[str, Tensor], layers: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Return the lists of layers that the caller chose from, with the teacher's layers to take."""
    counts, more = _layer_counts(own), _layer_counts(source)
    chosen = {}
    for pattern, indices in layers.items():
        found = [name for name in counts if name in more and fnmatch(name, pattern)]
        if not found:
            raise ValueError(
                f"`teacher_layers` must match lists of layers of both models, got {pattern!r}; name one of "
                f"{', '.join(name for name in counts if name in more) or 'none'}."
            )
        for name in found:
            if len(indices) != counts[name] or not all(0 <= index < more[name] for index in indices):
                raise ValueError(
                    f"`teacher_layers` must name {counts[name]} of the layers 0 to {more[name] - 1} of the "
                    f"teacher for {name}, got {', '.join(map(str, indices))}; correct them."
                )
            chosen[name] = list(indices)
    return chosen


def read_layers(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read texts such as "*.encoder.layer=0,2,4" as what `start_from_teacher` takes.

    Raises:
        ValueError: If a text is of another form.
    """
    read = {}
    for text in texts:
        pattern, _, indices = text.rpartition("=")
        if not pattern or not re.fullmatch(r"\d+(,\d+)*", indices):
            raise ValueError(f"`teacher_layers` must be written as NAME=0,2,4, got {text!r}; correct it.")
        read[pattern] = [int(index) for index in indices.split(",")]
    return read


def _layer_counts(names: Mapping[str, Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        for match in _INDEX.finditer(name):
            prefix = name[: match.start() - 1]
            counts[prefix] = max(counts.get(prefix, 0), int(match.group()) + 1)
    return counts


def _taken_from(name: str, layers: Mapping[str, list[int]]) -> str:
    """Return the teacher's name of the tensor that the student's tensor takes."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        taken = layers.get(".".join(name.split(".")[:place]))
        if taken is not None and part.isdigit():
            parts[place] = str(taken[int(part)])
    return ".".join(parts)


def _unclear_rows(student: PreTrainedModel, teacher: PreTrainedModel) -> set[str]:
    """Return the tensors of a wrapped network that may have a row for each class, where classes differ.

    Its configuration does not tell how many classes it is built for, so that `_class_tensors` finds nothing.
    """
    configs = config_of(student), config_of(teacher)
    wrapped = any(isinstance(config, ModuleConfig) for config in configs)
    if not wrapped or configs[0].id2label == configs[1].id2label:
        return set()
    rows = (configs[0].num_labels, configs[0].num_labels + 1)
    return {name for name, tensor in student.state_dict().items() if tensor.shape[:1].numel() in rows}


def _class_tensors(model: PreTrainedModel) -> set[str]:
    """Return the names of the tensors with a row for each class: those that one class more makes longer."""
    if isinstance(config_of(model), ModuleConfig):
        return set()
    config = type(config_of(model)).from_dict(config_of(model).to_dict())
    config.num_labels = config.num_labels + 1
    kind = model.inner if isinstance(model, WrappedTeacher) else model
    with torch.device("meta"):
        wider = type(kind)(config).state_dict()
    own = kind.state_dict()
    return {name for name, tensor in own.items() if name in wider and wider[name].shape != tensor.shape}


def _modules(names: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names module by module."""
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return list(modules.values())


def _fits(tensor: Tensor, given: Tensor, labels: LabelMatch | None) -> bool:
    """Return whether the shapes agree, behind the rows of classes if `labels` says how these are matched."""
    if labels is None:
        return given.shape == tensor.shape
    behind = len(tensor) - labels.num_student_labels
    return given.shape[1:] == tensor.shape[1:] and behind == len(given) - labels.num_teacher_labels


def _copy(tensor: Tensor, given: Tensor, labels: LabelMatch | None) -> int:
    """Copy all, or the rows of the shared classes and those behind all classes; return how many numbers."""
    if labels is None:
        tensor.copy_(given)
        return tensor.numel()
    rows = [
        (own, theirs[0])
        for own, theirs in zip(labels.student_ids, labels.teacher_ids, strict=True)
        if len(theirs) == 1
    ]
    behind = len(tensor) - labels.num_student_labels
    rows += [(labels.num_student_labels + i, labels.num_teacher_labels + i) for i in range(behind)]
    for own, theirs in rows:
        tensor[own] = given[theirs]
    return len(rows) * tensor[0].numel()
