"""Draws the score of every class and model as bars into one PNG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ._figure import PAGE_WIDTH, add_legend, new_figure, save_png, tidy
from ._palette import RUN_COLOURS

# The figure is about the last model. The last and the one before it have the colours that `plot_curves` gives
# the distilled student and the student alone; hatches tell them apart without colours.
_STYLES = (
    (RUN_COLOURS[0], ""),
    (RUN_COLOURS[1], "////"),
    ("#BBBBBB", ""),
    (RUN_COLOURS[2], "...."),
    (RUN_COLOURS[3], "xxxx"),
    (RUN_COLOURS[4], ""),
)
# Up to so many classes stand in one column.
_ONE_COLUMN = 14
# A class name is broken into lines of so many letters, and cut after so many lines.
_NAME_WIDTH = 22
_NAME_LINES = 3
# These heights are in inches: a bar, a line of a name, the gap between two classes, and everything around the
# bars (axes with their labels, legend, note).
_BAR = 0.145
_NAME_LINE = 0.14
_GAP = 0.1
_SURROUNDINGS = 1.25
# The axis ends here, so that there is room for the value beside a bar of 1.
_RIGHT_END = 1.13


def plot_class_bars(
    scores: Mapping[str, Mapping[str, float]],
    path: str | Path,
    *,
    metric_label: str = "AP",
) -> Path:
    """Draw a group of bars for each class, one for each model, on a scale from 0 to 1.

    The classes come in the order of their names; more than 14 classes go into two columns, which are read
    downwards. The value of a bar stands beside it. Where a model has no value for a class, there is no bar
    but "n/a", because 0 would be a result.

    Args:
        scores: Name of the model -> name of the class -> its score from 0 to 1, or NaN for none. Every class
            that any of the models names is drawn.
        path: File to write; must end in `.png`. Missing folders are created, an existing file is replaced.
        metric_label: Name of the score for people.

    Returns:
        `path`.

    Raises:
        ValueError: If there is no model, there are more than six models, there is no class, a score lies
            outside 0 to 1, or `path` does not end in `.png`.

    Example:
        >>> scores = {"teacher": {"apple": 0.71}, "distilled": {"apple": 0.64}}  # doctest: +SKIP
        >>> plot_class_bars(scores, "classes.png")  # doctest: +SKIP
    """
    frame = _checked_frame(scores)
    columns = 1 if len(frame) <= _ONE_COLUMN else 2
    per_column = math.ceil(len(frame) / columns)
    names = [_tick_label(name) for name in frame.index]
    lines = max(name.count("\n") + 1 for name in names)
    row_height = max(_BAR * frame.shape[1], _NAME_LINE * lines) + _GAP
    figure = new_figure(PAGE_WIDTH, row_height * per_column + _SURROUNDINGS)
    for axes, start in zip(figure.subplots(1, columns, squeeze=False)[0], (0, per_column), strict=False):
        part = slice(start, start + per_column)
        _draw_panel(axes, frame[part], _BAR / row_height)
        axes.set_yticks(range(len(names[part])), names[part], fontsize=8.5, parse_math=False)
        # Every column has the same number of places, so that all bars have the same thickness.
        axes.set_ylim(per_column - 0.5, -0.5)
        axes.set_xlabel(f"{metric_label} (0 to 1, higher is better)", fontsize=8.5, parse_math=False)
    _explain(figure, frame)
    return save_png(figure, path)


def _checked_frame(scores: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return the scores with a row for each class, ordered by name, and a column for each model."""
    if not 1 <= len(scores) <= len(_STYLES):
        raise ValueError(
            f"`scores` must hold 1 to {len(_STYLES)} models, got {len(scores)}; "
            "pass {name of the model: {name of the class: score}}."
        )
    classes = sorted({name for of_model in scores.values() for name in of_model})
    if not classes:
        raise ValueError("`scores` must name at least one class, got none; pass {class: score} for a model.")
    frame = pd.DataFrame(scores, index=classes, columns=list(scores), dtype=float)
    for (model, name), value in frame.unstack().dropna().items():
        if not 0 <= value <= 1:
            raise ValueError(
                f"`scores[{model!r}][{name!r}]` must lie between 0 and 1, got {value}; divide per cent "
                "by 100, and leave a class without a value (COCO's -1) out."
            )
    return frame


def _tick_label(name: str) -> str:
    return "\n".join(textwrap.wrap(name, _NAME_WIDTH, max_lines=_NAME_LINES, placeholder="…"))


def _draw_panel(axes: Axes, frame: pd.DataFrame, thickness: float) -> None:
    """Draw the bars of some classes, those of class i around y = i, with the first model at the top."""
    for place, (model, (colour, hatch)) in enumerate(zip(frame, _styles(frame), strict=True)):
        values = frame[model].to_numpy()
        ys = np.arange(len(values)) + (place - (frame.shape[1] - 1) / 2) * thickness
        known = ~np.isnan(values)
        axes.barh(
            ys[known],
            values[known],
            0.9 * thickness,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
        )
        for y, value in zip(ys, values, strict=True):
            axes.text(
                0.008 + np.nan_to_num(value),
                y,
                "n/a" if np.isnan(value) else f"{value:.3f}",
                fontsize=7.5,
                color="0.4" if np.isnan(value) else "black",
                verticalalignment="center_baseline",
            )
    axes.set_xlim(0, _RIGHT_END)
    axes.set_xticks(np.linspace(0, 1, 6))
    tidy(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_bounds(0, 1)


def _styles(frame: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Return the colour and the hatch of each model."""
    return _STYLES[: frame.shape[1]][::-1]


def _explain(figure: Figure, frame: pd.DataFrame) -> None:
    if frame.isna().any(axis=None):
        figure.supxlabel("n/a: no value for this class.", fontsize=8.5)
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=model)
        for model, (colour, hatch) in zip(frame, _styles(frame), strict=True)
    ]
    add_legend(figure, handles, loc="outside upper center", ncols=3, fontsize=10)
