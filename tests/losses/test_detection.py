"""Query distillation against loops and brute force: heads, matching, loss, its invariances and errors."""

from __future__ import annotations

import doctest
import importlib
import itertools
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_structkd.losses.detection import query_distillation_loss
from hf_structkd.losses.detection_heads import (
    DetectionHead,
    binary_log_probabilities,
    categorical_log_probabilities,
    foreground_probabilities,
)
from hf_structkd.losses.query_matching import QueryMatch, match_queries

HEADS: tuple[DetectionHead, ...] = ("softmax", "sigmoid")
HEAD_PAIRS = list(itertools.product(HEADS, HEADS))
QUERY_COUNTS = [(4, 4), (5, 3), (3, 5)]  # of the student and the teacher


class Queries:
    """Random logits and boxes of one model, over `classes` shared classes."""

    def __init__(self, head: DetectionHead, queries: int, batch: int = 2, classes: int = 3) -> None:
        self.head = head
        self.logits = 2 * torch.randn(batch, queries, classes + (head == "softmax"), dtype=torch.float64)
        self.boxes = 0.1 + 0.8 * torch.rand(batch, queries, 4, dtype=torch.float64)

    def pick(self, index: Any) -> Queries:
        """Index both tensors alike."""
        other = object.__new__(Queries)
        other.head, other.logits, other.boxes = self.head, self.logits[index], self.boxes[index]
        return other

    def to(self, dtype: torch.dtype) -> Queries:
        other = self.pick(slice(None))
        other.logits, other.boxes = self.logits.to(dtype), self.boxes.to(dtype)
        return other


def both_models(
    student_head: DetectionHead = "softmax",
    teacher_head: DetectionHead = "sigmoid",
    counts: tuple[int, int] = (4, 4),
    **shape: int,
) -> tuple[Queries, Queries]:
    return Queries(student_head, counts[0], **shape), Queries(teacher_head, counts[1], **shape)


def tensors(student: Queries, teacher: Queries) -> dict[str, Any]:
    return {
        "student_logits": student.logits,
        "student_boxes": student.boxes,
        "teacher_logits": teacher.logits,
        "teacher_boxes": teacher.boxes,
        "student_head": student.head,
        "teacher_head": teacher.head,
    }


def distil(student: Queries, teacher: Queries, **settings: float) -> Tensor:
    return query_distillation_loss(**tensors(student, teacher), **settings)


def match(student: Queries, teacher: Queries, **costs: float) -> QueryMatch:
    return match_queries(**tensors(student, teacher), **costs)


# ---- oracles: plain Python over single queries ----


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def softmax(values: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def foreground(logits: list[float], head: DetectionHead) -> list[float]:
    return softmax(logits)[:-1] if head == "softmax" else [sigmoid(value) for value in logits]


def with_background(logits: list[float], head: DetectionHead) -> list[float]:
    if head == "softmax":
        return softmax(logits)
    present = foreground(logits, head)
    nothing = math.prod(1 - p for p in present)
    return [(1 - nothing) * p / sum(present) for p in present] + [nothing]


def kl(target: list[float], other: list[float]) -> float:
    return sum(t * math.log(t / o) for t, o in zip(target, other, strict=True))


def divergence(student: Queries, teacher: Queries, b: int, j: int, i: int, temperature: float) -> float:
    student_logits = (student.logits[b, j] / temperature).tolist()
    teacher_logits = (teacher.logits[b, i] / temperature).tolist()
    if student.head == "softmax":
        return kl(with_background(teacher_logits, teacher.head), softmax(student_logits))
    pairs = zip(foreground(teacher_logits, teacher.head), foreground(student_logits, "sigmoid"), strict=True)
    return sum(kl([t, 1 - t], [s, 1 - s]) for t, s in pairs)


def box_distances(student: Tensor, teacher: Tensor) -> tuple[float, float]:
    """L1 of two boxes cx, cy, w, h, and 1 - GIoU."""
    one, other = student.tolist(), teacher.tolist()
    sides, areas = [], []
    for cx, cy, w, h in (one, other):
        sides.append((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        areas.append(w * h)
    (ax, ay, ar, ab), (bx, by, br, bb) = sides
    inner = max(0.0, min(ar, br) - max(ax, bx)) * max(0.0, min(ab, bb) - max(ay, by))
    hull = (max(ar, br) - min(ax, bx)) * (max(ab, bb) - min(ay, by))
    union = sum(areas) - inner
    distance = sum(abs(p - q) for p, q in zip(one, other, strict=True))
    return distance, 1 - (inner / union - (hull - union) / hull)


def brute_force(
    student: Queries, teacher: Queries, b: int, costs: tuple[float, float, float] = (1, 5, 2)
) -> dict[int, int]:
    """Try every assignment of one image; return the student query of each teacher query that takes part."""
    seen = [foreground(logits, teacher.head) for logits in teacher.logits[b].tolist()]
    by_confidence = sorted(range(len(seen)), key=lambda i: -max(seen[i]))
    taking_part = by_confidence[: student.logits.shape[1]]

    def cost(i: int, j: int) -> float:
        thought = foreground(student.logits[b, j].tolist(), student.head)
        agreement = sum(t * s for t, s in zip(seen[i], thought, strict=True)) / sum(seen[i])
        distance, apart = box_distances(student.boxes[b, j], teacher.boxes[b, i])
        return max(seen[i]) * (-costs[0] * agreement + costs[1] * distance + costs[2] * (apart - 1))

    table = {(i, j): cost(i, j) for i in taking_part for j in range(student.logits.shape[1])}
    assignments = itertools.permutations(range(student.logits.shape[1]), len(taking_part))
    best = min(assignments, key=lambda js: sum(table[i, j] for i, j in zip(taking_part, js, strict=True)))
    return dict(zip(taking_part, best, strict=True))


def naive_loss(
    student: Queries,
    teacher: Queries,
    temperature: float = 1.0,
    class_weight: float = 1.0,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
) -> float:
    images = []
    for b in range(student.logits.shape[0]):
        total = weights = 0.0
        for i, j in brute_force(student, teacher, b).items():
            confidence = max(foreground(teacher.logits[b, i].tolist(), teacher.head))
            distance, apart = box_distances(student.boxes[b, j], teacher.boxes[b, i])
            classes = divergence(student, teacher, b, j, i, temperature) * temperature**2
            total += confidence * (class_weight * classes + l1_weight * distance + giou_weight * apart)
            weights += confidence
        images.append(total / max(1.0, weights))
    return sum(images) / len(images)


# ---- heads ----


@pytest.mark.parametrize("head", HEADS)
def test_probabilities_equal_the_loop_over_queries(head: DetectionHead) -> None:
    logits = Queries(head, 4).logits
    expected = [[foreground(query, head) for query in image] for image in logits.tolist()]
    torch.testing.assert_close(foreground_probabilities(logits, head), torch.tensor(expected).double())


@pytest.mark.parametrize("head", HEADS)
def test_conversions_equal_the_loop_over_queries(head: DetectionHead) -> None:
    logits = Queries(head, 4).logits
    categorical = torch.tensor(
        [[with_background(query, head) for query in image] for image in logits.tolist()]
    )
    torch.testing.assert_close(categorical_log_probabilities(logits, head).exp(), categorical.double())
    present, absent = binary_log_probabilities(logits, head)
    torch.testing.assert_close(present.exp(), foreground_probabilities(logits, head))
    torch.testing.assert_close(present.exp() + absent.exp(), torch.ones_like(present))


def test_sigmoids_become_probabilities_that_add_up_to_1() -> None:
    """Several sure sigmoids add up to more, and would train a softmax towards a sum above 1."""
    logits = torch.full((1, 1, 5), 3.0)
    total = categorical_log_probabilities(logits, "sigmoid").exp().sum(-1)
    torch.testing.assert_close(total, torch.ones(1, 1))


def test_one_class_is_converted_exactly() -> None:
    """A sigmoid over z is a softmax over (z, 0): the same model, written in two ways."""
    logits = torch.randn(2, 4, 1, dtype=torch.float64)
    expected = torch.cat([logits, torch.zeros_like(logits)], dim=-1).log_softmax(dim=-1)
    torch.testing.assert_close(categorical_log_probabilities(logits, "sigmoid"), expected)
    torch.testing.assert_close(binary_log_probabilities(expected, "softmax")[1], expected[..., 1:])


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_sure_models_that_disagree_give_finite_losses(
    student_head: DetectionHead, teacher_head: DetectionHead, size: float
) -> None:
    """Their probabilities round to 0 and 1, where a logarithm taken after the softmax is -inf."""
    student, teacher = (m.to(torch.float32) for m in both_models(student_head, teacher_head))
    student.logits, teacher.logits = size * student.logits.sign(), -size * student.logits[..., :1].sign()
    teacher.logits = teacher.logits.expand(-1, -1, 3 + (teacher_head == "softmax"))
    student.logits.requires_grad_()
    loss = distil(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.logits.grad is not None
    assert student.logits.grad.isfinite().all()


# ---- matching ----


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
@pytest.mark.parametrize("counts", QUERY_COUNTS)
@pytest.mark.parametrize("costs", [(1.0, 5.0, 2.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_matching_is_the_best_of_all_permutations(
    student_head: DetectionHead,
    teacher_head: DetectionHead,
    counts: tuple[int, int],
    costs: tuple[float, float, float],
) -> None:
    student, teacher = both_models(student_head, teacher_head, counts)
    pairs = match(student, teacher, **dict(zip(("class_cost", "l1_cost", "giou_cost"), costs, strict=True)))
    assert pairs.student.shape == pairs.teacher.shape == (2, min(counts))
    for b in range(2):
        found = dict(zip(pairs.teacher[b].tolist(), pairs.student[b].tolist(), strict=True))
        assert found == brute_force(student, teacher, b, costs)


def test_default_costs_are_those_of_detr() -> None:
    student, teacher = both_models(counts=(30, 30))
    expected = match(student, teacher, class_cost=1, l1_cost=5, giou_cost=2)
    assert torch.equal(match(student, teacher).student, expected.student)


def test_shuffled_queries_are_found_again() -> None:
    teacher = Queries("sigmoid", 50)
    order = torch.randperm(50)
    pairs = match(teacher.pick((slice(None), order)), teacher)
    assert torch.equal(order[pairs.student], pairs.teacher)


def test_unsure_teacher_queries_do_not_take_a_sure_ones_student() -> None:
    """Unsure queries gather around objects: unweighted, they would send the sure one's student elsewhere."""
    teacher, student = Queries("sigmoid", 3, batch=1, classes=1), Queries("sigmoid", 3, batch=1, classes=1)
    place = torch.tensor([0.5, 0.5, 0.2, 0.2]).double()
    teacher.boxes[0] = place + torch.tensor([[0.02], [0.0], [0.0]])
    teacher.logits[0] = torch.tensor([[3.0], [-4.0], [-4.0]])
    student.boxes[0] = place + torch.tensor([[0.3], [0.01], [0.3]])
    student.logits[:] = 0
    pairs = match(student, teacher)
    assert pairs.student[0, pairs.teacher[0] == 0].item() == 1


@pytest.mark.parametrize("counts", QUERY_COUNTS)
def test_no_query_is_matched_twice(counts: tuple[int, int]) -> None:
    pairs = match(*both_models(counts=counts))
    for indices, queries in zip(pairs, counts, strict=True):
        assert indices.dtype == torch.int64
        for image in indices.tolist():
            assert len(set(image)) == len(image)
            assert set(image) <= set(range(queries))


def test_only_the_most_confident_of_too_many_teacher_queries_take_part() -> None:
    student, teacher = both_models(counts=(2, 5), batch=1)
    teacher.logits[0, :, 0] = torch.tensor([9.0, 5.0, 6.0, 8.0, 7.0])
    assert set(match(student, teacher).teacher[0].tolist()) == {0, 3}


@pytest.mark.parametrize("name", ["student_logits", "student_boxes", "teacher_logits", "teacher_boxes"])
def test_rejects_queries_that_are_not_finite(name: str) -> None:
    """scipy would only say that the cost matrix is infeasible."""
    arguments = tensors(*both_models())
    arguments[name][1, 2, 0] = math.nan
    with pytest.raises(ValueError, match="must be finite, got NaN or inf in image 1 of the batch"):
        query_distillation_loss(**arguments)


# ---- loss ----


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
@pytest.mark.parametrize("counts", QUERY_COUNTS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_equals_the_loop_over_queries(
    student_head: DetectionHead, teacher_head: DetectionHead, counts: tuple[int, int], temperature: float
) -> None:
    student, teacher = both_models(student_head, teacher_head, counts)
    loss = distil(student, teacher, temperature=temperature)
    assert loss.item() == pytest.approx(naive_loss(student, teacher, temperature), rel=1e-9)


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 3.0, 7.0)])
def test_each_part_has_its_weight(weights: tuple[float, float, float]) -> None:
    student, teacher = both_models()
    named = dict(zip(("class_weight", "l1_weight", "giou_weight"), weights, strict=True))
    assert distil(student, teacher, **named).item() == pytest.approx(naive_loss(student, teacher, **named))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_is_zero_when_student_equals_teacher(head: DetectionHead, temperature: float) -> None:
    """A cross-entropy in its place never reaches 0 and would keep pulling a perfect student."""
    student, teacher = Queries(head, 20), Queries(head, 20)
    student.logits, student.boxes = (v.clone().requires_grad_() for v in (teacher.logits, teacher.boxes))
    loss = distil(student, teacher, temperature=temperature)
    gradients = torch.autograd.grad(loss, (student.logits, student.boxes))
    assert loss.item() == 0.0
    assert max(gradient.abs().max() for gradient in gradients) < 1e-13


@pytest.mark.parametrize(("student_head", "teacher_head"), [("softmax", "sigmoid"), ("sigmoid", "softmax")])
def test_the_same_model_with_another_head_costs_nothing(
    student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    """With one class, a sigmoid over z and a softmax over (z, 0) say the same."""
    student, teacher = both_models(student_head, teacher_head, classes=1)
    score = 2 * torch.randn(2, 4, 1, dtype=torch.float64)
    pair = torch.cat([score, torch.zeros_like(score)], dim=-1)
    student.logits, teacher.logits = (pair if m.head == "softmax" else score for m in (student, teacher))
    student.boxes = teacher.boxes
    assert distil(student, teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("counts", QUERY_COUNTS)
def test_order_of_queries_changes_nothing(counts: tuple[int, int]) -> None:
    """Query 7 of one model has nothing to do with query 7 of the other."""
    student, teacher = both_models(counts=counts)
    expected = distil(student, teacher)
    shuffled = [m.pick((slice(None), torch.randperm(m.logits.shape[1]))) for m in (student, teacher)]
    torch.testing.assert_close(distil(shuffled[0], teacher), expected)
    torch.testing.assert_close(distil(student, shuffled[1]), expected)


def test_doubling_the_batch_changes_nothing() -> None:
    student, teacher = both_models()
    doubled = [m.pick(torch.tensor([0, 1, 0, 1])) for m in (student, teacher)]
    torch.testing.assert_close(distil(*doubled), distil(student, teacher))


def test_the_batch_is_the_mean_of_its_images() -> None:
    """Pooled over the batch, an image's weight would hang on what its neighbours show."""
    student, teacher = both_models(batch=3)
    teacher.logits[1] = -200  # one image in which the teacher sees nothing
    alone = [distil(student.pick(slice(b, b + 1)), teacher.pick(slice(b, b + 1))) for b in range(3)]
    torch.testing.assert_close(distil(student, teacher), torch.stack(alone).mean())


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
def test_a_teacher_that_sees_nothing_teaches_nothing(
    student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    """0 / 0 in one empty image would make every weight of the student NaN."""
    student, teacher = (m.to(torch.float32) for m in both_models(student_head, teacher_head))
    teacher.logits[..., :3] = -200
    student.logits.requires_grad_()
    student.boxes.requires_grad_()
    loss = distil(student, teacher)
    gradients = torch.autograd.grad(loss, (student.logits, student.boxes))
    assert loss.item() == 0.0
    assert all((gradient == 0).all() for gradient in gradients)


def test_an_image_in_which_the_teacher_is_unsure_of_all_counts_for_little() -> None:
    """Divided by its own small sum of weights, noise would teach as much as a sure object."""
    student, teacher = both_models(batch=1)
    sure = distil(student, teacher)
    teacher.logits = teacher.logits - 12
    assert distil(student, teacher) < 1e-3 * sure


@pytest.mark.parametrize("head", HEADS)
def test_temperature_keeps_the_size_of_the_gradient(head: DetectionHead) -> None:
    """Without the squared temperature, T = 16 would weaken the classes 256 times."""
    student, teacher = both_models(head, head)
    student.logits.requires_grad_()
    norms = []
    for temperature in (16.0, 32.0):
        loss = distil(student, teacher, temperature=temperature)
        norms.append(torch.autograd.grad(loss, student.logits)[0].norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.1)


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
def test_gradient_reaches_the_student_and_never_the_teacher(
    student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    """A teacher that moves towards the student makes the loss fall without any learning."""
    student, teacher = both_models(student_head, teacher_head)
    for leaf in (student.logits, student.boxes, teacher.logits, teacher.boxes):
        leaf.requires_grad_()
    distil(student, teacher).backward()
    for leaf in (student.logits, student.boxes):
        assert leaf.grad is not None
        assert (leaf.grad != 0).all()
    assert teacher.logits.grad is None
    assert teacher.boxes.grad is None


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
def test_gradcheck(student_head: DetectionHead, teacher_head: DetectionHead) -> None:
    student, teacher = both_models(student_head, teacher_head, (3, 2), batch=1, classes=2)

    def loss(logits: Tensor, boxes: Tensor) -> Tensor:
        student.logits, student.boxes = logits, boxes
        return distil(student, teacher, temperature=2.0)

    leaves = (student.logits.clone().requires_grad_(), student.boxes.clone().requires_grad_())
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize(("student_head", "teacher_head"), HEAD_PAIRS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_under_autocast_are_computed_in_float32(
    student_head: DetectionHead, teacher_head: DetectionHead, dtype: torch.dtype
) -> None:
    """In bfloat16 a box knows its place to 2 pixels in 1000, and the sum over 90 classes two digits."""
    student, teacher = (m.to(dtype) for m in both_models(student_head, teacher_head, classes=90))
    with torch.autocast("cpu", dtype=dtype):
        loss = distil(student, teacher)
    assert loss.dtype == torch.float32
    expected = distil(student.to(torch.float64), teacher.to(torch.float64))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


# ---- errors ----


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_rejects_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
        distil(*both_models(), temperature=temperature)


@pytest.mark.parametrize("name", ["class_weight", "l1_weight", "giou_weight"])
def test_rejects_weights_that_are_no_weights(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be finite and at least 0"):
        distil(*both_models(), **{name: -1.0})
    with pytest.raises(TypeError, match=f"`{name}` must be a number"):
        distil(*both_models(), **{name: "1"})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["class_cost", "l1_cost", "giou_cost"])
def test_rejects_costs_that_are_no_weights(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be finite and at least 0"):
        match(*both_models(), **{name: math.nan})


@pytest.mark.parametrize("model", ["student", "teacher"])
def test_rejects_an_unknown_head(model: str) -> None:
    arguments = {**tensors(*both_models()), f"{model}_head": "focal"}
    with pytest.raises(ValueError, match=f"head of `{model}_logits` must be one of .*got 'focal'"):
        query_distillation_loss(**arguments)
    with pytest.raises(ValueError, match="head of `logits` must be one of"):
        foreground_probabilities(torch.zeros(1, 1, 2), "focal")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"student_logits": (4, 3)}, "`student_logits` must be non-empty with axes (B, Q, classes)"),
        ({"teacher_logits": (2, 0, 3)}, "`teacher_logits` must be non-empty with axes (B, Q, classes)"),
        ({"student_logits": (2, 4, 1)}, "must hold a class beside the last score"),
        ({"student_boxes": (2, 3, 4)}, "`student_boxes` must have shape (B, Q, 4) = (2, 4, 4)"),
        ({"student_boxes": (2, 4, 5)}, "`student_boxes` must have shape (B, Q, 4) = (2, 4, 4)"),
        ({"teacher_boxes": (1, 4, 4)}, "`teacher_boxes` must have shape (B, Q, 4) = (2, 4, 4)"),
        ({"teacher_logits": (1, 4, 3), "teacher_boxes": (1, 4, 4)}, "same images, got 2 and 1"),
        ({"teacher_logits": (2, 4, 4)}, 'same classes, got 3 and 4 without "no object"'),
    ],
)
def test_rejects_shapes_that_do_not_fit(changed: dict[str, tuple[int, ...]], message: str) -> None:
    """Many of these broadcast, and would train towards something nobody asked for."""
    arguments = tensors(*both_models("softmax", "sigmoid"))
    arguments |= {name: torch.zeros(shape) for name, shape in changed.items()}
    with pytest.raises(ValueError, match=re.escape(message)):
        query_distillation_loss(**arguments)


@pytest.mark.parametrize("name", ["student_logits", "student_boxes", "teacher_logits", "teacher_boxes"])
def test_rejects_integers(name: str) -> None:
    """Boxes in pixels would make L1 hundreds of times too large."""
    arguments = tensors(*both_models())
    arguments[name] = arguments[name].long()
    with pytest.raises(TypeError, match=f"`{name}` must be floating point"):
        query_distillation_loss(**arguments)


@pytest.mark.parametrize("name", ["detection", "detection_heads", "query_matching"])
def test_docstring_examples_run_as_shown(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"hf_structkd.losses.{name}"))
    assert result.failed == 0
    assert result.attempted > 0
