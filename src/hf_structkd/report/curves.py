"""Draws the training curves of one or more runs into one PNG of small panels.

Every quantity has its own panel and its own axis, because terms differ by orders of magnitude. The label of
an axis says whether it starts at zero, is logarithmic or is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ._figure import PAGE_WIDTH, add_legend, new_figure, save_png, tidy
from ._histories import Histories, Panel, build_panels, check_histories
from ._palette import RUN_COLOURS

_LineStyle: TypeAlias = Literal["-", "--", "-.", ":"]

_LINE_STYLES: tuple[_LineStyle, ...] = ("-", "--", "-.", ":")
_REFERENCE_STYLES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_PANEL_HEIGHT = 2.5
_LOG_FROM_RATIO = 100.0
_CUT_FROM_SHARE = 0.5
_MARKERS_UP_TO = 25


def plot_curves(
    histories: Histories,
    path: str | Path,
    *,
    titles: Mapping[str, str] | None = None,
    metric: str | None = None,
    metric_label: str | None = None,
    reference: Mapping[str, float] | None = None,
) -> Path:
    """Draw the curves of several runs into one PNG.

    The first panel shows the evaluation metric. The next panels show each `loss_<term>`, unweighted as
    logged, then each `critic_*` value and each further key of `titles`. A quantity that no run logged has no
    panel. A run of the plain Trainer logs no terms; its `loss` is drawn as the task loss.

    The axis of a loss or a critic value includes zero, or is logarithmic if all values are positive and the
    largest is at least 100 times the smallest. The metric's axis starts at zero, unless its smallest value is
    above half of its largest. The y label says which of these holds. Values are drawn as logged, without
    smoothing. A NaN, an infinity, and a term that is missing from a training entry leave a gap; the panel
    counts the NaN and the infinities.

    Args:
        histories: Name of the run -> its `trainer.state.log_history`. The legend shows the names.
        path: File to write; must end in `.png`. Missing folders are created, an existing file is replaced.
        titles: Key -> title of its panel, in the order of the panels; a key without a title is its own title.
        metric: Key of the evaluation metric; None leaves its panel out.
        metric_label: Name of the metric for people; None means the key.
        reference: Name -> value of each horizontal line in the metric's panel, such as `{"teacher": 0.667}`.

    Returns:
        `path`.

    Raises:
        ValueError: If there is no run, a run is empty, an entry has no finite `step`, no run logged a finite
            `metric`, a reference is not finite or has no panel, there is nothing to draw, or `path` does not
            end in `.png`.

    Example:
        >>> plot_curves({"distilled": trainer.state.log_history}, "curves.png")  # doctest: +SKIP
    """
    check_histories(histories)
    reference = reference or {}
    panels = build_panels(histories, titles or {}, metric, metric_label, reference)
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    width = PAGE_WIDTH if columns > 1 else 0.6 * PAGE_WIDTH
    figure = new_figure(width, _PANEL_HEIGHT * rows + 0.4)
    last_step = max(float(entry["step"]) for history in histories.values() for entry in history)
    # Runs also differ in their dashes, so that a reader who sees no colour tells them apart.
    styles = dict(zip(histories, zip(cycle(RUN_COLOURS), cycle(_LINE_STYLES), strict=False), strict=False))
    for index, panel in enumerate(panels):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), panel, styles, last_step)
    _draw_legend(figure, styles, reference)
    return save_png(figure, path)


def _draw_panel(
    axes: Axes, panel: Panel, styles: Mapping[str, tuple[str, _LineStyle]], last_step: float
) -> None:
    for name, line in panel.lines.items():
        colour, style = styles[name]
        axes.plot(
            line.index,
            line,
            color=colour,
            linestyle=style,
            linewidth=1.6,
            marker="o",
            markersize=3,
            markevery=_marked(line),
            label=name,
        )
    for value, dashes in zip(panel.reference.values(), cycle(_REFERENCE_STYLES), strict=False):
        axes.axhline(value, color="black", linestyle=dashes, linewidth=1.2)
    axes.set_title(panel.title, fontsize=10, loc="left", parse_math=False)
    axes.set_xlabel("optimiser step", fontsize=8.5)
    axes.set_ylabel(_scale_y(axes, panel), fontsize=8.5)
    axes.set_xlim(0, last_step * 1.03 or 1)
    tidy(axes, "both")
    lost = ", ".join(f"{count} ({name})" for name, count in panel.lost.items() if count)
    if lost:
        axes.text(
            0.99,
            0.98,
            f"not finite, not drawn: {lost}",
            transform=axes.transAxes,
            horizontalalignment="right",
            verticalalignment="top",
            fontsize=7.5,
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )


def _marked(line: pd.Series) -> list[int]:
    """Return the positions that get a dot: all of a short line, otherwise the values between two gaps."""
    if len(line) <= _MARKERS_UP_TO:
        return list(range(len(line)))
    missing = line.isna()
    return np.flatnonzero(missing.shift(1, fill_value=True) & missing.shift(-1, fill_value=True)).tolist()


def _scale_y(axes: Axes, panel: Panel) -> str:
    """Set the y axis and return its label, which says what the axis does."""
    values = pd.concat([*panel.lines.values(), pd.Series(panel.reference, dtype=float)])
    low, high = float(values.min()), float(values.max())
    quantity = "unweighted, " if panel.key.startswith("loss_") else ""
    if panel.is_metric and low > _CUT_FROM_SHARE * high > 0:
        return "axis does not start at 0"
    if not panel.is_metric and low > 0 and high >= _LOG_FROM_RATIO * low:
        axes.set_yscale("log")
        return f"{quantity}log scale"
    span = max(high, 0.0) - min(low, 0.0) or 1.0
    axes.set_ylim(min(low - 0.06 * span, 0.0) if low < 0 else 0.0, max(high, 0.0) + 0.06 * span)
    if low < 0:
        axes.axhline(0.0, color="0.5", linewidth=0.8)
        return f"{quantity}linear, includes 0"
    return f"{quantity}linear from 0"


def _draw_legend(
    figure: Figure,
    styles: Mapping[str, tuple[str, _LineStyle]],
    reference: Mapping[str, float],
) -> None:
    handles = [
        Line2D([], [], color=colour, linestyle=style, linewidth=2, label=name)
        for name, (colour, style) in styles.items()
    ]
    for (name, value), dashes in zip(reference.items(), cycle(_REFERENCE_STYLES), strict=False):
        label = f"{name} ({value:.3f})"
        handles.append(Line2D([], [], color="black", linestyle=dashes, linewidth=1.2, label=label))
    place = {"loc": "outside upper center", "ncols": min(len(handles), 4)}
    add_legend(figure, handles, fontsize=10, handlelength=3, **place)
