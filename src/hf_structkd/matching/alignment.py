"""Bring maps of teacher and student to one size: which side is resized, and how."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_map(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) to `size` bilinearly, corners not aligned; a map of that size comes back itself.

    Logits are interpolated before the softmax, as every model's own post-processing does.
    """
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)


def resize_ids(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize class ids, depths or a bool mask (..., H, W) to `size`: each pixel takes what is at its centre.

    Where a centre lies between two source pixels, the one below or to the right is taken. No new value
    appears: a mean over the edge of a hole or an object is nobody's depth. Indices are whole numbers all the
    way, so the result is exact for any id and size, and on devices without float64.
    """
    if ids.shape[-2:] == size:
        return ids
    rows, columns = (
        (2 * torch.arange(new, device=ids.device) + 1) * old // (2 * new)
        for new, old in zip(size, ids.shape[-2:], strict=True)
    )
    return ids.index_select(-2, rows).index_select(-1, columns)


def align_to_coarser(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two maps (B, C_s, h, w) and (B, C_t, h', w') to the smaller height and width of the two.

    The finer map is averaged over the cells of the coarser grid, so that no detail is invented where one
    network has none and every fine pixel counts.
    """
    size = (min(student.shape[-2], teacher.shape[-2]), min(student.shape[-1], teacher.shape[-1]))
    return _average_to(student, size), _average_to(teacher, size)


def at_least(size: torch.Size | tuple[int, int], minimum: int) -> tuple[int, int]:
    """Height and width with each side raised to `minimum` where it is smaller."""
    height, width = size
    return max(int(height), minimum), max(int(width), minimum)


def _average_to(features: Tensor, size: tuple[int, int]) -> Tensor:
    return features if features.shape[-2:] == size else F.adaptive_avg_pool2d(features, size)
