"""What the tasks that predict a map of the image share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..features.forward import Batch, Forward
from ..matching.alignment import align_to_coarser, resize_ids, resize_map
from .base import MapPair


def captured_pairs(student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
    """Return the captured maps of the two models, each pair at the coarser of its grids; padding is masked.

    Raises:
        ValueError: If the models have different numbers of maps.
    """
    if len(student.features) != len(teacher.features):
        raise ValueError(
            f"`student_feature` and `teacher_feature` must name equally many modules, got maps of "
            f"{len(student.features)} and {len(teacher.features)}; name one of the teacher for each of the "
            "student."
        )
    pairs = zip(student.features, teacher.features, strict=True)
    return [_aligned(*pair, batch) for pair in pairs]


def _aligned(student: Tensor, teacher: Tensor, batch: Batch) -> MapPair:
    student, teacher = align_to_coarser(student, teacher)
    return MapPair(student, teacher, padding_mask(batch, (student.shape[-2], student.shape[-1])))


def padding_mask(batch: Batch, size: tuple[int, int]) -> Tensor | None:
    """Return the batch's `pixel_mask` at `size`, True on the image, or None where nothing is padded.

    Image processors make masks of integers, 1 on the image.
    """
    mask: Tensor | None = batch.get("pixel_mask")
    return None if mask is None else resize_ids(mask, size).bool()


def on_image(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Return the maps (B, C, h, w) with 0 on padding; a product would let a NaN there survive."""
    return maps if mask is None else torch.where(mask.unsqueeze(1), maps, 0)


def at_image_sizes(maps: Tensor, batch: Batch) -> Iterator[Tensor]:
    """Yield each map (C, h, w) at its label's own size, or without labels at the size of `pixel_values`."""
    labels = batch.get("labels")
    for index, one in enumerate(maps.float()):
        given = batch["pixel_values"] if labels is None else labels[index]
        yield resize_map(one[None], (given.shape[-2], given.shape[-1]))[0]


def by_label_size(maps: Tensor, labels: Tensor | Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of predicted maps and labels of one size: one pair, or one for each image of a list.

    Without gradients there is one pair for each image too: enlarged logits of a whole batch take gigabytes.
    """
    if isinstance(labels, Tensor) and torch.is_grad_enabled():
        return [(maps, labels)]
    return [(maps[i : i + 1], one[None]) for i, one in enumerate(labels)]
