"""Decoding of a detector's raw outputs into scored boxes."""

from __future__ import annotations

from typing import NamedTuple, get_args

from torch import Tensor

from ..losses.boxes import box_corners
from ..losses.detection_heads import DetectionHead


class Detections(NamedTuple):
    """The detections of a batch, best first: scores (B, M), labels (B, M), boxes (B, M, 4)."""

    scores: Tensor
    labels: Tensor
    boxes: Tensor


def decode_detections(
    logits: Tensor, boxes: Tensor, *, head: DetectionHead, max_detections: int = 100
) -> Detections:
    """Decode a detector's outputs as the `post_process_object_detection` of its family does.

    The last channel of a "softmax" head (DETR, Table Transformer, YOLOS) means "no object"; each query is one
    detection of the most likely other class. A "sigmoid" head (Conditional, Deformable and RT-DETR, D-FINE
    and relatives) scores each class alone; each pair of query and class is a detection, so that one query may
    give several. No detection is dropped for a low score or for an overlap with another.

    Args:
        logits: Raw class scores.
        boxes: Centre x, centre y, width and height, normalised to [0, 1].
        head: The kind of class scores, "softmax" or "sigmoid".
        max_detections: How many detections are kept of each image; they are the best ones. Detections with
            equal scores stay in the order of queries for "softmax" and in that of `torch.topk` for "sigmoid".

    Shape:
        logits (B, Q, K + 1) for "softmax", (B, Q, K) for "sigmoid"; boxes (B, Q, 4). M is the smaller of
        `max_detections` and Q (softmax) or Q * K (sigmoid).

    Returns:
        Scores in [0, 1], class ids and normalised corners x1, y1, x2, y2. Scores and corners are float32
        without gradient.

    Raises:
        ValueError: If a shape is wrong, the head is unknown, or `max_detections` is below 1.

    Example:
        >>> logits, boxes = torch.tensor([[[4.0, 0.0, 0.0]]]), torch.tensor([[[0.5, 0.5, 1.0, 1.0]]])
        >>> decode_detections(logits, boxes, head="softmax").labels
        tensor([[0]])
    """
    _check_outputs(logits, boxes, head, max_detections)
    logits = logits.detach().float()
    if head == "softmax":
        best, classes = logits.softmax(dim=-1)[..., :-1].max(dim=-1)
        scores, queries = best.sort(dim=1, descending=True, stable=True)
        scores, queries = scores[:, :max_detections], queries[:, :max_detections]
        labels = classes.gather(1, queries)
    else:
        flat = logits.sigmoid().flatten(1)
        scores, pairs = flat.topk(min(max_detections, flat.shape[1]), dim=1)
        queries, labels = pairs // logits.shape[2], pairs % logits.shape[2]
    chosen = boxes.detach().float().gather(1, queries.unsqueeze(-1).expand(-1, -1, 4))
    return Detections(scores, labels, box_corners(chosen))


def _check_outputs(logits: Tensor, boxes: Tensor, head: str, max_detections: int) -> None:
    if head not in get_args(DetectionHead):
        raise ValueError(
            f"`head` must be one of {get_args(DetectionHead)}, got {head!r}; a head with a 'no object' class "
            "is 'softmax'."
        )
    if max_detections < 1:
        raise ValueError(f"`max_detections` must be at least 1, got {max_detections}; COCO's is 100.")
    fewest = 2 if head == "softmax" else 1
    if logits.dim() != 3 or logits.shape[2] < fewest:
        raise ValueError(
            f"`logits` of a {head} head must have shape (B, Q, C) with C at least {fewest}, got "
            f"{tuple(logits.shape)}; pass the class scores of every query."
        )
    if tuple(boxes.shape) != (*logits.shape[:2], 4):
        raise ValueError(
            f"`boxes` must have shape {(*logits.shape[:2], 4)} beside these `logits`, got "
            f"{tuple(boxes.shape)}; pass the boxes of the same queries."
        )
