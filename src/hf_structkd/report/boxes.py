"""Draws predicted boxes beside the ground truth into one PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._boxes import DrawnBox, box_styles, draw_boxes
from ._figure import add_legend_below, save_png
from ._pictures import PictureRow, check_class_ids, checked_images, image_grid


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
    path: str | Path,
    *,
    class_names: Sequence[str],
    score_threshold: float = 0.5,
) -> Path:
    """Draw a row for each picture: the true boxes, then the boxes that each model predicts.

    Each class has a colour and a pattern of dashes; the patterns of the first six classes of the figure
    differ. The label of a box shows its class, and its score if the box is predicted. Labels do not overlap:
    the detection with the highest score is labelled first, and a label without room is cut to its score or
    left out. The caption of a picture counts the boxes that are drawn, or gives the highest score.

    Args:
        rows: The pictures; all must have predictions of the same models in the same order, with scores.
        path: File to write; must end in `.png`. Missing folders are created, an existing file is replaced.
        class_names: Name of each class id; the legend shows the classes that are drawn.
        score_threshold: Lowest score of a detection that is drawn, 0 to 1; the figure states it.

    Returns:
        `path`.

    Raises:
        ValueError: If there are no rows or no predictions, rows differ in their predictions, shapes differ,
            an image or a score leaves its range, a drawn box has no finite, ordered corners, a class id has
            no name, a prediction has no scores, the truth has scores, or `path` does not end in `.png`.
        TypeError: If labels are no integers.

    Example:
        >>> found = Boxes(corners=[[4, 8, 60, 70]], labels=[0], scores=[0.87])  # doctest: +SKIP
        >>> row = PictureRow(image, truth, {"distilled": found})  # doctest: +SKIP
        >>> plot_boxes([row], "predictions.png", class_names=["apple"])  # doctest: +SKIP
    """
    if not 0 <= score_threshold <= 1:
        raise ValueError(
            f"`score_threshold` must lie between 0 and 1, got {score_threshold}; 0 draws every detection."
        )
    images = checked_images(rows)
    panels = [
        _checked_panels(row, f"rows[{i}]", image.shape[:2], len(class_names), score_threshold)
        for i, (row, image) in enumerate(zip(rows, images, strict=True))
    ]
    drawn = [panel for line in panels for panel in line]
    figure = image_grid(
        [[image] * len(line) for image, line in zip(images, panels, strict=True)],
        column_titles=["ground truth", *rows[0].predictions],
        captions=[[panel.caption for panel in line] for line in panels],
    )
    styles = box_styles({box.label for panel in drawn for box in panel.boxes}, class_names)
    note = (
        f"Drawn are detections with a score of at least {score_threshold:g}.\n"
        "Where labels would overlap, the less sure one is cut to its score or left out."
    )
    add_legend_below(figure, [style.legend_line() for style in styles.values()], note)
    # The room for a label depends on the size of its picture on the page, which this call fixes.
    figure.draw_without_rendering()
    for axes, panel in zip(figure.axes, drawn, strict=True):
        # Without interpolation, a photograph that is drawn smaller gets jagged edges.
        axes.images[0].set_interpolation("auto")
        draw_boxes(axes, panel.boxes, styles)
    return save_png(figure, path)


class _Panel(NamedTuple):
    """The boxes of one picture, the highest score first, and the caption below it."""

    boxes: list[DrawnBox]
    caption: str


def _checked_panels(
    row: PictureRow[Boxes], where: str, size: tuple[int, ...], n_classes: int, threshold: float
) -> list[_Panel]:
    if row.truth.scores is not None:
        raise ValueError(
            f"`{where}.truth.scores` must be None, got scores; pass predictions as `predictions`."
        )
    truth = _checked_boxes(row.truth, f"{where}.truth", size, n_classes, threshold)
    panels = [_Panel(truth, _counted(len(truth), "object"))]
    for name, found in row.predictions.items():
        at = f"{where}.predictions[{name!r}]"
        if found.scores is None:
            raise ValueError(f"`{at}.scores` must hold a score for each box, got None; pass the model's.")
        boxes = _checked_boxes(found, at, size, n_classes, threshold)
        panels.append(_Panel(boxes, _caption(len(boxes), np.asarray(found.scores), threshold)))
    return panels


def _checked_boxes(
    boxes: Boxes, where: str, size: tuple[int, ...], n_classes: int, threshold: float
) -> list[DrawnBox]:
    """Return the boxes that are drawn, the highest score first, cut at the edges of the picture."""
    corners, labels = np.asarray(boxes.corners, dtype=np.float64), np.asarray(boxes.labels)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(
            f"`{where}.corners` must have shape (N, 4), got {corners.shape}; "
            "where there is no box, pass an empty array of shape (0, 4)."
        )
    _check_length(labels, f"{where}.labels", len(corners))
    if labels.size:  # numpy makes an empty list an array of floats
        check_class_ids(labels, f"{where}.labels", n_classes)
    drawn = np.arange(len(corners))
    scores: list[float] | list[None] = [None] * len(corners)
    if boxes.scores is not None:
        values = _checked_scores(boxes.scores, f"{where}.scores", len(corners))
        order = np.argsort(-values, kind="stable")
        drawn, scores = order[values[order] >= threshold], values.tolist()
    for i in drawn:
        left, top, right, bottom = corners[i]
        if not (np.isfinite(corners[i]).all() and left <= right and top <= bottom):
            raise ValueError(
                f"`{where}.corners` must hold finite left <= right and top <= bottom, got "
                f"{corners[i].tolist()} for box {i}; convert from x, y, width, height first."
            )
    height, width = size
    inside = corners.clip(0, (width, height, width, height))
    return [DrawnBox(tuple(inside[i].tolist()), int(labels[i]), scores[i]) for i in drawn]


def _check_length(values: NDArray[np.generic], where: str, n: int) -> None:
    if values.shape != (n,):
        raise ValueError(f"`{where}` must have shape ({n},), got {values.shape}; give every box one.")


def _checked_scores(scores: ArrayLike, where: str, n: int) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    _check_length(values, where, n)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"`{where}` must lie in [0, 1], got values from {values.min():.3g} to {values.max():.3g}; "
            "apply the model's softmax or sigmoid first."
        )
    return values


def _caption(drawn: int, scores: NDArray[np.float64], threshold: float) -> str:
    if drawn:
        return f"{_counted(drawn, 'detection')} ≥ {threshold:g}"
    if scores.size == 0:
        return "no detections"
    # The score is rounded down, because a score that is rounded up could equal the threshold that it missed.
    return f"none ≥ {threshold:g}, highest {math.floor(100 * scores.max()) / 100:.2f}"


def _counted(n: int, noun: str) -> str:
    return f"{n or 'no'} {noun}{'' if n == 1 else 's'}"
