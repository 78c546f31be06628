"""Draws the training curves of one or more runs into one PNG of small panels.

Every quantity has its own panel and its own axis, because terms differ by orders of magnitude. The label of
an axis says whether it starts at zero, is logarithmic or is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ._figure import PAGE_WIDTH, add_legend, new_figure, save, tidy
from ._histories import Histories, Panel, build_panels, y_axis
from ._palette import RUN_COLOURS

# Runs also differ in their dashes, so that a reader who sees no colour tells them apart.
_LINE_STYLES = ("-", "--", "-.", ":")
_TEACHER_STYLE: dict[str, Any] = {"color": "black", "linestyle": (0, (5, 2)), "linewidth": 1.2}
_PANEL_HEIGHT = 2.5
_MARKERS_UP_TO = 25


def plot_curves(
    histories: Histories,
    path: Path,
    *,
    titles: Mapping[str, str],
    metric: str,
    metric_label: str,
    teacher: float | None = None,
) -> None:
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
        path: File to write. Missing folders are created, an existing file is replaced.
        titles: Key -> title of its panel, in the order of the panels; a key without a title is its own title.
        metric: Key of the evaluation metric.
        metric_label: Name of the metric for people.
        teacher: The teacher's score, a horizontal line in the metric's panel; None without a teacher. The
            legend says "n/a" for a score that is not finite.

    Raises:
        ValueError: If a run is empty or has an entry without a `step`, or no run logged `metric`.

    Example:
        >>> plot_curves({"distilled": log}, Path("curves.png"), titles={}, **metric)  # doctest: +SKIP
    """
    panels = build_panels(histories, {**titles, metric: metric_label}, metric)
    columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(PAGE_WIDTH if columns > 1 else 0.6 * PAGE_WIDTH, _PANEL_HEIGHT * rows + 0.4)
    last_step = max(float(entry["step"]) for history in histories.values() for entry in history)
    looks = zip(histories, cycle(RUN_COLOURS), cycle(_LINE_STYLES), strict=False)
    styles: dict[str, Any] = {name: {"color": colour, "linestyle": dashes} for name, colour, dashes in looks}
    handles = [Line2D([], [], linewidth=2, label=name, **style) for name, style in styles.items()]
    references = []
    if teacher is not None:
        references = [teacher] if math.isfinite(teacher) else []
        label = f"teacher ({teacher:.3f})" if references else "teacher (n/a)"
        handles.append(Line2D([], [], label=label, **_TEACHER_STYLE))
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_xlim(0, last_step * 1.03 or 1)
        _draw_panel(axes, panel, styles, references if panel.key == metric else [], panel.key == metric)
    place = {"loc": "outside upper center", "ncols": min(len(handles), 4)}
    add_legend(figure, handles, fontsize=10, handlelength=3, **place)
    save(figure, path)


def _draw_panel(
    axes: Axes, panel: Panel, styles: Mapping[str, Any], references: list[float], is_metric: bool
) -> None:
    for name, line in panel.lines.items():
        marks: dict[str, Any] = {"marker": "o", "markersize": 3, "markevery": _marked(line)}
        axes.plot(line.index, _finite(line), linewidth=1.6, label=name, **marks, **styles[name])
    for value in references:
        axes.axhline(value, **_TEACHER_STYLE)
    axes.set_title(panel.title, fontsize=10, loc="left", parse_math=False)
    axes.set_xlabel("optimiser step", fontsize=8.5)
    values = _finite(pd.concat([*panel.lines.values(), pd.Series(references, dtype=float)]))
    axes.set_ylabel(_scale_y(axes, panel.key, values, is_metric=is_metric), fontsize=8.5)
    tidy(axes, "both")
    counts = {name: int(np.isinf(line).sum()) for name, line in panel.lines.items()}
    lost = ", ".join(f"{count} ({name})" for name, count in counts.items() if count)
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


def _finite(line: pd.Series) -> pd.Series:
    return line.replace(np.inf, np.nan)


def _marked(line: pd.Series) -> list[int]:
    """Return the positions that get a dot: all of a short line, otherwise the values between two gaps."""
    if len(line) <= _MARKERS_UP_TO:
        return list(range(len(line)))
    missing = _finite(line).isna()
    return np.flatnonzero(missing.shift(1, fill_value=True) & missing.shift(-1, fill_value=True)).tolist()


def _scale_y(axes: Axes, key: str, values: pd.Series, *, is_metric: bool) -> str:
    """Set the y axis and return its label, which says what the axis does."""
    low, high = float(values.min()), float(values.max())
    axis = y_axis(key, low, high, is_metric=is_metric)
    if math.isnan(low):
        axes.set_yticks([])
    if axis.is_log:
        axes.set_yscale("log")
    if axis.limits is not None:
        axes.set_ylim(*axis.limits)
    if low < 0:
        axes.axhline(0.0, color="0.5", linewidth=0.8)
    return axis.label
