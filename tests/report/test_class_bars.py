"""The bars are as long as the scores they stand for, and a missing score is not 0."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hf_structkd.report._palette import RUN_COLOURS
from hf_structkd.report.class_bars import plot_class_bars

from .figures import check_page, figure_of

NAN = float("nan")
SCORES = {
    "teacher": {"apple": 0.7, "banana": 0.25},
    "alone": {"apple": 0.3, "banana": 0.0},
    "distilled": {"apple": 0.5, "banana": 0.125},
}


def build(scores: Mapping[str, Mapping[str, float]] = SCORES, **options: Any) -> Figure:
    return figure_of(plot_class_bars, scores, **options)


def classes(figure: Figure) -> list[str]:
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def bars(axes: Axes) -> list[Rectangle]:
    """From the top to the bottom."""
    rectangles = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return sorted(rectangles, key=lambda bar: bar.get_y())


def values(axes: Axes) -> list[str]:
    """The printed values, from the top to the bottom."""
    return [text.get_text() for text in sorted(axes.texts, key=lambda text: text.get_position()[1])]


def test_writes_a_png_of_readme_width(tmp_path: Path) -> None:
    plot_class_bars(SCORES, tmp_path / "new" / "b.png")
    check_page(tmp_path / "new" / "b.png", 300, 900)


def test_bars_are_as_long_as_their_scores_in_the_order_of_the_models() -> None:
    axes = build().axes[0]
    assert [bar.get_width() for bar in bars(axes)] == pytest.approx([0.7, 0.3, 0.5, 0.25, 0.0, 0.125])
    assert [bar.get_x() for bar in bars(axes)] == [0.0] * 6
    assert values(axes) == ["0.700", "0.300", "0.500", "0.250", "0.000", "0.125"]


@pytest.mark.parametrize("n", [2, 40])
def test_every_scale_runs_from_0_to_1(n: int) -> None:
    """A cut scale makes a small gain look large, and two scales make columns incomparable."""
    figure = build({"a": {f"c{i}": 0.01 * (i % 3) for i in range(n)}})
    for axes in figure.axes:
        assert axes.get_xlim() == (0.0, 1.13)
        np.testing.assert_allclose(axes.get_xticks(), [0, 0.2, 0.4, 0.6, 0.8, 1.0])
        assert axes.get_xlabel() == "AP (0 to 1, higher is better)"


def test_bars_have_the_colour_and_hatch_that_the_legend_gives_their_model() -> None:
    figure = build()
    entries = dict(
        zip(
            [text.get_text() for text in figure.legends[0].get_texts()],
            figure.legends[0].get_patches(),
            strict=True,
        )
    )
    assert list(entries) == ["teacher", "alone", "distilled"]
    for bar, entry in zip(bars(figure.axes[0])[:3], entries.values(), strict=True):
        assert bar.get_facecolor() == entry.get_facecolor()
        assert bar.get_hatch() == entry.get_hatch()


@pytest.mark.parametrize("names", [("teacher", "alone", "distilled"), ("alone", "distilled"), ("student",)])
def test_students_have_their_colour_of_the_curves(names: tuple[str, ...]) -> None:
    """One report must not show the distilled student in two colours; the curves draw it first."""
    figure = build({name: {"apple": 0.5} for name in names})
    colours = [to_hex(bar.get_facecolor()).upper() for bar in bars(figure.axes[0])]
    assert colours[::-1][:2] == list(RUN_COLOURS[: min(2, len(names))])


def test_three_models_are_told_apart_without_colour() -> None:
    """By luminance or by hatch."""
    looks = []
    for bar in bars(build().axes[0])[:3]:
        luminance = float(np.dot(bar.get_facecolor()[:3], (0.2126, 0.7152, 0.0722)))
        looks.append((luminance, bar.get_hatch()))
    for (one, hatch), (other, other_hatch) in combinations(looks, 2):
        assert abs(one - other) > 0.2 or hatch != other_hatch


@pytest.mark.parametrize("missing", [{}, {"banana": NAN}])
def test_a_missing_score_has_no_bar_and_says_so(missing: dict[str, float]) -> None:
    """0 would be an invented result."""
    figure = build({"teacher": {"apple": 0.7, "banana": 0.4}, "distilled": {"apple": 0.5, **missing}})
    assert values(figure.axes[0]) == ["0.700", "0.500", "0.400", "n/a"]
    assert len(bars(figure.axes[0])) == 3
    assert figure.get_supxlabel() == "n/a: no value for this class."
    assert build().get_supxlabel() == ""


def test_models_without_any_score_are_drawn() -> None:
    """Validation without labels scores no class."""
    figure = build({"teacher": {"apple": NAN}, "distilled": {"apple": NAN}})
    assert values(figure.axes[0]) == ["n/a", "n/a"]


def test_a_score_keeps_its_class_when_the_order_changes() -> None:
    """Sorting the names and not the scores would swap the results of two classes."""
    figure = build({"a": {"pear": 0.9, "apple": 0.1}})
    assert classes(figure) == ["apple", "pear"]
    assert values(figure.axes[0]) == ["0.100", "0.900"]


def test_many_classes_stand_in_two_columns_with_equal_bars() -> None:
    names = [f"c{i:02d}" for i in range(15)]
    figure = build({"a": dict.fromkeys(names, 0.5)})
    assert classes(figure) == names
    assert [len(axes.get_yticks()) for axes in figure.axes] == [8, 7]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert len(build({"a": dict.fromkeys(names[:14], 0.5)}).axes) == 1


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_nothing_overlaps_or_leaves_the_page(n: int, models: int) -> None:
    """40 long names, and values of full bars, need room beside the bars."""
    names = [f"a class of the very longest kind, whose name is endless, number {i}" for i in range(n)]
    scores = {f"model {m}": dict.fromkeys(names, 1.0) for m in range(models)}
    figure = build(scores)
    figure.draw_without_rendering()
    ticks = [[label.get_window_extent() for label in axes.get_yticklabels()] for axes in figure.axes]
    texts = [[text.get_window_extent() for text in axes.texts] for axes in figure.axes]
    for column in [*ticks, *[one[::models] for one in texts]]:
        for box in column:
            assert figure.bbox.x0 <= box.x0
            assert box.x1 <= figure.bbox.x1
    for column in ticks:
        for upper, lower in pairwise(column):
            assert upper.y0 >= lower.y1
    for column in texts:
        ordered = sorted(column, key=lambda box: -box.y0)
        for upper, lower in pairwise(ordered):
            assert upper.y0 >= lower.y1 - 1
    if len(figure.axes) == 2:
        assert max(box.x1 for box in texts[0]) < min(box.x0 for box in ticks[1])
    for axes in figure.axes:
        assert axes.get_window_extent().width > 0.2 * figure.bbox.width
        assert axes.get_window_extent().y1 < figure.legends[0].get_window_extent().y0


def test_names_are_shown_as_they_are_written() -> None:
    figure = build({"a $x$": {"$sky$ _1": 0.5}}, metric_label="$AP$")
    axes = figure.axes[0]
    texts = [*axes.get_yticklabels(), axes.xaxis.label, *figure.legends[0].get_texts()]
    assert not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize("of_model", [{}, {"a": -1.0}, {"a": 55.0}, {"a": float("inf")}])
def test_what_is_no_score_from_0_to_1_is_refused(of_model: dict[str, float]) -> None:
    """Per cent, or COCO's -1 for a class without objects, would be drawn off the scale."""
    with pytest.raises(ValueError, match=r"`scores` must hold values from 0 to 1 .* divide per cent"):
        build({"m": of_model})
