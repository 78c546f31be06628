"""What the tasks hand to the figures: maps on the pixels of their labels, boxes, scores of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..matching.alignment import resize_map
from ..metrics._detections import DETECTION, TRUTH
from ..metrics._targets import canvas_size
from ..report import Boxes, Exhibit, PictureRow


def picture_rows(
    exhibit: Exhibit, maps: Mapping[str, Tensor], read: Callable[[Tensor], Tensor]
) -> list[PictureRow[ArrayLike]]:
    """Lay every model's maps on the pixels of each image's label, for a figure.

    Args:
        exhibit: The images and their labels.
        maps: Name of the model -> what it predicted (B, C, h, w).
        read: Turns one image's map (C, H, W), at its label's size, into what is drawn (H, W).
    """
    rows = []
    for i, label in enumerate(exhibit.batch["labels"]):
        size = (label.shape[-2], label.shape[-1])
        predictions = {
            name: read(resize_map(of_batch[i : i + 1], size)[0]).cpu().numpy()
            for name, of_batch in maps.items()
        }
        rows.append(PictureRow(exhibit.picture(i, size), label.cpu().numpy(), predictions))
    return rows


def box_rows(exhibit: Exhibit, statistics: Mapping[str, Tensor]) -> list[PictureRow[Boxes]]:
    """Lay every model's boxes on the pixels of each original image, for a figure.

    Args:
        exhibit: The images; their labels tell the `canvas_size`.
        statistics: Name of the model -> rows (B, R, 7) of true and detected boxes, see `metrics`.
    """
    found = {name: of_batch.cpu().numpy() for name, of_batch in statistics.items()}
    rows, masks = [], exhibit.batch.get("pixel_mask")
    for i, labels in enumerate(exhibit.batch["labels"]):
        canvas = canvas_size(labels, None if masks is None else masks[i])
        height, width = (round(side) for side in canvas.tolist())
        # Every model's rows hold the same truth.
        truth = _boxes(next(iter(found.values()))[i], TRUTH)
        predictions = {name: _boxes(of_batch[i], DETECTION) for name, of_batch in found.items()}
        rows.append(PictureRow(exhibit.picture(i, (height, width)), truth, predictions))
    return rows


def _boxes(rows: NDArray[np.float32], kind: int) -> Boxes:
    rows = rows[rows[:, 0] == kind]
    return Boxes(rows[:, 3:], rows[:, 1].astype(np.int64), rows[:, 2] if kind == DETECTION else None)


def class_scores(scores: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, dict[str, float]]:
    """Return, for each model, the scores whose key has the prefix, by the name of the class behind it."""
    return {
        model: {key.removeprefix(prefix): score for key, score in of_model.items() if key.startswith(prefix)}
        for model, of_model in scores.items()
    }
