"""The table printed before the first step: what is compared with what, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from ..features.forward import Batch, Forward, run_model
from ..models.parameters import count_parameters
from ..models.sharding import is_sharded, local
from ..models.teacher_forms import class_name
from ..tasks import Task
from ..terms import Term
from .pair import ModelPair


class Side(NamedTuple):
    """One of the two models.

    Attributes:
        model: The model, or its outline where the weights are not loaded.
        forward: Its answer to one image.
        feature: Where its feature map is taken, for people.
        is_loaded: Whether the weights are in memory.
    """

    model: nn.Module
    forward: Forward
    feature: str = "-"
    is_loaded: bool = True


@torch.no_grad()
def describe_pair(
    pair: ModelPair,
    terms: Sequence[tuple[Term, float]],
    student: nn.Module,
    batch: Batch,
    *,
    notes: Mapping[str, str],
) -> str:
    """Run both models on one image of the first batch and describe them; see `start_table`.

    The student, in train mode, runs in eval mode here, so that no statistic of its moves.

    Args:
        pair: The two models; the teacher is loaded.
        terms: The terms that are on, and their weights.
        student: The student, not wrapped.
        batch: The first batch.
        notes: Lines on the training data, text by label.
    """
    assert pair.teacher is not None
    one = {name: value[:1] for name, value in batch.items()}
    student.eval()
    forward = run_model(student, pair.task.model_inputs(one), pair.student_capture)
    student.train()
    teacher, on = pair.teacher, [term for term, _ in terms]
    answer = pair.answer(one, forward, on, keep=False)
    capture = pair.student_capture
    own = Side(student, forward, "-" if capture is None else capture.description)
    unread = "from the cache" if answer.features else "-"
    feature = unread if teacher.capture is None else teacher.capture.description
    theirs = Side(teacher.source.outline, answer, feature, teacher.source.is_loaded)
    shards = {"student": is_sharded(student), "teacher": teacher.is_sharded}
    lines = {**notes, **_shards(shards), **teacher.describe(pair.question(on), pair.expected_answers)}
    return start_table(pair.task, terms, batch, student=own, teacher=theirs, lines=lines)


def start_table(
    task: Task,
    terms: Sequence[tuple[Term, float]],
    batch: Batch,
    *,
    student: Side,
    teacher: Side,
    lines: Mapping[str, str],
) -> str:
    """Describe a pair of models and the terms between them.

    Args:
        task: Reads the models' outputs.
        terms: The terms that are on, and their weights.
        batch: The first batch; its size counts in the memory estimate.
        student: The student.
        teacher: The teacher.
        lines: Further lines, text by label.

    Returns:
        Lines of text, without a final newline.
    """
    one = {name: value[:1] for name, value in batch.items()}
    sides = (student, teacher)
    rows = [
        ("", "student", "teacher" if teacher.is_loaded else "teacher (read from cache)"),
        ("model", *(class_name(side.model) for side in sides)),
        ("parameters", *(f"{count_parameters(side.model) / 1e6:.2f} M" for side in sides)),
        ("output", *(_output_shape(task, side) for side in sides)),
    ]
    if any("features" in term.reads_for(task) for term, _ in terms):
        rows.append(("feature", *(side.feature for side in sides)))
        rows.append(("feature map", *(", ".join(map(_shape, _maps(side))) for side in sides)))
    width = max(len(student_cell) for _, student_cell, _ in rows)
    table = [f"{name:<14}{left:<{width + 2}}{right}".rstrip() for name, left, right in rows]
    table += [f"{label:<14}{text}" for label, text in {**lines, **task.describe()}.items()]
    for term, _ in terms:
        described = term.describe(task, student.forward, teacher.forward, one)
        table += [f"{label:<14}{text}" for label, text in described.items()]
    table.append("terms         " + ", ".join(f"{weight:g} × {term.name}" for term, weight in terms))
    megabytes = _extra_bytes(task, [term for term, _ in terms], batch, student.forward, teacher) / 2**20
    table.append(
        f"extra memory  about {megabytes:.0f} MiB (teacher, terms and one batch's maps; no activations)"
    )
    rule = "─" * max(len(line) for line in table)
    return "\n".join([rule, *table, rule])


def _extra_bytes(task: Task, terms: Sequence[Term], batch: Batch, student: Forward, teacher: Side) -> int:
    one, images = {name: value[:1] for name, value in batch.items()}, len(batch["pixel_values"])
    total = sum(local(p).nbytes for p in teacher.model.parameters()) * teacher.is_loaded
    if teacher.forward.output is not None:
        total += images * task.prediction(teacher.forward.output).nbytes
    return total + sum(term.extra_bytes(task, student, teacher.forward, one, images) for term in terms)


def _shards(models: Mapping[str, bool]) -> dict[str, str]:
    """Return a line that says which models are sharded over how many processes, if one is."""
    names = [name for name, is_cut in models.items() if is_cut]
    return (
        {"sharded": f"{' and '.join(names)}, over {distributed.get_world_size()} processes"} if names else {}
    )


def _maps(side: Side) -> tuple[Tensor, ...]:
    """Return the feature maps, or the nodes where only these were stored."""
    return side.forward.nodes or side.forward.features


def _output_shape(task: Task, side: Side) -> str:
    return "-" if side.forward.output is None else _shape(task.prediction(side.forward.output))


def _shape(tensor: Tensor) -> str:
    return " × ".join(str(size) for size in tensor.shape[1:])
