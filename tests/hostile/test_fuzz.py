"""Drawn inputs: a finite result, or one of our errors."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_structkd.data.boxes import clean_boxes
from hf_structkd.losses import (
    berhu_loss,
    l1_depth_loss,
    pairwise_distillation_loss,
    pixel_distillation_loss,
    scale_shift_invariant_loss,
    silog_loss,
)

FUZZ = settings(max_examples=30, deadline=None, derandomize=True, database=None)
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
VALUES = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e4, -1e4])
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.int64])
DENSE = (pixel_distillation_loss, pairwise_distillation_loss)
DEPTH = (silog_loss, l1_depth_loss, berhu_loss, scale_shift_invariant_loss)


@FUZZ
@given(
    loss=st.sampled_from(DENSE + DEPTH), shape=SHAPES, other=st.none() | SHAPES, value=VALUES, dtype=DTYPES
)
def test_a_loss_is_finite_or_refuses(loss: Any, shape: Any, other: Any, value: float, dtype: Any) -> None:
    """NaN in a gradient ends a training, and a broadcast shape trains toward nothing."""
    first = (torch.rand(shape) * value).to(dtype).requires_grad_(dtype.is_floating_point)
    try:
        total = loss(first, torch.rand(other or shape))
    except (TypeError, ValueError):
        return
    total.backward()
    assert total.isfinite()
    assert first.grad is None or first.grad.isfinite().all()


@FUZZ
@given(st.lists(st.lists(st.floats(), min_size=4, max_size=4), max_size=5))
def test_cleaned_boxes_are_finite_and_inside(boxes: list[list[float]]) -> None:
    cleaned, rules = clean_boxes(torch.tensor(boxes, dtype=torch.float64).view(-1, 4), (30, 40))
    assert cleaned.isfinite().all()
    assert (cleaned >= 0).all()
    assert (cleaned <= torch.tensor([40, 30, 40, 30])).all()
    assert (torch.stack([*rules.values()]).sum(dim=0) <= 1).all()
