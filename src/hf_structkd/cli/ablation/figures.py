"""Draw one experiment, its scores and how they grow, and of all experiments the gap that is closed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .cells import gap_cell
from .records import Record, metric_of, of_setting, scores_by_seed, settings_of, teacher_score, title_of
from .summary import Line

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MANY = 6
_SHOWN = -100, 200


def draw(runs: Sequence[Record], path: Path) -> None:
    """Write a PNG with every seed's scores, paired by lines, and the mean curve of every setting.

    Many settings have no curves, which nobody could tell apart, and their scores fill the axis.
    """
    settings, teacher = settings_of(runs), teacher_score(runs)
    figure = Figure(figsize=(9, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    if len(settings) < _MANY:
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_seeds(left, runs, settings)
        _draw_curves(right, runs, settings)
        for axes in (left, right) if teacher is not None else ():
            axes.axhline(teacher, color="black", linestyle=(0, (5, 2)), linewidth=1, label="teacher")
        right.legend(frameon=False, fontsize=8)
    else:
        left = figure.subplots()
        _draw_seeds(left, runs, settings)
        if teacher is not None:
            left.set_title(f"the teacher has {teacher:.3f}", fontsize=8, loc="right")
    left.set_ylabel(metric_of(runs[0]))
    figure.suptitle(title_of(runs), fontsize=10)
    _save(figure, path)


def _draw_seeds(axes: Axes, runs: Sequence[Record], settings: Sequence[str]) -> None:
    scores = [scores_by_seed(runs, setting) for setting in settings]
    for seed in sorted({run["seed"] for run in runs}):
        places = [place for place, of_seed in enumerate(scores) if seed in of_seed]
        axes.plot(places, [scores[place][seed] for place in places], color="0.7", linewidth=1, zorder=1)
    for place, of_seed in enumerate(scores):
        axes.scatter([place] * len(of_seed), list(of_seed.values()), color=_colour(place), zorder=2)
        axes.scatter([place], [np.mean(list(of_seed.values()))], color="black", marker="_", s=160, zorder=3)
    turned: dict[str, Any] = {
        "rotation": 20 if len(settings) < _MANY else 60,
        "ha": "right",
        "rotation_mode": "anchor",
    }
    axes.set_xticks(range(len(settings)), settings, fontsize=8, **turned)
    axes.set_xlabel("each point is a seed, the bar their mean")


def _draw_curves(axes: Axes, runs: Sequence[Record], settings: Sequence[str]) -> None:
    for place, setting in enumerate(settings):
        curves = [run["curve"] for run in of_setting(runs, setting)]
        scores = np.array([[score for _, score in curve] for curve in curves])
        steps = [step for step, _ in curves[0]]
        axes.plot(steps, scores.mean(0), color=_colour(place), label=setting)
        axes.fill_between(steps, scores.min(0), scores.max(0), color=_colour(place), alpha=0.2, linewidth=0)
    axes.set_xlabel("step; mean, lowest and highest of the seeds")


def draw_summary(lines: Sequence[Line], path: Path) -> None:
    """Write a PNG with one row an experiment: the share of the gap that each seed closes, mean and interval.

    The axis is linear. What lies below -100 or above 200 % is an arrow at its edge, with the mean's number:
    where the teacher is hardly better than the student alone, shares are so large that they hide all others.
    """
    figure = Figure(figsize=(9, 1.2 + 0.55 * len(lines)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for share, label, side in ((0, "alone, 0 %", "right"), (60, "60 %", "center"), (100, "teacher", "left")):
        axes.axvline(share, color="0.4", linestyle=(0, (5, 2)), linewidth=1, zorder=0)
        axes.text(share, -0.55, label, ha=side, va="bottom", fontsize=8)
    for place, line in enumerate(lines):
        _draw_gap(axes, place, line)
    axes.set_yticks(range(len(lines)), [_named(line) for line in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(
        "share of the gap closed in %\n"
        "a dot is a seed, a line the 95 % interval of the mean, an arrow a share below -100 or above 200 %"
    )
    axes.xaxis.label.set_fontsize(8)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _draw_gap(axes: Axes, place: int, line: Line) -> None:
    gap = None if line.found is None else line.found.gap
    if line.found is None or gap is None:
        reason = "one seed" if line.found is None else "no gap: the teacher is no better than alone"
        axes.text(
            0.01, place, reason, transform=axes.get_yaxis_transform(), va="center", fontsize=8, zorder=3
        )
        return
    mean, below = 100 * gap.value, place + 0.22
    axes.plot(
        np.clip([100 * gap.low, 100 * gap.high], *_SHOWN),
        [below, below],
        color=_COLOURS[1],
        linewidth=2,
        zorder=3,
    )
    for share in line.found.per_seed.values():
        _point(axes, 100 * share, place, "o", color=_COLOURS[0], alpha=0.6, linewidth=0, zorder=2)
    _point(axes, mean, below, "D", color=_COLOURS[1], zorder=3)
    if not _is_shown(mean):
        edge, side = (_SHOWN[0], "left") if mean < _SHOWN[0] else (_SHOWN[1], "right")
        axes.text(edge, below + 0.08, f"   {gap_cell(gap)}   ", ha=side, va="top", fontsize=8)


def _point(axes: Axes, share: float, place: float, marker: str, **look: Any) -> None:
    """Draw a share, or an arrow at the edge that it lies beyond."""
    shape = marker if _is_shown(share) else "<" if share < 0 else ">"
    axes.scatter([np.clip(share, *_SHOWN)], [place], marker=shape, s=28, **look)


def _is_shown(share: float) -> bool:
    return _SHOWN[0] <= share <= _SHOWN[1]


def _named(line: Line) -> str:
    one, count = line.runs[0], len(line.alone)
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    return f"{one['task']}, {one['title']}, {seeds}\nlabels: {one['labels']}"


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
