"""Draw the runs of one experiment: every seed's score, and how the scores grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .report import Record, scores_by_seed, teacher_score

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw(runs: Sequence[Record], path: Path) -> None:
    """Write a PNG with every seed's scores, paired by lines, and the mean curve of every setting."""
    figure = Figure(figsize=(9, 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    settings = list(dict.fromkeys(run["setting"] for run in runs))
    _draw_seeds(left, runs, settings)
    _draw_curves(right, runs, settings)
    teacher = teacher_score(runs)
    for axes in (left, right) if teacher is not None else ():
        axes.axhline(teacher, color="black", linestyle=(0, (5, 2)), linewidth=1, label="teacher")
    left.set_ylabel(runs[0]["metric_label"])
    right.legend(frameon=False, fontsize=8)
    figure.suptitle(runs[0]["title"], fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _draw_seeds(axes: Axes, runs: Sequence[Record], settings: Sequence[str]) -> None:
    scores = [scores_by_seed(runs, setting) for setting in settings]
    for seed in sorted({run["seed"] for run in runs}):
        places = [place for place, of_seed in enumerate(scores) if seed in of_seed]
        axes.plot(places, [scores[place][seed] for place in places], color="0.7", linewidth=1, zorder=1)
    for place, of_seed in enumerate(scores):
        axes.scatter([place] * len(of_seed), list(of_seed.values()), color=_colour(place), zorder=2)
    axes.set_xticks(range(len(settings)), settings, fontsize=8, rotation=20)
    axes.set_xlabel("each point is a seed")


def _draw_curves(axes: Axes, runs: Sequence[Record], settings: Sequence[str]) -> None:
    for place, setting in enumerate(settings):
        curves = [run["curve"] for run in runs if run["setting"] == setting]
        scores = np.array([[score for _, score in curve] for curve in curves])
        steps = [step for step, _ in curves[0]]
        axes.plot(steps, scores.mean(0), color=_colour(place), label=setting)
        axes.fill_between(steps, scores.min(0), scores.max(0), color=_colour(place), alpha=0.2, linewidth=0)
    axes.set_xlabel("step; mean, lowest and highest of the seeds")


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
