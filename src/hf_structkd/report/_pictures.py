"""The rows, the grid of pictures and the checks that all figures of predictions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ._figure import PAGE_WIDTH, new_figure

Rgb = tuple[int, int, int]
Content = TypeVar("Content")

_STRIPES = 24
# These lengths are in inches: the space around a picture, and the height of a line of text.
_PADDING = 0.1
_TEXT_LINE = 0.24
# Normalising an image and undoing it may move its values by so much out of [0, 1].
_IMAGE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class PictureRow(Generic[Content]):
    """One picture with its annotation and the prediction of each model.

    Attributes:
        image: (H, W, 3), floats in [0, 1] or uint8; undo the normalisation of `pixel_values` first.
        truth: Annotation, in the form that the plotting function asks for.
        predictions: Name of the model -> its prediction in the same form, in the order of the columns.
    """

    image: ArrayLike
    truth: Content
    predictions: Mapping[str, Content]


def checked_images(rows: Sequence[PictureRow[Any]]) -> list[NDArray[np.uint8]]:
    """Return the images; raise `ValueError` unless all rows have predictions of the same models."""
    if not rows:
        raise ValueError("`rows` must hold at least one picture, got none; pass a list of them.")
    names = list(rows[0].predictions)
    for index, row in enumerate(rows):
        if not row.predictions:
            raise ValueError(
                f"`rows[{index}].predictions` must hold at least one prediction, got none; "
                "pass {name of the model: its prediction}."
            )
        if list(row.predictions) != names:
            raise ValueError(
                f"`rows[{index}].predictions` must have the columns {names} of the first row, "
                f"got {list(row.predictions)}; give every row the same models in the same order."
            )
    return [_checked_image(row.image, f"rows[{i}].image") for i, row in enumerate(rows)]


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


def check_map(values: NDArray[Any], where: str, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` if the map does not have the image's shape."""
    if values.shape != shape:
        raise ValueError(
            f"`{where}` must have the image's shape {shape}, got {values.shape}; resize it to the image."
        )


def check_class_ids(ids: NDArray[Any], where: str, n_classes: int) -> None:
    """Raise `TypeError` if the ids are not integers, and `ValueError` if an id has no class."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(
            f"`{where}` must hold integer class ids, got {ids.dtype}; take the argmax of logits, or convert."
        )
    if ids.size and (ids.min() < 0 or ids.max() >= n_classes):
        raise ValueError(
            f"`{where}` must hold class ids from 0 to {n_classes - 1}, got {ids.min()} to {ids.max()}; "
            "check `class_names`, and `ignore_index` where there is one."
        )


def image_grid(
    images: Sequence[Sequence[NDArray[np.uint8] | None]],
    *,
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]],
) -> Figure:
    """Open a figure of pictures, with titles above the columns and a caption below each picture.

    Args:
        images: Rows of (H, W, 3) pictures, each row as long as `column_titles`; None leaves its place empty.
        column_titles: Title of each column.
        captions: Caption of each place; an empty one is not drawn.
    """
    columns = len(column_titles)
    ratios = [max(image.shape[0] / image.shape[1] for image in row if image is not None) for row in images]
    text_lines = 1 + sum(any(row) for row in captions)
    height = (PAGE_WIDTH / columns - _PADDING) * sum(ratios) + _TEXT_LINE * text_lines
    figure = new_figure(PAGE_WIDTH, height)
    grid = figure.subplots(len(images), columns, squeeze=False, height_ratios=ratios)
    for axes, image, caption in zip(grid.flat, chain(*images), chain(*captions), strict=True):
        if image is None:
            axes.set_axis_off()
            continue
        axes.imshow(image, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(caption, fontsize=9, parse_math=False)
    for axes, title in zip(grid[0], column_titles, strict=True):
        axes.set_title(title, fontsize=10.5, parse_math=False)
    return figure


def stripes(shape: tuple[int, ...], colours: tuple[Rgb, Rgb]) -> NDArray[np.uint8]:
    """Return slanting stripes (H, W, 3), which no reader takes for a class or a value."""
    rows, columns = np.indices(shape)
    width = max(1, max(shape) // _STRIPES)
    painted: NDArray[np.uint8] = np.array(colours, dtype=np.uint8)[(rows + columns) // width % 2]
    return painted


def stripes_patch(colours: tuple[Rgb, Rgb], label: str) -> Patch:
    """Return the legend entry of `stripes`."""
    face, edge = ((r / 255, g / 255, b / 255) for r, g, b in colours)
    return Patch(facecolor=face, edgecolor=edge, linewidth=0, hatch="/////", label=label)
