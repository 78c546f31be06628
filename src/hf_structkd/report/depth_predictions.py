"""Predicted depth side by side with the image and the ground truth, and where it is wrong, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ._figure import save_png
from ._pictures import check_predictions, check_shape, checked_image, image_grid, stripes, stripes_patch

_GREYS = ((115, 115, 115), (160, 160, 160))
# Shares in per cent of the true depths, and of the errors, between which colours differ.
_DEPTH_PERCENTILES = (2, 98)
_ERROR_PERCENTILE = 98
# An error of 100 % is what a prediction of 0 m makes; below 1 % the eye would be shown noise.
_ERROR_TOP = (1.0, 100.0)
_ARROWS: dict[tuple[bool, bool], Literal["neither", "min", "max", "both"]] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
# Half the range in metres that the depth bar has at least.
_NARROWEST = 0.05
_NOTE = (
    "AbsRel: mean of |prediction − truth| / truth on this picture.\n"
    "Beyond the arrow of a bar, all values have the colour of its end."
)
# How many times longer than high a bar as wide as the page is.
_BAR_ASPECT = 70
# Inches: both colour bars with their ticks and labels, the legend and the note.
_BARS = 0.6
_LEGEND = 0.55


@dataclass(frozen=True, eq=False)
class DepthPredictionRow:
    """One picture and what each model made of it.

    Attributes:
        image: (H, W, 3), floats in [0, 1] or uint8; undo the normalisation of `pixel_values` first.
        depth: (H, W) ground truth in metres; 0, negative or not finite where nothing was measured.
        predictions: name of the model -> (H, W) metres, in the order of the columns.
    """

    image: ArrayLike
    depth: ArrayLike
    predictions: Mapping[str, ArrayLike]


def plot_depth_predictions(rows: Sequence[DepthPredictionRow], path: str | Path) -> Path:
    """Draw two rows a picture: image, ground truth and every model's depth; below each depth its error.

    All depths of the figure share one colour scale, from the 2nd to the 98th percentile of its ground truth,
    and all errors another, from 0 to the 98th percentile of them all, at least 1 % and at most 100 %. What
    lies beyond a scale has the colour of its end, and the bar ends in an arrow there. Under each prediction's
    error stands its AbsRel on that picture: the mean of |prediction - truth| / truth over the measured
    pixels. Holes in the ground truth are striped in grey, there and in the errors; so is a prediction where
    it is not finite, which counts as an infinite error.

    Args:
        rows: the pictures; all must hold the same predictions in the same order.
        path: where to write; must end in `.png`. Missing folders are made, an existing file is replaced.

    Returns:
        `path`.

    Raises:
        ValueError: if there are no rows or no predictions, rows differ in their predictions, shapes differ,
            an image leaves its range, or `path` is no `.png`.
        TypeError: if a depth does not hold floats.

    Example:
        >>> row = DepthPredictionRow(image, depth, {"distilled": by_student})  # doctest: +SKIP
        >>> plot_depth_predictions([row], "predictions.png")  # doctest: +SKIP
    """
    return save_png(_build_figure(rows), path)


@dataclass(frozen=True, eq=False)
class _Picture:
    """A checked row: NaN where there is no depth. Errors in %, inf where only the prediction is none."""

    image: NDArray[np.uint8]
    depth: NDArray[np.float64]
    predictions: dict[str, NDArray[np.float64]]
    errors: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Scale:
    """What colour a value has."""

    colours: str
    low: float
    high: float

    def paint(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """(H, W) -> (H, W, 3); a value beyond an end has that end's colour, NaN has stripes."""
        inside = np.where(np.isnan(values), self.low, values).clip(self.low, self.high)
        painted = colormaps[self.colours](Normalize(self.low, self.high)(inside), bytes=True)[..., :3]
        return np.where(np.isnan(values)[..., None], stripes(values.shape, _GREYS), painted)

    def draw_bar(
        self, figure: Figure, axes: Sequence[Axes], values: NDArray[np.float64], label: str, aspect: float
    ) -> None:
        """A bar below the axes, with an arrow at each end that one of the values passes."""
        passes = bool((values < self.low).any()), bool((values > self.high).any())
        bar = figure.colorbar(
            ScalarMappable(Normalize(self.low, self.high), self.colours),
            ax=axes,
            location="bottom",
            extend=_ARROWS[passes],
            aspect=aspect,
            extendfrac=1.5 / aspect,
        )
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8.5)


def _build_figure(rows: Sequence[DepthPredictionRow]) -> Figure:
    check_predictions([row.predictions for row in rows])
    pictures = [_checked_picture(row, f"rows[{i}]") for i, row in enumerate(rows)]
    depths = [[picture.depth, *picture.predictions.values()] for picture in pictures]
    errors = [list(picture.errors.values()) for picture in pictures]
    depth_scale, error_scale = _depth_scale(depths), _error_scale(errors)
    names = list(rows[0].predictions)
    images: list[list[NDArray[np.uint8] | None]] = []
    captions = []
    for picture, depth_row, error_row in zip(pictures, depths, errors, strict=True):
        images += [[picture.image, *map(depth_scale.paint, depth_row)]]
        images += [[None, None, *map(error_scale.paint, error_row)]]
        captions += [[""] * (2 + len(names)), ["", "", *map(_caption, error_row)]]
    figure = image_grid(
        images,
        column_titles=["image", "ground truth", *names],
        captions=captions,
        extra_height=_BARS + _LEGEND,
    )
    last = figure.axes[-len(images[0]) :]
    for axes in figure.axes[len(images[0]) + 1 :: 2 * len(images[0])]:
        axes.text(1.0, 0.5, "error of the\nprediction above", fontsize=9, ha="right", va="center")
    aspect = _BAR_ASPECT / len(last)  # of one column
    depth_scale.draw_bar(figure, last[:2], _joined(depths), "depth in metres (bright is near)", 2 * aspect)
    error_scale.draw_bar(
        figure, last[2:], _joined(errors), "error in % of the truth (dark is wrong)", len(names) * aspect
    )
    _draw_legend(figure, pictures)
    return figure


def _draw_legend(figure: Figure, pictures: Sequence[_Picture]) -> None:
    striped = []
    if any(np.isnan(picture.depth).any() for picture in pictures):
        striped.append("no ground truth, not scored")
    if any(np.isnan(depth).any() for picture in pictures for depth in picture.predictions.values()):
        striped.append("prediction not finite")
    figure.legend(
        handles=[stripes_patch(_GREYS, " or ".join(striped))] if striped else [],
        title=_NOTE,
        title_fontsize=9,
        loc="outside lower center",
        frameon=False,
        fontsize=9,
    )


def _checked_picture(row: DepthPredictionRow, where: str) -> _Picture:
    image = checked_image(row.image, f"{where}.image")
    depth = _checked_map(row.depth, f"{where}.depth", image.shape[:2])
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    predictions, errors = {}, {}
    for name, values in row.predictions.items():
        prediction = _checked_map(values, f"{where}.predictions[{name!r}]", image.shape[:2])
        prediction = np.where(np.isfinite(prediction), prediction, np.nan)
        error = 100 * np.abs(prediction - depth) / depth
        predictions[name] = prediction
        errors[name] = np.where(np.isnan(prediction) & ~np.isnan(depth), np.inf, error)
    return _Picture(image, depth, predictions, errors)


def _checked_map(values: ArrayLike, where: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(values)
    check_shape(array, where, shape)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"`{where}` must hold metres as floats, got {array.dtype}; divide by the file's units in a metre."
        )
    return array.astype(np.float64)


def _depth_scale(depths: Sequence[Sequence[NDArray[np.float64]]]) -> _Scale:
    """From the ground truth alone, so that no model's outliers hide the others; without any, from all."""
    truths = np.concatenate([row[0].ravel() for row in depths])
    measured = truths[~np.isnan(truths)]
    if measured.size == 0:
        values = _joined(depths)
        measured = values[~np.isnan(values)]
    low, high = np.percentile(measured, _DEPTH_PERCENTILES) if measured.size else (0.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) / 2, _NARROWEST)
    return _Scale("viridis_r", float(middle - half), float(middle + half))


def _error_scale(errors: Sequence[Sequence[NDArray[np.float64]]]) -> _Scale:
    values = _joined(errors)
    values = values[np.isfinite(values)]
    top = np.percentile(values, _ERROR_PERCENTILE) if values.size else 0.0
    return _Scale("magma_r", 0.0, float(np.clip(top, *_ERROR_TOP)))


def _joined(maps: Sequence[Sequence[NDArray[np.float64]]]) -> NDArray[np.float64]:
    return np.concatenate([one.ravel() for row in maps for one in row])


def _caption(error: NDArray[np.float64]) -> str:
    scored = error[~np.isnan(error)]
    if scored.size == 0:
        return "AbsRel n/a (no truth)"
    mean = scored.mean()
    return f"AbsRel {mean:.1f} %" if np.isfinite(mean) else "AbsRel n/a (not finite)"
