"""What a detector found, in the form in which transformers' post-processing returns it."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig

from ..features.forward import Batch
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


def _sizes(batch: Batch) -> list[Tensor]:
    """Return the size (2,), height and width, of which each image's boxes are shares."""
    images, labels, masks = batch["pixel_values"], batch.get("labels"), batch.get("pixel_mask")
    if labels is None:
        return [torch.tensor(images.shape[-2:])] * len(images)
    return [canvas_size(own, None if masks is None else masks[i]) for i, own in enumerate(labels)]
