"""Predictions side by side with the image and its label, as one PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from hf_structkd.report._figure import PAGE_WIDTH, new_figure, save_png
from hf_structkd.report._palette import class_palette

_IGNORED_RGB = ((0, 0, 0), (150, 150, 150))
_IGNORED_STRIPES = 24
_LEGEND_COLUMNS = 6
# Inches: around a picture, a line of text, a line of the legend, an entry in it, each letter of the entry.
_PADDING = 0.1
_TEXT_LINE = 0.24
_LEGEND_LINE = 0.19
_LEGEND_ENTRY = 0.7
_LETTER = 0.075
# What a round trip through the normalisation may add to an image in [0, 1].
_IMAGE_TOLERANCE = 1e-3


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


def image_grid(
    images: Sequence[Sequence[NDArray[np.uint8]]],
    *,
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]],
    extra_height: float = 0.0,
) -> Figure:
    """A figure of (H, W, 3) pictures: titles above the columns, a caption below each picture.

    Args:
        images: rows of pictures, each row as long as `column_titles`.
        column_titles: one for each column.
        captions: one for each picture, empty for none.
        extra_height: inches to leave for a legend.
    """
    columns = len(column_titles)
    ratios = [max(image.shape[0] / image.shape[1] for image in row) for row in images]
    picture_width = PAGE_WIDTH / columns - _PADDING
    height = picture_width * sum(ratios) + _TEXT_LINE * (len(images) + 1) + extra_height
    figure = new_figure(PAGE_WIDTH, height)
    grid = figure.add_gridspec(len(images), columns, height_ratios=ratios)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(captions[i][j], fontsize=9, parse_math=False)
            if i == 0:
                axes.set_title(column_titles[j], fontsize=10.5, parse_math=False)
    return figure


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
    _check_rows(rows)
    pictures = [
        _checked_picture(row, f"rows[{i}]", len(class_names), ignore_index) for i, row in enumerate(rows)
    ]
    legend = [
        Patch(facecolor=tuple(colours[c] / 255), label=class_names[c])
        for c in sorted(set().union(*(picture.classes() for picture in pictures)))
    ]
    if not all(picture.valid.all() for picture in pictures):
        legend.append(_ignored_patch())
    longest = max(len(str(patch.get_label())) for patch in legend)
    columns = max(1, min(_LEGEND_COLUMNS, int(PAGE_WIDTH / (_LEGEND_ENTRY + _LETTER * longest))))
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
        extra_height=_LEGEND_LINE * (math.ceil(len(legend) / columns) + 2),
    )
    box = figure.legend(
        handles=legend,
        title="mean IoU: on this picture, over the classes in its label or the prediction",
        title_fontsize=9,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    for text in box.get_texts():
        text.set_parse_math(False)
    return figure


def _check_rows(rows: Sequence[PredictionRow]) -> None:
    if not rows:
        raise ValueError("`rows` must hold at least one picture, got none; pass a list of PredictionRow.")
    names = list(rows[0].predictions)
    for index, row in enumerate(rows):
        if not row.predictions:
            raise ValueError(
                f"`rows[{index}].predictions` must hold at least one prediction, got none; "
                "pass {name of the model: class ids}."
            )
        if list(row.predictions) != names:
            raise ValueError(
                f"`rows[{index}].predictions` must have the columns {names} of the first row, "
                f"got {list(row.predictions)}; give every row the same models in the same order."
            )


def _checked_picture(row: PredictionRow, where: str, n_classes: int, ignore_index: int) -> _Picture:
    image = _checked_image(row.image, f"{where}.image")
    label = _checked_map(row.label, f"{where}.label", image.shape[:2])
    valid = label != ignore_index
    _check_ids(label[valid], f"{where}.label", n_classes)
    predictions = {}
    for name, ids in row.predictions.items():
        predictions[name] = _checked_map(ids, f"{where}.predictions[{name!r}]", image.shape[:2])
        _check_ids(predictions[name], f"{where}.predictions[{name!r}]", n_classes)
    return _Picture(image, label, valid, predictions)


def _checked_image(image: ArrayLike, where: str) -> NDArray[np.uint8]:
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"`{where}` must have shape (H, W, 3), got {array.shape}; move the channels to the last axis."
        )
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"`{where}` must be uint8 or floats in [0, 1], got {array.dtype}; convert it.")
    low, high = float(array.min()), float(array.max())
    if not (low >= -_IMAGE_TOLERANCE and high <= 1 + _IMAGE_TOLERANCE):
        raise ValueError(
            f"`{where}` must lie in [0, 1], got values from {low:.3g} to {high:.3g}; "
            "undo the image processor's normalisation first."
        )
    return np.asarray(np.rint(array.clip(0, 1) * 255), dtype=np.uint8)


def _checked_map(ids: ArrayLike, where: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = np.asarray(ids)
    if array.shape != shape:
        raise ValueError(
            f"`{where}` must have the image's shape {shape}, got {array.shape}; resize it to the image first."
        )
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
    rows, columns = np.indices(picture.label.shape)
    width = max(1, max(picture.label.shape) // _IGNORED_STRIPES)
    stripes = np.array(_IGNORED_RGB, dtype=np.uint8)[(rows + columns) // width % 2]
    return np.where(picture.valid[..., None], painted, stripes)


def _ignored_patch() -> Patch:
    black, grey = ((r / 255, g / 255, b / 255) for r, g, b in _IGNORED_RGB)
    return Patch(facecolor=black, edgecolor=grey, linewidth=0, hatch="/////", label="ignored, not scored")


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
