"""Slow versions of every loss: loops straight from the definitions, sharing no code with src."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pixel_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, mask: Tensor | None = None
) -> float:
    batch, classes, height, width = student.shape
    losses = []
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                if mask is not None and not mask[b, y, x]:
                    continue
                q_student = _softmax([student[b, k, y, x].item() / temperature for k in range(classes)])
                q_teacher = _softmax([teacher[b, k, y, x].item() / temperature for k in range(classes)])
                pairs = zip(q_teacher, q_student, strict=True)
                losses.append(sum(t * (math.log(t) - math.log(s)) for t, s in pairs))
    return temperature**2 * sum(losses) / len(losses) if losses else 0.0


def pairwise_loss(
    student: Tensor,
    teacher: Tensor,
    granularity: tuple[int, int] = (1, 1),
    radius: int | None = None,
    pooling: str = "mean",
    mask: Tensor | None = None,
) -> float:
    total, connections = 0.0, 0
    for b in range(student.shape[0]):
        one_mask = None if mask is None else mask[b]
        student_nodes = _nodes(student[b], granularity, pooling, one_mask)
        teacher_nodes = _nodes(teacher[b], granularity, pooling, one_mask)
        for here in student_nodes:
            for there in student_nodes:
                distance = max(abs(here[0] - there[0]), abs(here[1] - there[1]))
                if radius is not None and distance > radius:
                    continue
                difference = _cosine(student_nodes[here], student_nodes[there]) - _cosine(
                    teacher_nodes[here], teacher_nodes[there]
                )
                total += difference**2
                connections += 1
    return total / connections if connections else 0.0


def critic_loss(real: Tensor, fake: Tensor, kind: str) -> float:
    if kind == "wgan-gp":
        return sum(fake.tolist()) / len(fake) - sum(real.tolist()) / len(real)
    real_part = sum(max(0.0, 1 - score) for score in real.tolist()) / len(real)
    return real_part + sum(max(0.0, 1 + score) for score in fake.tolist()) / len(fake)


def _softmax(values: list[float]) -> list[float]:
    top = max(values)
    exponentials = [math.exp(value - top) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def _nodes(
    features: Tensor, granularity: tuple[int, int], pooling: str, mask: Tensor | None
) -> dict[tuple[int, int], Tensor]:
    rows, columns = granularity
    _, height, width = features.shape
    nodes = {}
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            pixels = [
                features[:, y, x]
                for y in range(top, min(top + rows, height))
                for x in range(left, min(left + columns, width))
                if mask is None or mask[y, x]
            ]
            if pixels:
                patch = torch.stack(pixels)
                nodes[top // rows, left // columns] = patch.mean(0) if pooling == "mean" else patch.amax(0)
    return nodes


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = math.sqrt(sum(v * v for v in one.tolist())) * math.sqrt(sum(v * v for v in other.tolist()))
    products = sum(a * b for a, b in zip(one.tolist(), other.tolist(), strict=True))
    return products / lengths if lengths else 0.0
