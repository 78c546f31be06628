"""What a detection batch must hold of the boxes to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..metrics._targets import crowds


def boxes_to_find(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what the student's own loss reads, without crowds, whose single objects nobody has drawn."""
    crowd = crowds(labels)
    kept = slice(None) if crowd is None else ~crowd
    return {key: labels[key][kept] for key in ("class_labels", "boxes")}


def check_box_labels(labels: Any, num_labels: int, where: str) -> None:
    """Raise `ValueError` unless the labels of one image are boxes of known classes.

    Args:
        labels: A dict with `class_labels` (N,) int64 and `boxes` (N, 4), or whatever came in its place.
        num_labels: How many classes the student has.
        where: What the message calls the image.
    """
    if not isinstance(labels, Mapping) or not {"class_labels", "boxes"} <= labels.keys():
        given = sorted(labels) if isinstance(labels, Mapping) else type(labels).__name__
        raise ValueError(
            f"`labels` must be dicts with `class_labels` and `boxes`, got {given} in {where}; load the data "
            "with `load_detection_data`."
        )
    classes, boxes = labels["class_labels"], labels["boxes"]
    if boxes.shape != (len(classes), 4):
        raise ValueError(
            f"`boxes` must have shape ({len(classes)}, 4), one for each of `class_labels`, got "
            f"{tuple(boxes.shape)} in {where}; use an empty (0, 4) where there is none."
        )
    if classes.dtype != torch.long or not boxes.is_floating_point():
        raise ValueError(
            f"`class_labels` must be int64 and `boxes` floating point, got {classes.dtype} and {boxes.dtype} "
            f"in {where}; convert them with `.long()` and `.float()`."
        )
    wrong = (classes < 0) | (classes >= num_labels)
    if wrong.any():
        raise ValueError(
            f"`class_labels` must lie in [0, {num_labels}), got {int(classes[wrong][0])} in {where}; correct "
            "the data or the student's `id2label`."
        )
    if not ((boxes >= 0) & (boxes <= 1)).all():  # NaN is in neither
        raise ValueError(
            f"`boxes` must be cx, cy, w, h in [0, 1], shares of the image's sides, got "
            f"{boxes[((boxes < 0) | (boxes > 1) | boxes.isnan()).any(dim=1)][0].tolist()} in {where}."
        )
