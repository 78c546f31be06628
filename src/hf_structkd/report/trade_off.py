"""Draws what models are worth against what they cost into one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from ._figure import new_figure, save, tidy
from ._palette import RUN_COLOURS

_WIDTH, _HEIGHT = 7.0, 4.5
# From this ratio of the slowest to the fastest model the axis is logarithmic.
_WIDE = 5.0


class Point(NamedTuple):
    """One model.

    Attributes:
        name: Name in the figure.
        quality: Its score.
        milliseconds: Median, low and high end of its time for one image.
        parameters: Number of parameters, which is the area of its disc.
    """

    name: str
    quality: float
    milliseconds: tuple[float, float, float]
    parameters: int


def plot_trade_off(
    points: Sequence[Point], path: Path, *, label: str, higher_is_better: bool, note: str = ""
) -> None:
    """Draw a disc for each model, time to the right and quality upwards, and join those that none beats.

    A model is beaten by one that is at least as good and as fast, and better in one of the two. The axis of
    an error is turned, so that better is always up.

    Args:
        points: The models.
        path: File to write. Missing folders are created, an existing file is replaced.
        label: Name of the score.
        higher_is_better: False if the score is an error.
        note: How the times were measured; it stands below the figure.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    largest = max(point.parameters for point in points)
    best = sorted(unbeaten(points, higher_is_better=higher_is_better), key=lambda one: one.milliseconds[0])
    axes.plot(
        [one.milliseconds[0] for one in best],
        [one.quality for one in best],
        color="0.6",
        linewidth=1,
        linestyle=(0, (4, 2)),
        zorder=1,
    )
    for place, point in enumerate(points):
        _draw(axes, point, RUN_COLOURS[place % len(RUN_COLOURS)], area=40 + 360 * point.parameters / largest)
    _scale(axes, points)
    axes.set_ylabel(f"{label} ({'higher' if higher_is_better else 'lower'} is better)", fontsize=10)
    if not higher_is_better:
        axes.invert_yaxis()
    axes.margins(x=0.18, y=0.2)
    tidy(axes, "both")
    title = "area: parameters; dashed: the models that no other beats in both"
    figure.suptitle(title, fontsize=9, color="0.35")
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    save(figure, path)


def unbeaten(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """Return the models that no other beats in quality and time."""
    sign = 1 if higher_is_better else -1
    return [
        one
        for one in points
        if not any(
            sign * other.quality >= sign * one.quality
            and other.milliseconds[0] <= one.milliseconds[0]
            and (other.quality, other.milliseconds[0]) != (one.quality, one.milliseconds[0])
            for other in points
        )
    ]


def _draw(axes: Axes, point: Point, colour: str, *, area: float) -> None:
    middle, low, high = point.milliseconds
    axes.plot([low, high], [point.quality] * 2, color=colour, linewidth=1.5, alpha=0.6, zorder=2)
    axes.scatter([middle], [point.quality], s=area, color=colour, edgecolors="white", zorder=3)
    axes.annotate(
        point.name,
        (middle, point.quality),
        xytext=(0, 6 + area**0.5 / 2),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        parse_math=False,
    )


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    times = [point.milliseconds[0] for point in points]
    axes.set_xlabel("milliseconds an image (lower is better); bar: 10 % to 90 % of the passes", fontsize=10)
    if max(times) > _WIDE * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
