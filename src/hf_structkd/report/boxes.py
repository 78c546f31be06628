"""Draws predicted boxes beside the ground truth into one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ._boxes import DrawnBox, box_styles, draw_boxes
from ._figure import add_legend_below, save
from ._pictures import PictureRow, checked_images, image_grid


@dataclass(frozen=True, eq=False)
class Boxes:
    """The true or predicted objects of one picture.

    Attributes:
        corners: (N, 4) left, top, right, bottom in pixels of the picture, whose upper left corner is (0, 0)
            and whose lower right corner is (W, H). Boxes are cut at the edges of the picture.
        labels: (N,) class ids.
        scores: (N,) from 0 to 1 for a prediction; None for the ground truth.
    """

    corners: ArrayLike
    labels: ArrayLike
    scores: ArrayLike | None = None


def plot_boxes(
    rows: Sequence[PictureRow[Boxes]],
    path: Path,
    *,
    class_names: Sequence[str],
    score_threshold: float = 0.5,
    truth: str | None = None,
) -> None:
    """Draw a row for each picture: the true boxes, then the boxes that each model predicts.

    Each class has a colour and a pattern of dashes; the patterns of the first six classes of the figure
    differ. The label of a box shows its class, and its score if the box is predicted. Labels do not overlap:
    the detection with the highest score is labelled first, and a label without room is cut to its score or
    left out. The caption of a picture counts the boxes that are drawn, or gives the highest score.

    Args:
        rows: The pictures; all must have predictions of the same models in the same order, with scores.
        path: File to write. Missing folders are created, an existing file is replaced.
        class_names: Name of each class id; the legend shows the classes that are drawn.
        score_threshold: Lowest score of a detection that is drawn, 0 to 1; the figure states it.
        truth: Title of the true boxes, where they are none; None is "ground truth".

    Raises:
        ValueError: If there are no rows or no predictions, rows differ in their predictions, or an image
            leaves its range.

    Example:
        >>> found = Boxes(corners=[[4, 8, 60, 70]], labels=[0], scores=[0.87])  # doctest: +SKIP
        >>> row = PictureRow(image, truth, {"distilled": found})  # doctest: +SKIP
        >>> plot_boxes([row], Path("predictions.png"), class_names=["apple"])  # doctest: +SKIP
    """
    pictures, captions, drawn = [], [], []
    for image, row in zip(checked_images(rows), rows, strict=True):
        found = [row.truth, *row.predictions.values()]
        of_row = [drawn_boxes(boxes, image.shape[:2], score_threshold) for boxes in found]
        pictures.append([image] * len(found))
        captions.append(
            [_caption(len(shown), one, score_threshold) for shown, one in zip(of_row, found, strict=True)]
        )
        drawn += of_row
    titles = [truth or "ground truth", *rows[0].predictions]
    figure = image_grid(pictures, column_titles=titles, captions=captions)
    styles = box_styles({box.label for boxes in drawn for box in boxes}, class_names)
    note = (
        f"Drawn are detections with a score of at least {score_threshold:g}.\n"
        "Where labels would overlap, the less sure one is cut to its score or left out."
    )
    lines = [Line2D([], [], color=one.colour, label=one.name, **one.line) for one in styles.values()]
    add_legend_below(figure, lines, note)
    # The room for a label depends on the size of its picture on the page, which this call fixes.
    figure.draw_without_rendering()
    for axes, boxes in zip(figure.axes, drawn, strict=True):
        # Without interpolation, a photograph that is drawn smaller gets jagged edges.
        axes.images[0].set_interpolation("auto")
        draw_boxes(axes, boxes, styles)
    save(figure, path)


def drawn_boxes(boxes: Boxes, size: tuple[int, ...], threshold: float) -> list[DrawnBox]:
    """Return the boxes that are drawn, the highest score first, cut at the edges of the picture."""
    height, width = size
    inside = np.asarray(boxes.corners, dtype=np.float64).clip(0, (width, height, width, height)).tolist()
    labels = np.asarray(boxes.labels, dtype=np.int64).tolist()
    if boxes.scores is None:
        return [DrawnBox(tuple(corners), label, None) for corners, label in zip(inside, labels, strict=True)]
    scores = np.asarray(boxes.scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    return [DrawnBox(tuple(inside[i]), labels[i], float(scores[i])) for i in order if scores[i] >= threshold]


def _caption(drawn: int, boxes: Boxes, threshold: float) -> str:
    if boxes.scores is None:
        return _counted(drawn, "object")
    if drawn:
        return f"{_counted(drawn, 'detection')} ≥ {threshold:g}"
    scores = np.asarray(boxes.scores)
    if scores.size == 0:
        return "no detections"
    # The score is rounded down, because a score that is rounded up could equal the threshold that it missed.
    return f"none ≥ {threshold:g}, highest {math.floor(100 * scores.max()) / 100:.2f}"


def _counted(n: int, noun: str) -> str:
    return f"{n or 'no'} {noun}{'' if n == 1 else 's'}"
