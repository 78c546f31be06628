"""The table printed before the first step: what is compared with what, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..features.forward import Batch, Capture, Forward, run_model
from ..models.parameters import count_parameters
from ..tasks import Task
from ..terms import Term
from .pair import ModelPair

Side = tuple[nn.Module, Forward, Capture | None]


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
    return start_table(
        pair.task,
        terms,
        batch,
        student=(student, forward, pair.student_capture),
        teacher=(pair.teacher.model, pair.teacher(one), pair.teacher.capture),
        notes=notes,
    )


def start_table(
    task: Task,
    terms: Sequence[tuple[Term, float]],
    batch: Batch,
    *,
    student: Side,
    teacher: Side,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Describe a pair of models and the terms between them.

    Args:
        task: Reads the models' outputs.
        terms: The terms that are on, and their weights.
        batch: The first batch; its size counts in the memory estimate.
        student: The model, its answer to one image, and where its feature map is taken.
        teacher: The same of the teacher.
        notes: Lines on the training data, text by label.

    Returns:
        Lines of text, without a final newline.
    """
    one = {name: value[:1] for name, value in batch.items()}
    sides = (student, teacher)
    rows = [
        ("", "student", "teacher"),
        ("model", *(type(side[0]).__name__ for side in sides)),
        ("parameters", *(f"{count_parameters(side[0]) / 1e6:.2f} M" for side in sides)),
        ("output", *(_shape(task.prediction(side[1].output)) for side in sides)),
    ]
    if any("features" in term.reads_for(task) for term, _ in terms):
        rows.append(("feature", *(side[2].description if side[2] else "-" for side in sides)))
        rows.append(("feature map", *(", ".join(map(_shape, side[1].features)) for side in sides)))
    width = max(len(student_cell) for _, student_cell, _ in rows)
    lines = [f"{name:<14}{left:<{width + 2}}{right}".rstrip() for name, left, right in rows]
    lines += [f"{label:<14}{text}" for label, text in {**(notes or {}), **task.describe()}.items()]
    for term, _ in terms:
        described = term.describe(task, student[1], teacher[1], one)
        lines += [f"{label:<14}{text}" for label, text in described.items()]
    lines.append("terms         " + ", ".join(f"{weight:g} × {term.name}" for term, weight in terms))
    megabytes = _extra_bytes(task, [term for term, _ in terms], batch, student[1], teacher) / 2**20
    lines.append(
        f"extra memory  about {megabytes:.0f} MiB (teacher, terms and one batch's maps; no activations)"
    )
    rule = "─" * max(len(line) for line in lines)
    return "\n".join([rule, *lines, rule])


def _extra_bytes(task: Task, terms: Sequence[Term], batch: Batch, student: Forward, teacher: Side) -> int:
    one, images = {name: value[:1] for name, value in batch.items()}, len(batch["pixel_values"])
    total = sum(p.numel() * p.element_size() for p in teacher[0].parameters())
    total += images * task.prediction(teacher[1].output).nbytes
    return total + sum(term.extra_bytes(task, student, teacher[1], one, images) for term in terms)


def _shape(tensor: Tensor) -> str:
    return " × ".join(str(size) for size in tensor.shape[1:])
