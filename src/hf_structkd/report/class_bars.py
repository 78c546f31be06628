"""A score of every class for each model, as one PNG of bars."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ._figure import PAGE_WIDTH, new_figure, save_png
from ._palette import RUN_COLOURS

# The last model is the one the figure is about. It and the one before have the colours that `plot_curves`
# gives the distilled and the lone student; hatches tell them apart where no colour is seen.
_STYLES = (
    (RUN_COLOURS[0], ""),
    (RUN_COLOURS[1], "////"),
    ("#BBBBBB", ""),
    (RUN_COLOURS[2], "...."),
    (RUN_COLOURS[3], "xxxx"),
    (RUN_COLOURS[4], ""),
)
# Classes up to which one column is used.
_ONE_COLUMN = 14
# Letters in a line of a class name, and lines of it.
_NAME_WIDTH = 22
_NAME_LINES = 3
# Inches: a bar, a line of a name, between two classes, both axes with labels, legend and note.
_BAR = 0.145
_NAME_LINE = 0.14
_GAP = 0.1
_SURROUNDINGS = 1.25
# Room for a value right of a bar of 1.
_RIGHT_END = 1.13


def plot_class_bars(
    scores: Mapping[str, Mapping[str, float]],
    path: str | Path,
    *,
    counts: Mapping[str, int] | None = None,
    metric_label: str = "AP",
) -> Path:
    """Draw a group of bars for each class, one for each model, on a scale from 0 to 1.

    The classes come in the order of their true boxes, the most frequent first, or of their names where no
    counts are given; more than 14 go into two columns, read downwards. Every bar has its value beside it. A
    class that a model has no value for has no bar but "n/a", which is not 0.

    Args:
        scores: name of the model -> name of the class -> its score from 0 to 1, or NaN for none. All classes
            that any of the models or `counts` names are drawn.
        path: where to write; must end in `.png`. Missing folders are made, an existing file is replaced.
        counts: name of the class -> its objects in the ground truth, shown behind the name.
        metric_label: the score's name for people.

    Returns:
        `path`.

    Raises:
        ValueError: if there is no model, more than six, no class, a score outside 0 to 1, a class without a
            count, a negative count, or `path` is no `.png`.

    Example:
        >>> scores = {"teacher": {"apple": 0.71}, "distilled": {"apple": 0.64}}  # doctest: +SKIP
        >>> plot_class_bars(scores, "classes.png", counts={"apple": 35})  # doctest: +SKIP
    """
    return save_png(_build_figure(scores, counts=counts, metric_label=metric_label), path)


def _build_figure(
    scores: Mapping[str, Mapping[str, float]], *, counts: Mapping[str, int] | None, metric_label: str
) -> Figure:
    classes = _ordered_classes(scores, counts)
    _check_scores(scores)
    columns = 1 if len(classes) <= _ONE_COLUMN else 2
    per_column = math.ceil(len(classes) / columns)
    names = {name: _tick_label(name, counts) for name in classes}
    lines = max(label.count("\n") + 1 for label in names.values())
    row_height = max(_BAR * len(scores), _NAME_LINE * lines) + _GAP
    figure = new_figure(PAGE_WIDTH, row_height * per_column + _SURROUNDINGS)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes, start in zip(panels, range(0, len(classes), per_column), strict=True):
        _draw_panel(axes, scores, classes[start : start + per_column], _BAR / row_height)
        axes.set_yticks(
            range(min(per_column, len(classes) - start)),
            [names[c] for c in classes[start : start + per_column]],
            fontsize=8.5,
            parse_math=False,
        )
        # As many places in every column, so that bars are equally thick.
        axes.set_ylim(per_column - 0.5, -0.5)
        axes.set_xlabel(f"{metric_label} (0 to 1, higher is better)", fontsize=8.5, parse_math=False)
    _draw_legend(figure, scores, classes, counts)
    return figure


def _ordered_classes(
    scores: Mapping[str, Mapping[str, float]], counts: Mapping[str, int] | None
) -> list[str]:
    if not 1 <= len(scores) <= len(_STYLES):
        raise ValueError(
            f"`scores` must hold 1 to {len(_STYLES)} models, got {len(scores)}; "
            "pass {name of the model: {name of the class: score}}."
        )
    classes = {name for of_model in scores.values() for name in of_model} | set(counts or {})
    if not classes:
        raise ValueError("`scores` must name at least one class, got none; pass {class: score} for a model.")
    if counts is None:
        return sorted(classes)
    missing = sorted(classes - set(counts))
    if missing:
        raise ValueError(
            f"`counts` must hold every class, got none for {missing}; add them, with 0 where there is no box."
        )
    negative = {name: count for name, count in counts.items() if count < 0}
    if negative:
        raise ValueError(f"`counts` must not be negative, got {negative}; count the true boxes.")
    return sorted(classes, key=lambda name: (-counts[name], name))


def _check_scores(scores: Mapping[str, Mapping[str, float]]) -> None:
    for model, of_model in scores.items():
        for name, value in of_model.items():
            if not (math.isnan(value) or 0 <= value <= 1):
                raise ValueError(
                    f"`scores[{model!r}][{name!r}]` must lie between 0 and 1, got {value}; divide per cent "
                    "by 100, and leave a class without a value (COCO's -1) out."
                )


def _tick_label(name: str, counts: Mapping[str, int] | None) -> str:
    count = "" if counts is None else f" ({counts[name]})"
    lines = textwrap.wrap(name, _NAME_WIDTH, max_lines=_NAME_LINES, placeholder="…") or [""]
    return "\n".join(lines) + count


def _draw_panel(
    axes: Axes, scores: Mapping[str, Mapping[str, float]], classes: Sequence[str], thickness: float
) -> None:
    """The bars of some classes, class i around y = i, in the order of the models from the top."""
    models = list(scores)
    for model, (colour, hatch), offset in zip(
        models, _styles(len(models)), np.arange(len(models)) - (len(models) - 1) / 2, strict=True
    ):
        for i, name in enumerate(classes):
            value = scores[model].get(name, math.nan)
            missing = math.isnan(value)
            y = i + offset * thickness
            if not missing:
                axes.barh(
                    y, value, 0.9 * thickness, color=colour, hatch=hatch, edgecolor="white", linewidth=0
                )
            axes.text(
                0.008 if missing else value + 0.008,
                y,
                "n/a" if missing else f"{value:.3f}",
                fontsize=7.5,
                color="0.4" if missing else "black",
                verticalalignment="center_baseline",
            )
    axes.set_xlim(0, _RIGHT_END)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="x", labelsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 1)


def _styles(n: int) -> Sequence[tuple[str, str]]:
    """Colour and hatch of each of n models."""
    return _STYLES[:n][::-1]


def _draw_legend(
    figure: Figure,
    scores: Mapping[str, Mapping[str, float]],
    classes: Sequence[str],
    counts: Mapping[str, int] | None,
) -> None:
    notes = []
    if counts is not None:
        notes.append("In brackets: objects of the class in the ground truth, most frequent first.")
    if any(math.isnan(of_model.get(name, math.nan)) for of_model in scores.values() for name in classes):
        notes.append("n/a: no value for this class.")
    if notes:
        figure.supxlabel("  ".join(notes), fontsize=8.5)
    legend = figure.legend(
        handles=[
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, label=model)
            for model, (colour, hatch) in zip(scores, _styles(len(scores)), strict=True)
        ],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=10,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
