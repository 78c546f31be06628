"""Slow versions of every loss: loops straight from the definitions, sharing no code with src."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

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


def silog_loss(
    prediction: Tensor, target: Tensor, variance_focus: float = 0.5, mask: Tensor | None = None
) -> float:
    def one_image(pairs: list[tuple[float, float]]) -> float:
        errors = [math.log(d) - math.log(truth) for d, truth in pairs]
        squares = sum(error**2 for error in errors) / len(errors)
        return math.sqrt(squares - variance_focus * (sum(errors) / len(errors)) ** 2)

    return _mean_of_images(one_image, prediction, target, mask)


def l1_depth_loss(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    def one_image(pairs: list[tuple[float, float]]) -> float:
        return sum(abs(d - truth) for d, truth in pairs) / len(pairs)

    return _mean_of_images(one_image, prediction, target, mask)


def berhu_loss(
    prediction: Tensor, target: Tensor, threshold: float = 0.2, mask: Tensor | None = None
) -> float:
    def one_image(pairs: list[tuple[float, float]]) -> float:
        errors = [abs(d - truth) for d, truth in pairs]
        border = threshold * max(errors)
        return sum(e if e <= border else (e**2 + border**2) / (2 * border) for e in errors) / len(errors)

    return _mean_of_images(one_image, prediction, target, mask)


def scale_shift_invariant_loss(
    prediction: Tensor,
    target: Tensor,
    gradient_weight: float = 0.5,
    scales: int = 4,
    mask: Tensor | None = None,
) -> float:
    images = []
    for b in range(prediction.shape[0]):
        pixels = _finite_pixels(target[b], None if mask is None else mask[b])
        if not pixels:
            continue
        first, second = (_robustly_normalised(maps[b], pixels) for maps in (prediction, target))
        residual = {pixel: first[pixel] - second[pixel] for pixel in pixels}
        loss = sum(abs(value) for value in residual.values()) / (2 * len(residual))
        for scale in range(scales):
            step = 2**scale
            coarse = [(y, x) for y, x in pixels if y % step == 0 and x % step == 0]
            for y, x in coarse:
                for there in ((y + step, x), (y, x + step)):
                    if there in residual:
                        loss += gradient_weight * abs(residual[there] - residual[y, x]) / len(coarse)
        images.append(loss)
    return sum(images) / len(images) if images else 0.0


def affine_statistics(maps: Tensor, mask: Tensor) -> list[tuple[float, float]]:
    found = []
    for one, counted in zip(maps, mask, strict=True):
        values = [one[y, x].item() for y, x in _finite_pixels(one, counted)]
        mean = sum(values) / len(values)
        found.append((mean, sum(abs(value - mean) for value in values) / len(values)))
    return found


def align_scale_shift(prediction: Tensor, target: Tensor, mask: Tensor) -> list[tuple[float, float]]:
    solutions = []
    for one, truth, counted in zip(prediction, target, mask, strict=True):
        pixels = _finite_pixels(truth, counted)
        columns = torch.tensor([[one[pixel].item(), 1.0] for pixel in pixels], dtype=torch.float64)
        wanted = torch.tensor([[truth[pixel].item()] for pixel in pixels], dtype=torch.float64)
        scale, shift = torch.linalg.lstsq(columns, wanted).solution[:, 0].tolist()
        solutions.append((scale, shift))
    return solutions


def _mean_of_images(
    one_image: Callable[[list[tuple[float, float]]], float],
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None,
) -> float:
    images = []
    for b in range(prediction.shape[0]):
        pixels = _finite_pixels(target[b], None if mask is None else mask[b])
        pairs = [(prediction[b, y, x].item(), target[b, y, x].item()) for y, x in pixels]
        pairs = [(d, truth) for d, truth in pairs if truth > 0]
        if pairs:
            images.append(one_image(pairs))
    return sum(images) / len(images) if images else 0.0


def _finite_pixels(target: Tensor, mask: Tensor | None) -> list[tuple[int, int]]:
    height, width = target.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if math.isfinite(target[y, x].item()) and (mask is None or bool(mask[y, x]))
    ]


def _robustly_normalised(maps: Tensor, pixels: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    values = [maps[pixel].item() for pixel in pixels]
    median = statistics.median_low(values)
    deviation = sum(abs(value - median) for value in values) / len(values)
    return {pixel: (value - median) / (deviation or 1.0) for pixel, value in zip(pixels, values, strict=True)}
