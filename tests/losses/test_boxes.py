"""Boxes: both ways to write them, overlaps against a loop over pairs, and boxes without area."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hf_structkd.losses import boxes
from hf_structkd.losses.boxes import (
    box_corners,
    boxes_from_corners,
    generalized_iou,
    pairwise_generalized_iou,
    pairwise_iou,
)

Overlap = Callable[[Tensor, Tensor], Tensor]

UNIT = [0.0, 0.0, 1.0, 1.0]
POINT = [0.5, 0.5, 0.5, 0.5]
LINE = [0.2, 0.5, 0.8, 0.5]


def random_corners(*shape: int) -> Tensor:
    """Boxes of every mutual position: apart, crossing and one inside the other."""
    return box_corners(torch.rand(*shape, 4, dtype=torch.float64))


def iou_and_generalized(first: list[float], second: list[float]) -> tuple[float, float]:
    """Straight from the definitions, for boxes that have an area."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - width * height
    hull = (max(first[2], second[2]) - min(first[0], second[0])) * (
        max(first[3], second[3]) - min(first[1], second[1])
    )
    return width * height / union, width * height / union - (hull - union) / hull


def test_corners_lie_half_a_size_from_the_centre() -> None:
    """Width before height, as in x before y: swapped, every upright box would lie down."""
    assert box_corners(torch.tensor([[10.0, 20.0, 4.0, 8.0]])).tolist() == [[8.0, 16.0, 12.0, 24.0]]


def test_boxes_from_corners_is_the_inverse() -> None:
    centred = torch.rand(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(boxes_from_corners(box_corners(centred)), centred)


@pytest.mark.parametrize(("overlap", "index"), [(pairwise_iou, 0), (pairwise_generalized_iou, 1)])
def test_equals_the_loop_over_pairs(overlap: Overlap, index: int) -> None:
    first, second = random_corners(2, 7), random_corners(2, 5)
    values = overlap(first, second)
    assert values.shape == (2, 7, 5)
    for b in range(2):
        for n in range(7):
            for m in range(5):
                expected = iou_and_generalized(first[b, n].tolist(), second[b, m].tolist())[index]
                assert values[b, n, m].item() == pytest.approx(expected, abs=1e-12)


def test_element_by_element_is_the_diagonal_of_all_pairs() -> None:
    first, second = random_corners(3, 6), random_corners(3, 6)
    pairs = pairwise_generalized_iou(first, second).diagonal(dim1=1, dim2=2)
    assert torch.equal(generalized_iou(first, second), pairs)


@pytest.mark.parametrize("shape", [(2, 4), (3, 2, 4), (1, 2, 1, 4)])
def test_missing_axes_are_those_in_front(shape: tuple[int, ...]) -> None:
    """One box against batches of two gave the overlaps of mixed coordinates, or a bare RuntimeError."""
    generator = torch.Generator().manual_seed(0)
    one, others = (torch.rand(size, generator=generator) for size in ((4,), shape))
    for corners in (one, others):
        corners[..., 2:] += corners[..., :2]
    expected = torch.stack([generalized_iou(one, other) for other in others.reshape(-1, 4)])
    assert torch.equal(generalized_iou(one, others).flatten(), expected)


def test_order_of_the_two_boxes_does_not_matter() -> None:
    first, second = random_corners(20), random_corners(20)
    torch.testing.assert_close(generalized_iou(first, second), generalized_iou(second, first))


def test_equal_boxes_overlap_fully_and_have_no_gradient() -> None:
    """A slope at the optimum would keep pushing a student that is already the teacher."""
    student = random_corners(50).requires_grad_()
    values = generalized_iou(student, student.detach().clone())
    values.sum().backward()
    assert (values == 1).all()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


def test_boxes_apart_are_drawn_together() -> None:
    """The plain IoU is flat there: a box that misses its object would never find it."""
    student = torch.tensor(UNIT, requires_grad=True)
    generalized_iou(student, torch.tensor([2.0, 0.0, 3.0, 1.0])).backward()
    assert student.grad is not None
    assert student.grad[2] > 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (POINT, POINT, 0.0),
        (LINE, LINE, 0.0),
        (POINT, UNIT, 0.0),
        (LINE, UNIT, 0.0),
        (UNIT, [2.0, 2.0, 2.0, 2.0], -0.75),  # union 1 in a hull of 2x2
        (POINT, [1.0, 1.0, 1.0, 1.0], -1.0),  # nothing in a hull of 0.5x0.5
        ([1.0, 1.0, 0.0, 0.0], UNIT, 0.0),  # corners in the wrong order
        ([0.0, 0.0, 1e-30, 1e-30], [0.0, 0.0, 1e-30, 1e-30], 0.0),
    ],
)
def test_boxes_without_area_give_finite_values_and_gradients(
    first: list[float], second: list[float], expected: float
) -> None:
    """0 / 0 in one box of one image would make every weight of the student NaN."""
    student, teacher = torch.tensor([[first]], requires_grad=True), torch.tensor([[second]])
    value = pairwise_generalized_iou(student, teacher)
    (value + pairwise_iou(student, teacher)).sum().backward()
    assert value.item() == pytest.approx(expected)
    assert pairwise_iou(student, teacher).item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() < 100


def test_nan_stays_visible() -> None:
    """Taken for a box without area, it would pass as an ordinary overlap."""
    assert generalized_iou(torch.full((4,), torch.nan), torch.tensor(UNIT)).isnan()


@pytest.mark.parametrize("overlap", [pairwise_iou, pairwise_generalized_iou])
def test_gradcheck(overlap: Overlap) -> None:
    assert torch.autograd.gradcheck(
        overlap, (random_corners(1, 3).requires_grad_(), random_corners(1, 2).requires_grad_())
    )


@pytest.mark.parametrize("function", [box_corners, boxes_from_corners])
@pytest.mark.parametrize("shape", [(), (3,), (4, 5)])
def test_rejects_boxes_that_are_not_four_numbers(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="must hold 4 numbers per box"):
        function(torch.zeros(shape))


@pytest.mark.parametrize("overlap", [generalized_iou, pairwise_iou, pairwise_generalized_iou])
def test_rejects_either_box_that_is_not_four_numbers(overlap: Overlap) -> None:
    with pytest.raises(ValueError, match="`first` must hold 4 numbers"):
        overlap(torch.zeros(1, 2, 5), torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="`second` must hold 4 numbers"):
        overlap(torch.zeros(1, 2, 4), torch.zeros(1, 2, 5))


@pytest.mark.parametrize("overlap", [pairwise_iou, pairwise_generalized_iou])
@pytest.mark.parametrize(
    ("first", "second"), [((3, 4), (1, 3, 4)), ((1, 3, 4), (3, 4)), ((1, 3, 4), (2, 3, 4))]
)
def test_rejects_pairs_that_are_not_of_the_same_images(
    overlap: Overlap, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    """One image's boxes broadcast against every other image's."""
    with pytest.raises(ValueError, match=re.escape("(B, N, 4) and (B, M, 4) of the same images")):
        overlap(torch.zeros(first), torch.zeros(second))


def test_docstring_examples_run_as_shown() -> None:
    result = doctest.testmod(boxes)
    assert result.failed == 0
    assert result.attempted > 0
