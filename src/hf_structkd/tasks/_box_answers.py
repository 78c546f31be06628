"""A teacher's boxes in place of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..features.forward import Batch
from ..losses import DetectionHead, boxes_from_corners, pairwise_iou
from ..metrics import decode_detections
from .detectors import DetectionQueries

# Of two boxes of one class that overlap more, the surer one counts.
_SAME_OBJECT = 0.5


def checked_threshold(score: float | None) -> float | None:
    """Return `pseudo_label_threshold`, or raise `ValueError` if it is no score above 0."""
    if score is not None and not 0 < score <= 1:
        raise ValueError(f"`pseudo_label_threshold` must lie in (0, 1], got {score}; 0.7 is usual.")
    return score


def confident_boxes(
    queries: DetectionQueries, head: DetectionHead, threshold: float
) -> list[dict[str, Tensor]]:
    """Return for each image the boxes of at least a score, as `class_labels` (N,) and `boxes` (N, 4).

    Boxes are cut at the edges of the image; of those of one class that overlap, the surest is kept.
    """
    found = []
    for scores, classes, corners in zip(*decode_detections(*queries, head=head), strict=True):
        corners = corners.clamp(0, 1)
        has_area = (corners[:, 2:] > corners[:, :2]).all(dim=1)
        sure = (scores >= threshold) & has_area
        classes, corners = classes[sure], corners[sure]
        kept = _without_duplicates(classes, corners)
        found.append({"class_labels": classes[kept], "boxes": boxes_from_corners(corners[kept])})
    return found


def _without_duplicates(classes: Tensor, corners: Tensor) -> Tensor:
    """Return which boxes, best first, no better box of their class covers, (N,) bool."""
    overlaps = pairwise_iou(corners[None], corners[None])[0] > _SAME_OBJECT
    clashes = (overlaps & (classes[:, None] == classes)).triu(diagonal=1)
    kept = torch.ones_like(classes, dtype=torch.bool)
    for better in range(len(classes)):
        if kept[better]:
            kept &= ~clashes[better]
    return kept


def with_boxes(labels: Mapping[str, Any], found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the labels of an image with other boxes, none of which is a crowd."""
    return {name: value for name, value in labels.items() if name not in ("crowd", "iscrowd")} | {**found}


def filled_in(batch: Batch, found: list[dict[str, Tensor]]) -> Batch:
    """Return a batch in which the boxes found stand in for missing labels.

    An image without a label in which nothing is found stays without one: nothing says that it is empty.
    """
    marks = zip(batch["labeled"].tolist(), found, strict=True)
    is_new = [not labeled and len(boxes["boxes"]) > 0 for labeled, boxes in marks]
    rows = zip(batch["labels"], found, is_new, strict=True)
    return {
        **batch,
        "labels": [with_boxes(labels, boxes) if new else labels for labels, boxes, new in rows],
        "labeled": batch["labeled"] | torch.tensor(is_new, device=batch["labeled"].device),
    }
