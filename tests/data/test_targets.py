"""What a row's map means: its checks, its unit, and what a zoom does to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_structkd.data import ClassMap, DepthMap


@pytest.mark.parametrize("count", [0, -1])
def test_a_class_map_needs_classes(count: int) -> None:
    with pytest.raises(ValueError, match=f"`num_labels` must be at least 1, got {count}; count the classes"):
        ClassMap(num_labels=count)


@pytest.mark.parametrize("scale", [0.0, -0.001, float("inf"), float("nan")])
def test_a_depth_scale_must_be_positive_and_finite(scale: float) -> None:
    """0 would make every pixel a hole, and training would go on with nothing to learn."""
    with pytest.raises(ValueError, match=f"`depth_scale` must be positive and finite, got {scale}; it is"):
        DepthMap(depth_scale=scale)


def test_depth_is_stored_units_times_the_scale() -> None:
    units = np.array([[0, 250], [1000, 65535]], np.uint16)
    depth = DepthMap(depth_scale=0.002).decode(units, where="here")
    assert depth.flatten().tolist() == pytest.approx([0.0, 0.5, 2.0, 131.07])


def test_classes_stay_and_depths_shrink_under_zoom() -> None:
    ids, depth = torch.tensor([[3, 255]]), torch.tensor([[3.0, 0.0]])
    assert torch.equal(ClassMap(num_labels=5).zoomed(ids, 2.0), ids)
    assert torch.equal(DepthMap().zoomed(depth, 2.0), torch.tensor([[1.5, 0.0]]))


def test_nothing_is_what_the_losses_leave_out() -> None:
    ignoring = ClassMap(num_labels=5, ignore_index=-100)
    assert (ignoring.nothing, ignoring.dtype) == (-100, torch.int64)
    assert (DepthMap().nothing, DepthMap().dtype) == (0.0, torch.float32)


def test_a_wrong_class_names_value_place_and_settings() -> None:
    message = (
        r"Labels must lie in \[0, 2\) or be ignore_index=255, got 7 in row 3, column 'label'; check "
        r"`num_labels`, `ignore_index`, `label_values` and `reduce_labels`=False\."
    )
    with pytest.raises(ValueError, match=message):
        ClassMap(num_labels=2).decode(np.array([[0, 7, 255]], np.uint8), where="row 3, column 'label'")
