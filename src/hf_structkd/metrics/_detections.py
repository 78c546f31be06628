"""Boxes as rows of seven numbers, and the COCO scores of the rows of one class."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from ..losses.boxes import box_corners
from ._streaming import PADDING
from ._targets import canvas_size, crowds

DETECTION_SCORES: tuple[str, ...] = (
    "map", "map_50", "map_75", "map_small", "map_medium", "map_large",
    "mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large",
)  # fmt: skip
"""Names of COCO's twelve scores, in the order in which its evaluator gives them."""

ROW_LENGTH = 7
"""A row holds kind, class, score, x1, y1, x2, y2; the corners are in pixels of the original image."""

TRUTH, DETECTION, CROWD = 0, 1, 2
"""The kinds of rows. A crowd is one box around many objects that have no boxes of their own."""

_logger = logging.getLogger(__name__)


def as_rows(kinds: Tensor, classes: Tensor, scores: Tensor, boxes: Tensor) -> Tensor:
    """Return rows (N, 7) float32 of kinds, classes and scores, all (N,), and corners (N, 4)."""
    return torch.cat([torch.stack([kinds, classes, scores], dim=1), boxes], dim=1).float()


def prediction_rows(prediction: Mapping[str, Any]) -> Tensor:
    """Return rows (N, 7) of one image's `boxes` (N, 4), `scores` (N,) and `labels` (N,)."""
    boxes, labels = _boxes_and_labels("predictions", prediction, ("boxes", "scores", "labels"))
    scores = torch.as_tensor(prediction["scores"], dtype=torch.float32, device="cpu")
    _check_length("predictions", "scores", scores, len(boxes))
    return as_rows(torch.full_like(scores, DETECTION), labels, scores, boxes)


def reference_rows(reference: Mapping[str, Any]) -> Tensor:
    """Return rows (N, 7) of one image's true `boxes` (N, 4), `labels` (N,) and optional `crowd` (N,).

    Labels of an image processor are converted, see `canvas_size`.
    """
    if "class_labels" in reference and "labels" not in reference:
        relative = torch.as_tensor(reference["boxes"], dtype=torch.float32, device="cpu").reshape(-1, 4)
        corners = box_corners(relative) * canvas_size(reference).cpu().flip(0).repeat(2)
        reference = {**reference, "boxes": corners, "labels": reference["class_labels"]}
    boxes, labels = _boxes_and_labels("references", reference, ("boxes", "labels"))
    crowd = crowds(reference)
    crowd = torch.zeros(len(boxes), dtype=torch.bool) if crowd is None else crowd.cpu()
    _check_length("references", "crowd", crowd, len(boxes))
    return as_rows(torch.where(crowd, CROWD, TRUTH), labels, torch.zeros(len(boxes)), boxes)


def _boxes_and_labels(what: str, image: Mapping[str, Any], needed: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    if not {*needed} <= {*image}:
        raise ValueError(
            f"each of `{what}` must have the keys {needed}, got {tuple(image)}; pass one dict per image."
        )
    boxes = torch.as_tensor(image["boxes"], dtype=torch.float32, device="cpu")
    if boxes.numel() == 0:
        boxes = boxes.reshape(0, 4)  # an empty list has no second axis
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"`boxes` of `{what}` must have shape (N, 4), got {tuple(boxes.shape)}; "
            "pass x1, y1, x2, y2 in pixels."
        )
    labels = torch.as_tensor(image["labels"], device="cpu")
    _check_length(what, "labels", labels, len(boxes))
    if labels.is_floating_point() and labels.numel() > 0:  # an empty list becomes floating point
        raise TypeError(f"`labels` of `{what}` must be integers, got {labels.dtype}; pass class ids.")
    return boxes, labels


def _check_length(what: str, name: str, values: Tensor, length: int) -> None:
    if tuple(values.shape) != (length,):
        raise ValueError(
            f"`{name}` of `{what}` must have shape ({length},), one entry per box, got "
            f"{tuple(values.shape)}; pass those of the same image."
        )


def check_rows(rows: Tensor, num_labels: int) -> None:
    """Reject rows (N, 7) that cannot be scored; padding must have been removed.

    Raises:
        ValueError: If a kind or a class is unknown, a value is not finite or a box has a negative side.
    """
    kinds, classes = rows[:, 0], rows[:, 1]
    unknown = ~torch.isin(kinds, torch.tensor([TRUTH, DETECTION, CROWD], dtype=kinds.dtype))
    if unknown.any():
        raise ValueError(
            f"the kind of a row must be {TRUTH} (truth), {DETECTION} (detection), {CROWD} (crowd) or "
            f"{PADDING} (padding), got {kinds[unknown][0]:g}; pass what `detection_statistics` returned."
        )
    if not rows.isfinite().all():
        values = rows[~rows.isfinite().all(dim=1)][0].tolist()
        raise ValueError(
            f"boxes and scores must be finite, got the row {values} of kind, class, score, x1, y1, x2, y2; "
            "look for where the model or the annotation became NaN or infinite."
        )
    outside = (classes < 0) | (classes >= num_labels)
    if outside.any():
        raise ValueError(
            f"every class must lie in [0, {num_labels}), got {classes[outside][0]:g}; check `id2label`, the "
            "kind of head, and whether the labels start at 1."
        )
    inverted = (rows[:, 5:] < rows[:, 3:5]).any(dim=1)
    if inverted.any():
        raise ValueError(
            f"boxes must have x1 <= x2 and y1 <= y2, got {rows[inverted][0, 3:].tolist()}; "
            "pass corners, not a centre or a size."
        )


def class_scores(rows: npt.NDArray[np.float32], images: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return the COCO scores of one class, in the order of `DETECTION_SCORES`.

    Args:
        rows: All rows of the class, (N, 7).
        images: The number of the image of each row, (N,).

    Returns:
        Twelve scores in [0, 1]. A score is NaN where there is no true object (of that size).
    """
    detected = rows[:, 0] == DETECTION
    if detected.all():
        return np.full(len(DETECTION_SCORES), np.nan)
    # An image without a row of the class does not influence the scores of the class.
    ids = [{"id": image} for image in np.unique(images).tolist()]
    truth, detections = (
        COCO({"images": ids, "categories": [{"id": 1}], "annotations": _annotations(rows[of], images[of])})
        for of in (~detected, detected)
    )
    # The default, `logger.info`, writes twelve lines for each class.
    evaluator = COCOeval_faster(truth, detections, "bbox", print_function=_logger.debug)
    evaluator.run()
    # COCO writes -1 where there is no true object.
    return np.where(evaluator.stats < 0, np.nan, evaluator.stats)


def _annotations(
    rows: npt.NDArray[np.float32], images: npt.NDArray[np.int32]
) -> list[dict[str, int | float | list[float]]]:
    """Return annotations for COCO; ids start at 1, because the evaluator takes 0 for "not matched"."""
    corners = rows[:, 3:].astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        {
            "id": index,
            "image_id": image,
            "category_id": 1,
            "iscrowd": int(kind == CROWD),
            "score": score,
            "bbox": box,
            "area": box[2] * box[3],
        }
        for index, (image, kind, score, box) in enumerate(
            zip(images.tolist(), rows[:, 0].tolist(), rows[:, 2].tolist(), boxes.tolist(), strict=True),
            start=1,
        )
    ]
