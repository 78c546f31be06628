"""The picture of depths shows metres on one scale, errors on another, and no hole as a good prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hf_structkd.report import PictureRow, plot_depth_maps
from hf_structkd.report._palette import _oklab
from hf_structkd.report.depth_maps import GREYS

from .figures import check_page, figure_of

NAN, INF = np.nan, np.inf
GREYS = {grey[0] for grey in GREYS}


def build(rows: Sequence[PictureRow[Any]]) -> Figure:
    return figure_of(plot_depth_maps, rows)


def row(depth: Any, **predictions: Any) -> PictureRow[Any]:
    maps = {name: np.asarray(values, dtype=float) for name, values in predictions.items()}
    return PictureRow(np.full((*np.shape(depth), 3), 0.5), np.asarray(depth, dtype=float), maps)


def panels(figure: Figure, columns: int = 3) -> list[list[Axes]]:
    """The axes by row and column, without the two bars."""
    axes = figure.axes[:-2]
    return [axes[start : start + columns] for start in range(0, len(axes), columns)]


def shown(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def bars(figure: Figure) -> dict[str, Axes]:
    return {axes.get_xlabel().split(" in ")[0]: axes for axes in figure.axes[-2:]}


def colour(figure: Figure, bar: str, values: Any) -> np.ndarray:
    """The colour that a reader finds for the values on the bar, computed here from its ends."""
    name = {"depth": "viridis_r", "error": "magma_r"}[bar]
    low, high = bars(figure)[bar].get_xlim()
    shares = Normalize(low, high)(np.asarray(values, dtype=float))
    return np.asarray(colormaps[name](shares, bytes=True))[..., :3]


def is_striped(painted: np.ndarray) -> bool:
    flat = painted.reshape(-1, 3)
    return set(np.unique(flat)) <= GREYS and bool((flat == flat[:, :1]).all())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def captions(figure: Figure, columns: int = 3) -> list[list[str]]:
    return [[axes.get_xlabel() for axes in line[2:]] for line in panels(figure, columns)[1::2]]


@pytest.fixture(scope="module")
def ramp() -> np.ndarray:
    return np.linspace(1.0, 5.0, 48).reshape(1, 48).repeat(32, 0)


def test_writes_a_png_of_readme_width(ramp: np.ndarray, tmp_path: Path) -> None:
    rows = [row(ramp, teacher=ramp, alone=ramp * 2, distilled=ramp * 1.1)] * 2
    plot_depth_maps(rows, tmp_path / "new" / "p.png")
    check_page(tmp_path / "new" / "p.png", 900, 2000)


def test_every_prediction_has_its_own_error_below_it(ramp: np.ndarray) -> None:
    """Swapped columns would credit the student with the teacher's map."""
    figure = build([row(ramp, teacher=ramp, distilled=1.5 * ramp)])
    top, bottom = panels(figure, 4)
    assert [axes.get_title() for axes in top] == ["image", "ground truth", "teacher", "distilled"]
    np.testing.assert_equal(shown(top[0]), np.full((*ramp.shape, 3), 128))
    for axes, depth in zip(top[1:], (ramp, ramp, 1.5 * ramp), strict=True):
        np.testing.assert_equal(shown(axes), colour(figure, "depth", depth.clip(1, 5)))
    for axes, error in zip(bottom[2:], (0.0, 50.0), strict=True):
        np.testing.assert_equal(shown(axes), colour(figure, "error", np.full(ramp.shape, error)))
    assert not any(axes.images or axes.axison for axes in bottom[:2])
    assert [text.get_text() for text in bottom[1].texts] == ["error of the\nprediction above"]


def test_all_rows_share_the_scales(ramp: np.ndarray) -> None:
    """With a scale for each row, the same colour would be two metres here and five there."""
    figure = build([row(ramp, a=ramp), row(2 * ramp, a=2.2 * ramp)])
    lines = panels(figure)
    low, high = bars(figure)["depth"].get_xlim()
    np.testing.assert_equal(shown(lines[2][1]), colour(figure, "depth", (2 * ramp).clip(low, high)))
    np.testing.assert_array_equal(shown(lines[1][2]), colour(figure, "error", np.zeros_like(ramp)))
    assert is_close(shown(lines[3][2]), colour(figure, "error", np.full(ramp.shape, 10.0)))


def is_close(painted: np.ndarray, expected: np.ndarray) -> bool:
    """Equal but for rounding between two of the 256 colours."""
    return bool(np.abs(painted.astype(int) - expected.astype(int)).max() <= 8)


def test_the_depth_scale_is_the_ground_truths_without_its_outliers(ramp: np.ndarray) -> None:
    """One bad prediction, or one false measurement, would leave all the others in one colour."""
    truth = ramp.copy()
    truth[0, 0] = 1e6
    figure = build([row(truth, alone=np.full_like(ramp, 1e4))])
    expected = np.percentile(truth, (2, 98))
    np.testing.assert_allclose(bars(figure)["depth"].get_xlim(), expected)
    assert expected[1] < 5.1
    assert (shown(panels(figure)[0][2]) == colour(figure, "depth", expected[1])).all()


@pytest.mark.parametrize(
    ("factor", "shift", "arrows"), [(1.0, 0.0, 2), (0.5, 1.5, 0), (0.5, -3.0, 1), (0.5, 9.0, 1)]
)
def test_a_bar_ends_in_an_arrow_where_a_value_lies_beyond_it(
    factor: float, shift: float, arrows: int
) -> None:
    """An end without an arrow claims that nothing is nearer or farther than it says."""
    truth = np.repeat([1.0, 5.0], 50).reshape(10, 10)
    prediction = np.linspace(0, 6, 100).reshape(10, 10) * factor + shift
    axes = bars(build([row(truth, a=prediction)]))["depth"]
    assert axes.get_xlim() == (1.0, 5.0)
    assert len([patch for patch in axes.patches if patch.get_visible()]) == arrows


@pytest.mark.parametrize(("error", "top"), [(0.001, 1.0), (0.2, 20.0), (3.0, 100.0)])
def test_the_error_scale_fits_the_errors_within_limits(ramp: np.ndarray, error: float, top: float) -> None:
    """Stretched over a thousandth it would show noise as failure, over 300 % hide all that is smaller."""
    figure = build([row(ramp, a=ramp * (1 + error))])
    np.testing.assert_allclose(bars(figure)["error"].get_xlim(), (0.0, top))


@pytest.mark.parametrize("hole", [0.0, -1.0, NAN, INF])
def test_a_hole_is_striped_and_not_scored(ramp: np.ndarray, hole: float) -> None:
    """A hole drawn as no error makes a model look best where nobody knows."""
    truth = ramp.copy()
    truth[:, :24] = hole
    prediction = np.where(truth == ramp, 1.1 * ramp, 40.0)
    figure = build([row(truth, a=prediction)])
    (_, shown_truth, shown_prediction), (_, _, shown_error) = panels(figure)
    for axes in (shown_truth, shown_error):
        assert is_striped(shown(axes)[:, :24])
        assert len(np.unique(shown(axes)[:, :24])) == 2
        assert not is_striped(shown(axes)[:, 24:])
    assert (shown(shown_prediction)[:, :24] == colour(figure, "depth", 5.0)).all()
    assert captions(figure) == [["AbsRel 10.0 %"]]
    assert legend(figure) == ["no ground truth, not scored"]
    np.testing.assert_allclose(bars(figure)["depth"].get_xlim(), np.percentile(ramp[:, 24:], (2, 98)))


def test_without_a_hole_the_legend_has_no_entry_for_one(ramp: np.ndarray) -> None:
    assert legend(build([row(ramp, a=ramp)])) == []


def test_the_score_is_the_mean_relative_error_of_the_picture() -> None:
    """By hand: errors of 50 %, 25 % and 0 on three measured pixels."""
    figure = build([row([[2.0, 4.0, 1.0, 0.0]], a=[[3.0, 3.0, 1.0, 9.0]])])
    assert captions(figure) == [["AbsRel 25.0 %"]]


def test_the_definition_of_the_score_is_in_the_figure(ramp: np.ndarray) -> None:
    """Errors of pixels, pictures and data sets are three numbers."""
    title = build([row(ramp, a=ramp)]).legends[0].get_title().get_text()
    assert "AbsRel: mean of |prediction − truth| / truth on this picture." in title


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_prediction_that_is_not_finite_is_the_worst_error(ramp: np.ndarray, bad: float) -> None:
    """A model that diverged must not pass for one that could not be scored."""
    prediction = ramp.copy()
    prediction[:, :8] = bad
    figure = build([row(ramp, a=prediction)])
    (_, _, shown_prediction), (_, _, shown_error) = panels(figure)
    assert is_striped(shown(shown_prediction)[:, :8])
    np.testing.assert_equal(shown(shown_error)[:, :8], colour(figure, "error", np.full((32, 8), 1.0)))
    assert captions(figure) == [["AbsRel n/a (not finite)"]]
    assert legend(figure) == ["prediction not finite"]


def test_a_picture_without_a_measured_pixel_is_drawn_without_a_score() -> None:
    """An unlabelled image must not cost the whole report, nor invent a score."""
    figure = build([row(np.zeros((8, 8)), a=np.full((8, 8), 3.0))])
    assert captions(figure) == [["AbsRel n/a (no truth)"]]
    low, high = bars(figure)["depth"].get_xlim()
    assert low < 3.0 < high


def test_a_figure_without_one_finite_depth_is_drawn() -> None:
    figure = build([row(np.zeros((8, 8)), a=np.full((8, 8), NAN))])
    assert legend(figure) == ["no ground truth, not scored or prediction not finite"]


def test_the_colours_of_both_scales_differ_in_lightness_alone_already() -> None:
    """Who sees no colour, or prints in grey, must read the same order."""
    for name in ("viridis_r", "magma_r"):
        colours = colormaps[name](np.linspace(0, 1, 64), bytes=True)[:, :3]
        assert (np.diff(_oklab(colours.astype(np.int64))[:, 0]) < 0).all()


def test_tensors_are_taken_and_names_are_shown_as_they_are_written() -> None:
    maps = torch.full((4, 4), 2.0)
    figure = build([PictureRow(torch.zeros(4, 4, 3), maps, {"a $x$": maps})])
    assert panels(figure)[0][2].get_title() == "a $x$"
    assert not panels(figure)[0][2].title.get_parse_math()


@pytest.mark.parametrize("models", [1, 3])
def test_titles_bars_and_legend_stay_inside_the_figure(ramp: np.ndarray, models: int) -> None:
    truth = np.where(ramp > 4, 0.0, ramp)
    figure = build([row(truth, **{f"model {i}": ramp * 3 for i in range(models)})])
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes[-2:]] + [figure.legends[0].get_window_extent()]
    for box in [*boxes, *(axes.title.get_window_extent() for axes in figure.axes[: 2 + models])]:
        assert box is not None
        assert box.y1 <= figure.bbox.y1
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
    depth_bar, error_bar, note = boxes
    assert depth_bar.x1 < error_bar.x0
    assert note.y1 < min(depth_bar.y0, error_bar.y0)
