"""Draws depth maps and their errors beside the image and the ground truth into one PNG."""

from __future__ import annotations

from collections.abc import Sequence
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

from ._figure import add_legend_below, save
from ._pictures import PictureRow, checked_images, image_grid, stripes, stripes_patch

GREYS = ((115, 115, 115), (160, 160, 160))
# The colour scales end at these percentiles of the true depths and of the errors.
_DEPTH_PERCENTILES = (2, 98)
_ERROR_PERCENTILE = 98
# The error scale ends between 1 % and 100 %: a shorter one would show noise, and a prediction of 0 m has an
# error of 100 %.
_ERROR_TOP = (1.0, 100.0)
_ARROWS: tuple[Literal["neither", "min", "max", "both"], ...] = ("neither", "min", "max", "both")
# The depth scale covers at least twice so many metres.
_NARROWEST = 0.05
_NOTE = (
    "AbsRel: mean of |prediction − truth| / truth on this picture.\n"
    "Beyond the arrow of a bar, all values have the colour of its end."
)
# A bar as wide as the page is 70 times as long as high; both bars and their labels are 0.75 inches high.
_BAR_ASPECT = 70
_BARS = 0.75

Map = NDArray[np.float64]


def plot_depth_maps(
    rows: Sequence[PictureRow[ArrayLike]], path: Path, *, truth: str | None = None, unit: str = "metres"
) -> None:
    """Draw two rows for each picture: image, ground truth and predicted depths; below them the errors.

    All depths share one colour scale, from the 2nd to the 98th percentile of the ground truth. All errors
    share another, from 0 to their 98th percentile, which is at least 1 % and at most 100 %. Values beyond a
    scale have the colour of its end, where the bar then has an arrow. The caption of an error is the AbsRel
    of the prediction on that picture, the mean of |prediction - truth| / truth over the measured pixels.
    Pixels without ground truth have grey stripes in the truth and in the errors. A prediction has stripes
    where it is not finite, and its error counts as infinite there.

    Args:
        rows: The pictures; all must have predictions of the same models in the same order. Truth and
            predictions are (H, W) in metres; the truth is 0, negative or not finite where it is unknown.
        path: File to write. Missing folders are created, an existing file is replaced.
        truth: Title of the true depth, where it is none; None is "ground truth".
        unit: What a depth of 1 is.

    Raises:
        ValueError: If there are no rows or no predictions, rows differ in their predictions, or an image
            leaves its range.

    Example:
        >>> row = PictureRow(image, depth, {"distilled": by_student})  # doctest: +SKIP
        >>> plot_depth_maps([row], Path("predictions.png"))  # doctest: +SKIP
    """
    images = checked_images(rows)
    # Depths of truth and predictions (NaN: unknown), and errors in % (inf: only the prediction is NaN).
    maps = [[known_depth(values) for values in (row.truth, *row.predictions.values())] for row in rows]
    for true, *_ in maps:
        true[true <= 0] = np.nan
    errors_of = [[100 * error_of(true, depth) / true for depth in found] for true, *found in maps]
    truths = np.concatenate([true.ravel() for true, *_ in maps])
    depths = np.concatenate([depth.ravel() for of_row in maps for depth in of_row])
    errors = np.concatenate([error.ravel() for of_row in errors_of for error in of_row])
    depth_scale, error_scale = scale_of_depth(truths, depths), scale_of_errors(errors, _ERROR_TOP)
    names = list(rows[0].predictions)
    columns = 2 + len(names)
    pictures: list[list[NDArray[np.uint8] | None]] = []
    captions = []
    for image, of_row, wrong in zip(images, maps, errors_of, strict=True):
        pictures += [[image, *map(depth_scale.paint, of_row)]]
        pictures += [[None, None, *map(error_scale.paint, wrong)]]
        captions += [[""] * columns, ["", "", *map(_caption, wrong)]]
    figure = image_grid(pictures, column_titles=["image", truth or "ground truth", *names], captions=captions)
    figure.set_figheight(figure.get_figheight() + _BARS)
    for axes in figure.axes[columns + 1 :: 2 * columns]:
        axes.text(1.0, 0.5, "error of the\nprediction above", fontsize=9, ha="right", va="center")
    last, aspect = figure.axes[-columns:], _BAR_ASPECT / columns  # of a bar below one column
    depth_scale.draw_bar(figure, last[:2], depths, f"depth in {unit} (bright is near)", 2 * aspect)
    error_label = "error in % of the truth (dark is wrong)"
    error_scale.draw_bar(figure, last[2:], errors, error_label, len(names) * aspect)
    striped = []
    if np.isnan(truths).any():
        striped.append("no ground truth, not scored")
    if any(np.isnan(values).any() for _, *found in maps for values in found):
        striped.append("prediction not finite")
    add_legend_below(figure, [stripes_patch(GREYS, " or ".join(striped))] if striped else [], _NOTE)
    # The first layout does not know the shapes of the pictures and cuts the titles; saving lays out again.
    figure.draw_without_rendering()
    save(figure, path)


@dataclass(frozen=True)
class Scale:
    """A colour map and the values at its two ends."""

    colours: str
    low: float
    high: float

    def paint(self, values: Map) -> NDArray[np.uint8]:
        """Return the colours (H, W, 3) of values (H, W), with stripes for NaN."""
        inside = np.where(np.isnan(values), self.low, values).clip(self.low, self.high)
        painted = colormaps[self.colours](Normalize(self.low, self.high)(inside), bytes=True)[..., :3]
        return np.where(np.isnan(values)[..., None], stripes(values.shape, GREYS), painted)

    def draw_bar(self, figure: Figure, axes: Sequence[Axes], values: Map, label: str, aspect: float) -> None:
        """Draw a bar below the axes, with an arrow at each end that a value exceeds."""
        arrows = _ARROWS[int((values < self.low).any()) + 2 * int((values > self.high).any())]
        bar = figure.colorbar(
            ScalarMappable(Normalize(self.low, self.high), self.colours),
            ax=axes,
            location="bottom",
            extend=arrows,
            aspect=aspect,
            extendfrac=1.5 / aspect,
        )
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=8.5)


def known_depth(values: ArrayLike) -> Map:
    """Return depths with NaN where they are not finite."""
    depth = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(depth), depth, np.nan)


def error_of(truth: Map, prediction: Map) -> Map:
    """Return |prediction - truth|, infinite where only the prediction is NaN, and NaN without truth."""
    return np.where(np.isnan(prediction) & ~np.isnan(truth), np.inf, np.abs(prediction - truth))


def scale_of_depth(truths: Map, depths: Map) -> Scale:
    """Return the scale of the truth, which no outlier of a model widens; without truth, of all depths."""
    known = truths[~np.isnan(truths)]
    if known.size == 0:
        known = depths[~np.isnan(depths)]
    low, high = np.percentile(known, _DEPTH_PERCENTILES) if known.size else (0.0, 1.0)
    middle, half = (low + high) / 2, max((high - low) / 2, _NARROWEST)
    return Scale("viridis_r", float(middle - half), float(middle + half))


def scale_of_errors(errors: Map, limits: tuple[float, float]) -> Scale:
    """Return a scale from 0 to what only outliers exceed, where that lies between two limits."""
    errors = errors[np.isfinite(errors)]
    top = np.percentile(errors, _ERROR_PERCENTILE) if errors.size else 0.0
    return Scale("magma_r", 0.0, float(np.clip(top, *limits)))


def _caption(error: Map) -> str:
    scored = error[~np.isnan(error)]
    if scored.size == 0:
        return "AbsRel n/a (no truth)"
    mean = scored.mean()
    return f"AbsRel {mean:.1f} %" if np.isfinite(mean) else "AbsRel n/a (not finite)"
