"""Predictions side by side with the image and its label, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ._figure import save_png
from ._legend import draw_legend, legend_height
from ._palette import class_palette
from ._pictures import check_predictions, check_shape, checked_image, image_grid, stripes, stripes_patch

_IGNORED = ((0, 0, 0), (150, 150, 150))
_TITLE = "mean IoU: on this picture, over the classes in its label or the prediction"


@dataclass(frozen=True, eq=False)
class PredictionRow:
    """One picture and what each model made of it.

    Attributes:
        image: (H, W, 3), floats in [0, 1] or uint8; undo the normalisation of `pixel_values` first.
        label: (H, W) class ids, or `ignore_index`.
        predictions: name of the model -> (H, W) class ids, in the order of the columns.
    """

    image: ArrayLike
    label: ArrayLike
    predictions: Mapping[str, ArrayLike]


def plot_segmentation_predictions(
    rows: Sequence[PredictionRow],
    path: str | Path,
    *,
    class_names: Sequence[str],
    palette: ArrayLike | None = None,
    ignore_index: int = 255,
) -> Path:
    """Draw one row a picture: image, label, then every model's prediction with its mean IoU on that picture.

    The mean IoU of a picture runs over the classes that its label or the prediction contains, and leaves
    ignored pixels out. They are striped in the label; predictions are drawn there too, as they came.

    Args:
        rows: the pictures; all must hold the same predictions in the same order.
        path: where to write; must end in `.png`. Missing folders are made, an existing file is replaced.
        class_names: name of each class id; the legend shows those that occur.
        palette: (K, 3) colours of 0 to 255, at least one for each class; default `class_palette`.
        ignore_index: the label of pixels that count for nothing.

    Returns:
        `path`.

    Raises:
        ValueError: if there are no rows or no predictions, rows differ in their predictions, shapes differ,
            an image leaves its range, a class id has no name, the palette is short, or `path` is no `.png`.
        TypeError: if a label or a prediction does not hold integers.

    Example:
        >>> row = PredictionRow(image, label, {"distilled": by_student})  # doctest: +SKIP
        >>> plot_segmentation_predictions([row], "predictions.png", class_names=names)  # doctest: +SKIP
    """
    figure = _build_figure(rows, class_names=class_names, palette=palette, ignore_index=ignore_index)
    return save_png(figure, path)


@dataclass(frozen=True, eq=False)
class _Picture:
    """A checked row, as arrays. `valid` is True where the label counts."""

    image: NDArray[np.uint8]
    label: NDArray[np.int64]
    valid: NDArray[np.bool_]
    predictions: dict[str, NDArray[np.int64]]

    def classes(self) -> set[int]:
        maps = [self.label[self.valid], *self.predictions.values()]
        return {int(c) for ids in maps for c in np.unique(ids)}


def _build_figure(
    rows: Sequence[PredictionRow],
    *,
    class_names: Sequence[str],
    palette: ArrayLike | None,
    ignore_index: int,
) -> Figure:
    colours = _checked_palette(palette, len(class_names))
    check_predictions([row.predictions for row in rows])
    pictures = [
        _checked_picture(row, f"rows[{i}]", len(class_names), ignore_index) for i, row in enumerate(rows)
    ]
    legend = [
        Patch(facecolor=tuple(colours[c] / 255), label=class_names[c])
        for c in sorted(set().union(*(picture.classes() for picture in pictures)))
    ]
    if not all(picture.valid.all() for picture in pictures):
        legend.append(stripes_patch(_IGNORED, "ignored, not scored"))
    figure = image_grid(
        [
            [
                picture.image,
                _paint_label(picture, colours),
                *(colours[prediction] for prediction in picture.predictions.values()),
            ]
            for picture in pictures
        ],
        column_titles=["image", "label", *rows[0].predictions],
        captions=[
            ["", "", *(_caption(picture, p) for p in picture.predictions.values())] for picture in pictures
        ],
        extra_height=legend_height(legend, _TITLE),
    )
    draw_legend(figure, legend, _TITLE)
    return figure


def _checked_picture(row: PredictionRow, where: str, n_classes: int, ignore_index: int) -> _Picture:
    image = checked_image(row.image, f"{where}.image")
    label = _checked_map(row.label, f"{where}.label", image.shape[:2])
    valid = label != ignore_index
    _check_ids(label[valid], f"{where}.label", n_classes)
    predictions = {}
    for name, ids in row.predictions.items():
        predictions[name] = _checked_map(ids, f"{where}.predictions[{name!r}]", image.shape[:2])
        _check_ids(predictions[name], f"{where}.predictions[{name!r}]", n_classes)
    return _Picture(image, label, valid, predictions)


def _checked_map(ids: ArrayLike, where: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = np.asarray(ids)
    check_shape(array, where, shape)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            f"`{where}` must hold integer class ids, got {array.dtype}; take the argmax of the logits."
        )
    return array.astype(np.int64)


def _check_ids(ids: NDArray[np.int64], where: str, n_classes: int) -> None:
    if ids.size and not (ids.min() >= 0 and ids.max() < n_classes):
        raise ValueError(
            f"`{where}` must hold class ids from 0 to {n_classes - 1}, got {ids.min()} to {ids.max()}; "
            "check `class_names` and `ignore_index`."
        )


def _checked_palette(palette: ArrayLike | None, n_classes: int) -> NDArray[np.uint8]:
    if palette is None:
        return class_palette(n_classes)
    array = np.asarray(palette)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) < n_classes:
        raise ValueError(
            f"`palette` must have shape (K, 3) with K at least {n_classes}, got {array.shape}; "
            "give every class a colour."
        )
    if not (np.issubdtype(array.dtype, np.integer) and array.min() >= 0 and array.max() <= 255):
        raise ValueError(
            f"`palette` must hold integers from 0 to 255, got {array.dtype} "
            f"from {array.min()} to {array.max()}; multiply fractions by 255."
        )
    return array.astype(np.uint8)


def _paint_label(picture: _Picture, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour the classes, and stripe the ignored pixels, whatever black may mean in the palette."""
    painted = colours[np.where(picture.valid, picture.label, 0)]
    return np.where(picture.valid[..., None], painted, stripes(picture.label.shape, _IGNORED))


def _caption(picture: _Picture, prediction: NDArray[np.int64]) -> str:
    score = _picture_mean_iou(picture.label[picture.valid], prediction[picture.valid])
    return "mean IoU n/a (all ignored)" if score is None else f"mean IoU {score:.2f}"


def _picture_mean_iou(label: NDArray[np.int64], prediction: NDArray[np.int64]) -> float | None:
    classes = np.union1d(label, prediction)
    if classes.size == 0:
        return None
    ious = []
    for c in classes:
        is_label, is_prediction = label == c, prediction == c
        ious.append((is_label & is_prediction).sum() / (is_label | is_prediction).sum())
    return float(np.mean(ious))
