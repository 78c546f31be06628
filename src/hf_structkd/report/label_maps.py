"""Draws maps of class ids beside the image and the label into one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ._figure import add_legend_below, save_png
from ._palette import class_palette
from ._pictures import (
    PictureRow,
    check_class_ids,
    check_map,
    checked_images,
    image_grid,
    stripes,
    stripes_patch,
)

_IGNORED = ((0, 0, 0), (150, 150, 150))
_TITLE = "mean IoU: on this picture, over the classes in its label or the prediction"


def plot_label_maps(
    rows: Sequence[PictureRow[ArrayLike]],
    path: str | Path,
    *,
    class_names: Sequence[str],
    ignore_index: int = 255,
) -> Path:
    """Draw a row for each picture: image, label, and every prediction with its mean IoU on that picture.

    The mean IoU of a picture is taken over the classes that its label or the prediction contains, without
    ignored pixels. The label shows ignored pixels as stripes; predictions are drawn there too.

    Args:
        rows: The pictures; all must have predictions of the same models in the same order. Truth and
            predictions are (H, W) class ids; the truth may also hold `ignore_index`.
        path: File to write; must end in `.png`. Missing folders are created, an existing file is replaced.
        class_names: Name of each class id; the legend shows the classes that occur.
        ignore_index: Label of the pixels that are not scored.

    Returns:
        `path`.

    Raises:
        ValueError: If there are no rows or no predictions, rows differ in their predictions, shapes differ,
            an image leaves its range, a class id has no name, there are more than 256 classes, or `path` does
            not end in `.png`.
        TypeError: If the truth or a prediction does not hold integers.

    Example:
        >>> row = PictureRow(image, label, {"distilled": by_student})  # doctest: +SKIP
        >>> plot_label_maps([row], "predictions.png", class_names=names)  # doctest: +SKIP
    """
    colours = class_palette(len(class_names))
    images = checked_images(rows)
    maps = [
        _checked_maps(row, f"rows[{i}]", image.shape[:2], len(class_names), ignore_index)
        for i, (row, image) in enumerate(zip(rows, images, strict=True))
    ]
    figure = image_grid(
        [
            [image, _paint_label(label, valid, colours), *(colours[ids] for ids in predictions)]
            for image, (label, valid, predictions) in zip(images, maps, strict=True)
        ],
        column_titles=["image", "label", *rows[0].predictions],
        captions=[
            ["", "", *(_caption(label[valid], ids[valid]) for ids in predictions)]
            for label, valid, predictions in maps
        ],
    )
    shown = np.unique(
        np.concatenate([ids.ravel() for m in maps for ids in (m.label[m.valid], *m.predictions)])
    )
    handles = [Patch(facecolor=tuple(colours[c] / 255), label=class_names[c]) for c in shown]
    if not all(one.valid.all() for one in maps):
        handles.append(stripes_patch(_IGNORED, "ignored, not scored"))
    add_legend_below(figure, handles, _TITLE)
    return save_png(figure, path)


class _Maps(NamedTuple):
    """The checked maps of a row; `valid` is True where the label counts."""

    label: NDArray[np.int64]
    valid: NDArray[np.bool_]
    predictions: list[NDArray[np.int64]]


def _checked_maps(
    row: PictureRow[ArrayLike], where: str, shape: tuple[int, ...], n_classes: int, ignore_index: int
) -> _Maps:
    label = np.asarray(row.truth)
    check_map(label, f"{where}.truth", shape)
    valid = label != ignore_index
    check_class_ids(label[valid], f"{where}.truth", n_classes)
    predictions = {name: np.asarray(ids) for name, ids in row.predictions.items()}
    for name, ids in predictions.items():
        check_map(ids, f"{where}.predictions[{name!r}]", shape)
        check_class_ids(ids, f"{where}.predictions[{name!r}]", n_classes)
    return _Maps(label, valid, list(predictions.values()))


def _paint_label(
    label: NDArray[np.int64], valid: NDArray[np.bool_], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Colour the classes and stripe the ignored pixels."""
    return np.where(valid[..., None], colours[np.where(valid, label, 0)], stripes(label.shape, _IGNORED))


def _caption(label: NDArray[np.int64], prediction: NDArray[np.int64]) -> str:
    sides = [(label == c, prediction == c) for c in np.union1d(label, prediction)]
    if not sides:
        return "mean IoU n/a (all ignored)"
    return f"mean IoU {np.mean([(true & found).sum() / (true | found).sum() for true, found in sides]):.2f}"
