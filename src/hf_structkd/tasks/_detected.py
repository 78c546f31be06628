"""What a detector found, in the form in which transformers' post-processing returns it."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig

from ..features.forward import Batch
from ..losses import DetectionHead, box_corners, boxes_from_corners, foreground_probabilities, pairwise_iou
from ..metrics import canvas_size, decode_detections
from .detectors import DetectionQueries, detection_head, final_queries


def detected_boxes(output: Any, config: PretrainedConfig, batch: Batch) -> list[dict[str, NDArray[Any]]]:
    """Return each image's detections, best first, without those of score 0.

    Args:
        output: A detector's output, or its queries.
        config: The detector's configuration.
        batch: What it was shown.

    Returns:
        One dict for each image of "scores" (N,), "labels" (N,) and "boxes" (N, 4), the corners x1, y1, x2, y2
        in pixels of the original image where there are labels (see `canvas_size`), otherwise in pixels of
        `pixel_values`.
    """
    queries = output if isinstance(output, DetectionQueries) else final_queries(output, config)
    head = detection_head(config, queries.logits)
    detections = decode_detections(queries.logits, queries.boxes, head=head)
    found = []
    for scores, classes, boxes, size in zip(*detections, _sizes(batch), strict=True):
        scale = size.to(boxes).flip(0).repeat(2)  # width, height, width, height
        values = {"scores": scores, "labels": classes, "boxes": boxes * scale}
        found.append({name: value[scores > 0].cpu().numpy() for name, value in values.items()})
    return found


def confident_boxes(
    queries: DetectionQueries, head: DetectionHead, *, threshold: float, max_overlap: float = 0.5
) -> list[dict[str, Tensor]]:
    """Return what a detector is sure of, as labels from which a student can learn.

    Each query is one box of its most likely class. Of two boxes of one class that overlap by more than
    `max_overlap`, the less likely one is left out.

    Args:
        queries: The detector's queries, of a teacher over the student's classes (see `Task.as_student`).
        head: The kind of their class scores.
        threshold: The probability from which a box counts, 0 to 1.
        max_overlap: The largest intersection over union, 0 to 1.

    Returns:
        One dict for each image of `class_labels` (N,) and `boxes` (N, 4), cx, cy, w, h in shares of the image
        and cut at its borders, the most likely first; N may be 0.

    Raises:
        ValueError: If a setting is out of its range.
    """
    for name, value in (("threshold", threshold), ("max_overlap", max_overlap)):
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}` must lie in [0, 1], got {value}; 0.5 is usual.")
    scores, classes = foreground_probabilities(queries.logits.float(), head).max(dim=-1)
    corners = box_corners(queries.boxes.float()).clamp(0, 1)
    found = []
    for likely, labels, boxes in zip(scores, classes, corners, strict=True):
        sure = (likely >= threshold) & (boxes[:, 2:] > boxes[:, :2]).all(dim=-1)
        order = likely.masked_fill(~sure, -1).argsort(descending=True, stable=True)[: int(sure.sum())]
        labels, boxes = labels[order], boxes[order]
        same = labels[:, None] == labels
        kept = _without_overlaps(same & (pairwise_iou(boxes[None], boxes[None])[0] > max_overlap))
        found.append({"class_labels": labels[kept], "boxes": boxes_from_corners(boxes[kept])})
    return found


def _without_overlaps(overlap: Tensor) -> Tensor:
    """Return which of N boxes stay, (N,), where none overlaps one before it that stays, by (N, N)."""
    overlapping, kept = overlap.cpu(), torch.zeros(len(overlap), dtype=torch.bool)
    for index in range(len(kept)):
        kept[index] = not bool((overlapping[index] & kept).any())
    return kept.to(overlap.device)


def _sizes(batch: Batch) -> list[Tensor]:
    """Return the size (2,), height and width, of which each image's boxes are shares."""
    images, labels, masks = batch["pixel_values"], batch.get("labels"), batch.get("pixel_mask")
    if labels is None:
        return [torch.tensor(images.shape[-2:])] * len(images)
    return [canvas_size(own, None if masks is None else masks[i]) for i, own in enumerate(labels)]
