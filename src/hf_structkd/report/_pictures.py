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
        image: (H, W, 3), floats in [0, 1]; undo the normalisation of `pixel_values` first.
        truth: Annotation, in the form that the plotting function asks for.
        predictions: Name of the model -> its prediction in the same form, in the order of the columns.
    """

    image: ArrayLike
    truth: Content
    predictions: Mapping[str, Content]


def checked_images(rows: Sequence[PictureRow[Any]]) -> list[NDArray[np.uint8]]:
    """Return the images; raise `ValueError` for values out of range, and if rows differ in their models."""
    columns = [list(row.predictions) for row in rows]
    if not columns or not columns[0] or any(names != columns[0] for names in columns):
        raise ValueError(
            "every one of `rows` must have predictions of the same models in the same order, got rows of "
            f"{columns}; pass at least one row and one model."
        )
    images = []
    for index, row in enumerate(rows):
        image = np.asarray(row.image)
        low, high = float(image.min()), float(image.max())
        if not (low >= -_IMAGE_TOLERANCE and high <= 1 + _IMAGE_TOLERANCE):
            raise ValueError(
                f"`rows[{index}].image` must lie in [0, 1], got values from {low:.3g} to {high:.3g}; "
                "undo the image processor's normalisation first."
            )
        images.append(np.asarray(np.rint(image.clip(0, 1) * 255), dtype=np.uint8))
    return images


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
