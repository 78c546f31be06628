"""The table printed before the first step: what is compared with what, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..features.forward import Batch, Capture, Forward, run_model
from ..losses import node_grid_size
from ..models.parameters import count_parameters
from ..models.teacher import FrozenTeacher
from ..tasks import Task
from .criterion import Criterion

Side = tuple[nn.Module, Forward, Capture | None]


@torch.no_grad()
def describe_pair(
    criterion: Criterion,
    weights: Mapping[str, float],
    batch: Batch,
    *,
    student: nn.Module,
    capture: Capture | None,
    teacher: FrozenTeacher,
    critic: nn.Module | None,
) -> str:
    """Run both models on one image of the first batch and describe them; see `setup_table`.

    The student, in train mode, runs in eval mode here, so that no statistic of its moves.
    """
    one = {name: value[:1] for name, value in batch.items()}
    student.eval()
    student_side = (student, run_model(student, criterion.task.model_inputs(one), capture), capture)
    student.train()
    return setup_table(
        task=criterion.task,
        criterion=criterion,
        weights=weights,
        batch=batch,
        student=student_side,
        teacher=(teacher.model, teacher(one), teacher.capture),
        critic=critic,
    )


def setup_table(
    *,
    task: Task,
    criterion: Criterion,
    weights: Mapping[str, float],
    batch: Batch,
    student: Side,
    teacher: Side,
    critic: nn.Module | None,
) -> str:
    """Describe a pair of models and the terms between them.

    Args:
        task: Reads the models' outputs.
        criterion: Says which terms are on and how nodes are made.
        weights: Of every term.
        batch: The first batch; its size counts in the memory estimate.
        student: The model, its answer to one image, and where its feature map is taken.
        teacher: The same.
        critic: The critic, or None.

    Returns:
        Lines of text, without a final newline.
    """
    one = {name: value[:1] for name, value in batch.items()}
    images = len(batch["pixel_values"])
    rows = [
        ("", "student", "teacher"),
        ("model", *(type(side[0]).__name__ for side in (student, teacher))),
        ("parameters", *(f"{count_parameters(side[0]) / 1e6:.2f} M" for side in (student, teacher))),
        ("output", *(_shape(task.prediction(side[1].output)) for side in (student, teacher))),
    ]
    if "pairwise" in criterion.terms:
        rows.append(("feature", *(side[2].description if side[2] else "-" for side in (student, teacher))))
        shapes = [", ".join(map(_shape, side[1].features)) for side in (student, teacher)]
        rows.append(("feature map", *shapes))
    width = max(len(student_cell) for _, student_cell, _ in rows)
    lines = [f"{name:<14}{left:<{width + 2}}{right}".rstrip() for name, left, right in rows]
    if "pairwise" in criterion.terms:
        lines += [_nodes(criterion, task, student[1], teacher[1], one)]
    lines.append("terms         " + ", ".join(f"{weights[t]:g} × {t}" for t in weights if weights[t] > 0))
    megabytes = _extra_bytes(task, criterion, student[1], teacher, one, images, critic) / 2**20
    lines.append(
        f"extra memory  about {megabytes:.0f} MiB (teacher, critic and one batch's maps; no activations)"
    )
    rule = "─" * max(len(line) for line in lines)
    return "\n".join([rule, *lines, rule])


def _nodes(criterion: Criterion, task: Task, student: Forward, teacher: Forward, one: Batch) -> str:
    texts = []
    for pair in criterion.feature_pairs(student, teacher, one):
        height, width = pair.student.shape[-2:]
        rows, columns = node_grid_size(height, width, criterion.node_size(height, width))
        reach = "all" if criterion.connection_range is None else str(criterion.connection_range)
        texts.append(f"{rows} × {columns} of the {height} × {width} map, each compared with {reach}")
    return "nodes         " + "; ".join(texts)


def _extra_bytes(
    task: Task,
    criterion: Criterion,
    student: Forward,
    teacher: Side,
    one: Batch,
    images: int,
    critic: nn.Module | None,
) -> int:
    total = sum(p.numel() * p.element_size() for p in teacher[0].parameters())
    total += images * _bytes(task.prediction(teacher[1].output))
    if "pairwise" in criterion.terms:
        for pair in criterion.feature_pairs(student, teacher[1], one):
            # The aligned maps, their nodes in float64 and the gradient of the student's.
            total += images * (4 * _bytes(pair.student) + 3 * _bytes(pair.teacher))
    if critic is not None:
        maps = task.score_maps(student, teacher[1], one)
        total += 4 * 4 * count_parameters(critic)  # weights, gradient, two moments
        total += images * 2 * (_bytes(maps.real) + _bytes(maps.fake))
    return total


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _shape(tensor: Any) -> str:
    return " × ".join(str(size) for size in tensor.shape[1:])
