"""Draws the score of every class and model as bars into one PNG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ._figure import PAGE_WIDTH, add_legend, new_figure, save, tidy
from ._palette import RUN_COLOURS

# The looks of the models, from the last one back. The student that the figure is about and the student alone
# have the colours that `plot_curves` gives them; hatches tell them apart without colours.
_STYLES = ((RUN_COLOURS[0], ""), (RUN_COLOURS[1], "////"), ("#BBBBBB", ""))
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
    scores: Mapping[str, Mapping[str, float]], path: Path, *, metric_label: str = "AP"
) -> None:
    """Draw a group of bars for each class, one for each model, on a scale from 0 to 1.

    The classes come in the order of their names; more than 14 classes go into two columns, which are read
    downwards. The value of a bar stands beside it. Where a model has no value for a class, there is no bar
    but "n/a", because 0 would be a result.

    Args:
        scores: Name of the model -> name of the class -> its score from 0 to 1, or NaN for none. There are at
            most three models; every class that one of them names is drawn.
        path: File to write. Missing folders are created, an existing file is replaced.
        metric_label: Name of the score for people.

    Raises:
        ValueError: If there is no class, or a score lies outside 0 to 1.

    Example:
        >>> scores = {"teacher": {"apple": 0.71}, "distilled": {"apple": 0.64}}  # doctest: +SKIP
        >>> plot_class_bars(scores, Path("classes.png"))  # doctest: +SKIP
    """
    frame = pd.DataFrame(scores, dtype=float).sort_index()
    if frame.empty or not (frame.isna() | ((frame >= 0) & (frame <= 1))).all(axis=None):
        raise ValueError(
            f"`scores` must hold values from 0 to 1 for at least one class, got {dict(scores)}; divide per "
            "cent by 100, and leave a class without a value (COCO's -1) out."
        )
    styles = _STYLES[: frame.shape[1]][::-1]
    columns = 1 if len(frame) <= _ONE_COLUMN else 2
    per_column = math.ceil(len(frame) / columns)
    names = [
        "\n".join(textwrap.wrap(name, _NAME_WIDTH, max_lines=_NAME_LINES, placeholder="…"))
        for name in frame.index
    ]
    lines = max(name.count("\n") + 1 for name in names)
    row_height = max(_BAR * frame.shape[1], _NAME_LINE * lines) + _GAP
    figure = new_figure(PAGE_WIDTH, row_height * per_column + _SURROUNDINGS)
    for axes, start in zip(figure.subplots(1, columns, squeeze=False)[0], (0, per_column), strict=False):
        part = slice(start, start + per_column)
        _draw_bars(axes, frame[part], styles, _BAR / row_height)
        axes.set_yticks(range(len(names[part])), names[part], fontsize=8.5, parse_math=False)
        # Every column has the same number of places, so that all bars have the same thickness.
        axes.set_ylim(per_column - 0.5, -0.5)
        axes.set_xlabel(f"{metric_label} (0 to 1, higher is better)", fontsize=8.5, parse_math=False)
    if frame.isna().any(axis=None):
        figure.supxlabel("n/a: no value for this class.", fontsize=8.5)
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=model)
        for model, (colour, hatch) in zip(frame, styles, strict=True)
    ]
    add_legend(figure, handles, loc="outside upper center", ncols=3, fontsize=10)
    save(figure, path)


def _draw_bars(
    axes: Axes, frame: pd.DataFrame, styles: tuple[tuple[str, str], ...], thickness: float
) -> None:
    """Draw the bars of some classes, those of class i around y = i, with the first model at the top."""
    for place, (model, (colour, hatch)) in enumerate(zip(frame, styles, strict=True)):
        values = frame[model].to_numpy()
        ys = np.arange(len(values)) + (place - (frame.shape[1] - 1) / 2) * thickness
        known = ~np.isnan(values)
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        axes.barh(ys[known], values[known], 0.9 * thickness, **look)
        for y, value in zip(ys, values, strict=True):
            text, grey = ("n/a", "0.4") if np.isnan(value) else (f"{value:.3f}", "black")
            x = 0.008 + np.nan_to_num(value)
            axes.text(x, y, text, fontsize=7.5, color=grey, verticalalignment="center_baseline")
    axes.set_xlim(0, _RIGHT_END)
    axes.set_xticks(np.linspace(0, 1, 6))
    tidy(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_bounds(0, 1)
