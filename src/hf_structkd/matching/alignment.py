"""The resizing of maps, and of the maps of teacher and student to one size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_map(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) to `size` bilinearly, without aligned corners; return a map of that size as it is.

    Interpolate logits before the softmax, as the post-processing of every model does.
    """
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps.float(), size=size, mode="bilinear", align_corners=False)


def resize_ids(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize class ids, depths or a bool mask (..., H, W) to `size`, with the value at each pixel's centre.

    Where a centre lies between two source pixels, the pixel below or to the right is taken. The result holds
    no new values, because a mean over the edge of an object is not a depth of the scene. The indices are
    integers, so that the result is exact for any id and size, and on devices without float64.
    """
    if ids.shape[-2:] == size:
        return ids
    rows, columns = (
        (2 * torch.arange(new, device=ids.device) + 1) * old // (2 * new)
        for new, old in zip(size, ids.shape[-2:], strict=True)
    )
    return ids.index_select(-2, rows).index_select(-1, columns)


def reaching_the_corner(mask: Tensor) -> Tensor:
    """Return a mask (B, H, W) that also covers all that lies above and to the left of what it covers.

    Some detectors take the first row and column of a mask for the size of the image, because Transformers
    pads below and to the right alone. Where an image lies elsewhere, they would divide by a size of 0.
    """
    for axis in (1, 2):
        mask = mask.flip(axis).cummax(axis).values.flip(axis)
    return mask


def align_to_coarser(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Bring two maps (B, C_s, h, w) and (B, C_t, h', w') to the smaller height and width of the two.

    The finer map is averaged over the cells of the coarser grid, so that every fine pixel counts, and no
    detail appears that a network did not compute.
    """
    size = (min(student.shape[-2], teacher.shape[-2]), min(student.shape[-1], teacher.shape[-1]))
    return _average_to(student, size), _average_to(teacher, size)


def at_least(size: torch.Size | tuple[int, int], minimum: int) -> tuple[int, int]:
    """Return the height and the width, with each side raised to `minimum` where it is smaller."""
    height, width = size
    return max(int(height), minimum), max(int(width), minimum)


def _average_to(features: Tensor, size: tuple[int, int]) -> Tensor:
    return features if features.shape[-2:] == size else F.adaptive_avg_pool2d(features, size)
