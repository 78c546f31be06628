"""Rendering a set of boxes to class maps: against a loop, at its limits, and what it keeps in memory."""

from __future__ import annotations

import doctest
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_structkd.losses import rendering
from hf_structkd.losses.rendering import render_detections


def random_detections(batch: int = 2, queries: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    probabilities = torch.rand(batch, queries, classes, dtype=torch.float64)
    return probabilities, torch.rand(batch, queries, 4, dtype=torch.float64)


def naive_map(
    probabilities: Tensor, boxes: Tensor, size: tuple[int, int], sharpness: float, b: int, k: int
) -> list[list[float]]:
    """One class of one image, straight from the definition."""

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-sharpness * value))

    rows, columns = size
    values = []
    for row in range(rows):
        values.append([])
        for column in range(columns):
            nobody = 1.0
            for q in range(boxes.shape[1]):
                cx, cy, w, h = boxes[b, q].tolist()
                x, y = column + 0.5, row + 0.5
                inside = sigmoid(x - (cx - w / 2) * columns) * sigmoid((cx + w / 2) * columns - x)
                inside *= sigmoid(y - (cy - h / 2) * rows) * sigmoid((cy + h / 2) * rows - y)
                nobody *= 1 - probabilities[b, q, k].item() * inside
            values[-1].append(1 - nobody)
    return values


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
@pytest.mark.parametrize("size", [(4, 6), (1, 1)])
def test_equals_the_loop_over_queries_and_cells(size: tuple[int, int], sharpness: float) -> None:
    probabilities, boxes = random_detections()
    maps = render_detections(probabilities, boxes, size, sharpness=sharpness)
    assert maps.shape == (2, 3, *size)
    for b in range(2):
        for k in range(3):
            expected = torch.tensor(naive_map(probabilities, boxes, size, sharpness, b, k)).double()
            torch.testing.assert_close(maps[b, k], expected, rtol=1e-6, atol=1e-7)


def test_rows_are_height_and_columns_are_width() -> None:
    """Swapped, the critic would see every scene lying on its side."""
    upper_right = torch.tensor([[[0.75, 0.25, 0.5, 0.5]]])
    maps = render_detections(torch.ones(1, 1, 1), upper_right, (2, 4), sharpness=100.0)
    assert maps.round().tolist() == [[[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]]]


def test_an_edge_rises_across_about_one_cell() -> None:
    """By hand: the sigmoid of 4 * 0.5 at the cell centres on both sides of the edge at x = 4."""
    left_half = torch.tensor([[[0.0, 0.5, 1.0, 40.0]]])
    row = render_detections(torch.ones(1, 1, 1), left_half, (1, 8))[0, 0, 0]
    torch.testing.assert_close(row[3:5], torch.tensor([0.8808, 0.1192]), rtol=0, atol=1e-4)


def test_a_box_narrower_than_a_cell_leaves_a_trace_and_gets_a_gradient() -> None:
    """Hard edges would lose small objects between the cell centres."""
    boxes = torch.tensor([[[0.5, 0.5, 0.01, 0.01]]], requires_grad=True)
    maps = render_detections(torch.ones(1, 1, 1), boxes, (4, 4))
    maps.amax().backward()
    assert maps.amax() > 0
    assert boxes.grad is not None
    assert (boxes.grad[..., 2:] > 0).all()


def test_order_of_queries_changes_nothing() -> None:
    probabilities, boxes = random_detections(queries=9)
    order = torch.randperm(9)
    torch.testing.assert_close(
        render_detections(probabilities[:, order], boxes[:, order], (4, 4)),
        render_detections(probabilities, boxes, (4, 4)),
    )


def test_images_do_not_mix() -> None:
    probabilities, boxes = random_detections()
    alone = [render_detections(probabilities[b : b + 1], boxes[b : b + 1], (4, 4)) for b in range(2)]
    torch.testing.assert_close(render_detections(probabilities, boxes, (4, 4)), torch.cat(alone))


def test_queries_that_show_nothing_change_nothing() -> None:
    """Most queries of a detector show nothing; a trace of each would add up to fog."""
    probabilities, boxes = random_detections()
    padded = torch.cat([probabilities, torch.zeros_like(probabilities)], dim=1)
    maps = render_detections(padded, torch.cat([boxes, boxes.flip(1)], dim=1), (4, 4))
    torch.testing.assert_close(maps, render_detections(probabilities, boxes, (4, 4)))


@pytest.mark.parametrize("queries", [1, 300])
def test_sure_boxes_that_fill_the_image_stay_finite(queries: int) -> None:
    """A factor of 0 leaves 0 / 0 as the product of the others."""
    probabilities = torch.ones(1, queries, 2, requires_grad=True)
    boxes = torch.tensor([0.5, 0.5, 50.0, 50.0]).repeat(1, queries, 1).requires_grad_()
    maps = render_detections(probabilities, boxes, (8, 8))
    maps.sum().backward()
    assert ((maps >= 0) & (maps <= 1)).all()
    torch.testing.assert_close(maps, torch.ones_like(maps))
    for leaf in (probabilities, boxes):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    if queries == 1:  # A map of one sure box falls with its probability, cell by cell.
        assert probabilities.grad is not None
        torch.testing.assert_close(probabilities.grad, torch.full((1, 1, 2), 64.0))


def test_values_lie_between_0_and_1() -> None:
    maps = render_detections(torch.rand(2, 300, 4), torch.rand(2, 300, 4), (16, 16))
    assert ((maps >= 0) & (maps <= 1)).all()


def test_gradcheck() -> None:
    probabilities, boxes = random_detections(1, 3, 2)
    inputs = (probabilities.requires_grad_(), boxes.requires_grad_())
    assert torch.autograd.gradcheck(lambda *leaves: render_detections(*leaves, (2, 3)), inputs)


def test_chunks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost remainder would drop the last queries, only for large batches."""
    results = []
    for elements in (2**22, 2 * 3 * 4 * 4 * 2):  # all 5 queries at once; 2, 2 and 1
        monkeypatch.setattr(rendering, "_CPU_CHUNK_ELEMENTS", elements)
        torch.manual_seed(0)
        leaves = [leaf.requires_grad_() for leaf in random_detections()]
        maps = render_detections(*leaves, (4, 4))
        results.append((maps, *torch.autograd.grad(maps.square().sum(), leaves)))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, whole)


def test_nothing_as_large_as_queries_by_classes_by_cells_is_kept() -> None:
    """At 300 queries, 91 classes and 32x32 cells that is 1.8 GB for a batch of 16, several times over."""
    kept = []

    def pack(values: Tensor) -> Tensor:
        kept.append(values.numel())
        return values

    probabilities, boxes = random_detections(1, 20, 30)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        render_detections(probabilities.requires_grad_(), boxes.requires_grad_(), (16, 16))
    assert kept
    assert max(kept) <= 30 * 16 * 16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_under_autocast_are_computed_in_float32(dtype: torch.dtype) -> None:
    """In bfloat16, 1 - p has three digits, and the log of what 300 queries leave none."""
    probabilities, boxes = (values.to(dtype) for values in random_detections())
    with torch.autocast("cpu", dtype=dtype):
        maps = render_detections(probabilities, boxes, (4, 4))
    assert maps.dtype == torch.float32
    expected = render_detections(probabilities.double(), boxes.double(), (4, 4))
    torch.testing.assert_close(maps.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [4, (4,), (4, 4, 4), (4.0, 4), (True, 4)])
def test_rejects_a_size_that_is_not_two_ints(size: Any) -> None:
    with pytest.raises(TypeError, match="`size` must be two ints"):
        render_detections(*random_detections(), size)


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_rejects_a_size_without_cells(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`size` must be at least one cell"):
        render_detections(*random_detections(), size)


@pytest.mark.parametrize("sharpness", ["4", None, True])
def test_rejects_a_sharpness_that_is_no_number(sharpness: Any) -> None:
    with pytest.raises(TypeError, match="`sharpness` must be a number"):
        render_detections(*random_detections(), (4, 4), sharpness=sharpness)


@pytest.mark.parametrize("sharpness", [0, -4.0, math.nan, math.inf])
def test_rejects_a_sharpness_out_of_range(sharpness: float) -> None:
    """At 0 every box would fill the image alike, at inf no gradient reach it."""
    with pytest.raises(ValueError, match="`sharpness` must be finite and above 0"):
        render_detections(*random_detections(), (4, 4), sharpness=sharpness)


@pytest.mark.parametrize(
    ("probabilities_shape", "boxes_shape", "message"),
    [
        ((5, 3), (2, 5, 4), "`class_probabilities` must be non-empty"),
        ((2, 0, 3), (2, 0, 4), "`class_probabilities` must be non-empty"),
        ((2, 5, 3), (5, 4), "`boxes` must be non-empty"),
        ((2, 5, 3), (2, 5, 5), "`boxes` must have shape (B, Q, 4) = (2, 5, 4)"),
        ((2, 5, 3), (2, 1, 4), "`boxes` must have shape (B, Q, 4) = (2, 5, 4)"),
        ((2, 5, 3), (1, 5, 4), "`boxes` must have shape (B, Q, 4) = (2, 5, 4)"),
    ],
)
def test_rejects_shapes_that_do_not_fit(
    probabilities_shape: tuple[int, ...], boxes_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        render_detections(torch.zeros(probabilities_shape), torch.zeros(boxes_shape), (4, 4))


def test_the_finer_precision_of_the_two_is_taken() -> None:
    """The backward pass ended in a bare RuntimeError."""
    probabilities, boxes = random_detections()
    mixed = probabilities.detach().float().requires_grad_()  # the boxes are float64
    maps = render_detections(mixed, boxes, (4, 4))
    maps.sum().backward()
    assert maps.dtype == torch.float64
    assert mixed.grad is not None
    torch.testing.assert_close(maps, render_detections(mixed.double(), boxes, (4, 4)))


def test_rejects_integers() -> None:
    probabilities, boxes = random_detections()
    with pytest.raises(TypeError, match="`class_probabilities` must be floating point"):
        render_detections(probabilities.long(), boxes, (4, 4))
    with pytest.raises(TypeError, match="`boxes` must be floating point"):
        render_detections(probabilities, boxes.long(), (4, 4))


def test_docstring_examples_run_as_shown() -> None:
    result = doctest.testmod(rendering)
    assert result.failed == 0
    assert result.attempted > 0
