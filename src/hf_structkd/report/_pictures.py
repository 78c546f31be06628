"""What the figures of predictions share: the grid of pictures, and checks of what goes into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ._figure import PAGE_WIDTH, new_figure

Rgb = tuple[int, int, int]

_STRIPES = 24
# Inches: around a picture, a line of text.
_PADDING = 0.1
_TEXT_LINE = 0.24
# What a round trip through the normalisation may add to an image in [0, 1].
_IMAGE_TOLERANCE = 1e-3


def image_grid(
    images: Sequence[Sequence[NDArray[np.uint8] | None]],
    *,
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]],
    extra_height: float = 0.0,
) -> Figure:
    """A figure of (H, W, 3) pictures: titles above the columns, a caption below each picture.

    Args:
        images: rows of pictures, each row as long as `column_titles`; None leaves its place empty.
        column_titles: one for each column.
        captions: one for each place, empty for none.
        extra_height: inches to leave for a legend.
    """
    columns = len(column_titles)
    ratios = [max(image.shape[0] / image.shape[1] for image in row if image is not None) for row in images]
    picture_width = PAGE_WIDTH / columns - _PADDING
    text_lines = 1 + sum(any(row) for row in captions)
    height = picture_width * sum(ratios) + _TEXT_LINE * text_lines + extra_height
    figure = new_figure(PAGE_WIDTH, height)
    grid = figure.add_gridspec(len(images), columns, height_ratios=ratios)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            if image is None:
                axes.set_axis_off()
                continue
            axes.imshow(image, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(captions[i][j], fontsize=9, parse_math=False)
            if i == 0:
                axes.set_title(column_titles[j], fontsize=10.5, parse_math=False)
    return figure


def check_predictions(predictions: Sequence[Mapping[str, object]]) -> None:
    """Raise `ValueError` unless every row holds the same models' predictions, at least one, in one order."""
    if not predictions:
        raise ValueError("`rows` must hold at least one picture, got none; pass a list of them.")
    names = list(predictions[0])
    for index, row in enumerate(predictions):
        if not row:
            raise ValueError(
                f"`rows[{index}].predictions` must hold at least one prediction, got none; "
                "pass {name of the model: its prediction}."
            )
        if list(row) != names:
            raise ValueError(
                f"`rows[{index}].predictions` must have the columns {names} of the first row, "
                f"got {list(row)}; give every row the same models in the same order."
            )


def checked_image(image: ArrayLike, where: str) -> NDArray[np.uint8]:
    """The image as uint8; `ValueError` for another shape, type or range."""
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


def check_shape(array: NDArray[np.generic], where: str, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` for a map that does not lie on the image's pixels."""
    if array.shape != shape:
        raise ValueError(
            f"`{where}` must have the image's shape {shape}, got {array.shape}; resize it to the image first."
        )


def stripes(shape: tuple[int, ...], colours: tuple[Rgb, Rgb]) -> NDArray[np.uint8]:
    """(H, W, 3) of slanting stripes, which no palette and no colour map can hold."""
    rows, columns = np.indices(shape)
    width = max(1, max(shape) // _STRIPES)
    painted: NDArray[np.uint8] = np.array(colours, dtype=np.uint8)[(rows + columns) // width % 2]
    return painted


def stripes_patch(colours: tuple[Rgb, Rgb], label: str) -> Patch:
    """The legend's entry for `stripes`."""
    face, edge = ((r / 255, g / 255, b / 255) for r, g, b in colours)
    return Patch(facecolor=face, edgecolor=edge, linewidth=0, hatch="/////", label=label)
