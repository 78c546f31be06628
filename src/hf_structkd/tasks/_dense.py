"""What the tasks that predict a map of the image share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..features.forward import Batch, Forward
from ..matching.alignment import align_to_coarser, resize_ids
from .base import FeaturePair


def captured_pair(student: Forward, teacher: Forward, batch: Batch) -> FeaturePair:
    """The two captured feature maps at the coarser of their grids; padding does not count."""
    student_map, teacher_map = align_to_coarser(student.features[-1], teacher.features[-1])
    mask = padding_mask(batch, (student_map.shape[-2], student_map.shape[-1]))
    return FeaturePair(student_map, teacher_map, mask)


def padding_mask(batch: Batch, size: tuple[int, int]) -> Tensor | None:
    """The batch's `pixel_mask` at `size`, True on the image; None where nothing was padded."""
    mask: Tensor | None = batch.get("pixel_mask")
    return None if mask is None else resize_ids(mask, size)


def on_image(maps: Tensor, mask: Tensor | None) -> Tensor:
    """The maps (B, C, h, w), 0 on padding; by choice, not by a product, which a NaN there would survive."""
    return maps if mask is None else torch.where(mask.unsqueeze(1), maps, 0)


def by_label_size(maps: Tensor, labels: Tensor | Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of predicted maps and stacked labels of one size: one pair, or one for each image of a list."""
    if isinstance(labels, Tensor):
        return [(maps, labels)]
    return [(maps[i : i + 1], one[None]) for i, one in enumerate(labels)]
