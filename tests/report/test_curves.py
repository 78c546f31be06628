"""The curves show what was logged, all of it, on axes that say what they do."""

from __future__ import annotations

import math
from pathlib import Path
from threading import Thread
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_structkd.report import plot_curves

from .figures import check_page, figure_of

NAN = math.nan
TITLES = {
    "loss_task": "task loss",
    "loss_pixel": "pixel-wise term",
    "loss_pairwise": "pair-wise term",
    "loss_holistic": "holistic term",
    "critic_loss": "critic loss",
    "critic_gap": "critic gap",
    "gradient_penalty": "gradient penalty",
}


OPTIONS: dict[str, Any] = {"titles": TITLES, "metric": "eval_mean_iou", "metric_label": "mean IoU"}


def build(histories: dict[str, list[dict[str, Any]]], **options: Any) -> Figure:
    return figure_of(plot_curves, histories, **{**OPTIONS, **options})


def log(key: str, values: list[Any]) -> list[dict[str, Any]]:
    """A log whose training entries hold `key`; the task loss is there so that entries count as training."""
    terms = [{"step": 10 * (i + 1), "loss": 1.0, "loss_task": 1.0, key: v} for i, v in enumerate(values)]
    return terms if key.startswith("eval_") else [*terms, {"step": 10 * len(values), "eval_mean_iou": 0.5}]


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def line(axes: Axes, name: str) -> np.ndarray:
    """The drawn y values; the lines at zero and of the references have names of their own."""
    (found,) = [drawn for drawn in axes.lines if drawn.get_label() == name]
    return np.asarray(found.get_ydata(), dtype=float)


@pytest.fixture
def histories() -> dict[str, list[dict[str, Any]]]:
    distilled: list[dict[str, Any]] = []
    for step in range(10, 101, 10):
        entry = {
            "step": step,
            "epoch": step / 50,
            "learning_rate": 1e-4,
            "grad_norm": 2.0,
            "loss": 20.0 / step,
        }
        entry |= {"loss_task": 10.0 / step, "loss_pixel": 5.0 / step, "loss_pairwise": 1.0 / step}
        entry |= {
            "loss_holistic": -step / 100,
            "critic_loss": -3.0,
            "gradient_penalty": 0.1,
            "critic_gap": 2.0,
        }
        distilled.append(entry)
        if step % 50 == 0:
            distilled.append({"step": step, "eval_mean_iou": step / 200, "eval_loss": 1.0})
    distilled.append({"step": 100, "train_loss": 1.0, "train_runtime": 3.0})
    alone = [{"step": step, "loss": 12.0 / step, "learning_rate": 1e-4} for step in range(10, 101, 10)]
    alone += [{"step": step, "eval_mean_iou": step / 250} for step in (50, 100)]
    return {"distilled": distilled, "alone": alone}


def test_writes_a_png_of_readme_width(histories: dict[str, Any], tmp_path: Path) -> None:
    plot_curves(histories, tmp_path / "new" / "curves.png", **OPTIONS, teacher=0.6)
    check_page(tmp_path / "new" / "curves.png", 800, 2400)


def test_every_logged_term_has_exactly_one_panel_in_order(histories: dict[str, Any]) -> None:
    """A term without a panel could diverge unseen; rates and run times are no terms."""
    figure = build(histories)
    assert list(panels(figure)) == [
        "mean IoU",
        "task loss",
        "pixel-wise term",
        "pair-wise term",
        "holistic term",
        "critic loss",
        "critic gap",
        "gradient penalty",
    ]
    assert all(axes.get_xlabel() == "optimiser step" for axes in figure.axes)
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_without_titles_keys_are_titles_and_what_is_no_term_is_left_out() -> None:
    """Which logged values are terms is for the caller to say; a learning rate is none."""
    history = [
        {
            "step": 1,
            "loss": 1.0,
            "penalty": 0.1,
            "loss_b": 2.0,
            "critic_lr": 0.1,
            "loss_a": 2.0,
            "eval_x": 0.5,
        }
    ]
    options = {"metric": "eval_x", "metric_label": "X"}
    assert list(panels(build({"run": history}, titles={}, **options))) == [
        "X",
        "loss_b",
        "loss_a",
        "critic_lr",
    ]
    titled = build({"run": history}, titles={"loss_a": "A", "penalty": "P"}, **options)
    assert list(panels(titled)) == ["X", "A", "loss_b", "P", "critic_lr"]


def test_drawn_values_are_the_logged_ones(histories: dict[str, Any]) -> None:
    """Smoothing or weighting would show a run that did not happen."""
    axes = panels(build(histories))
    np.testing.assert_allclose(
        line(axes["pixel-wise term"], "distilled"), [5.0 / s for s in range(10, 101, 10)]
    )
    np.testing.assert_allclose(line(axes["mean IoU"], "alone"), [0.2, 0.4])


def test_the_plain_trainers_loss_is_drawn_as_its_task_loss(histories: dict[str, Any]) -> None:
    axes = panels(build(histories))["task loss"]
    assert line(axes, "alone")[0] == pytest.approx(1.2)
    assert line(axes, "distilled")[0] == pytest.approx(1.0)


def test_the_weighted_total_is_never_drawn_as_the_task_loss() -> None:
    """The total of a run without a logged task term is another quantity than its neighbour's task loss."""
    history = [{"step": 1, "loss": 9.0, "loss_pixel": 1.0, "eval_mean_iou": 0.5}]
    assert list(panels(build({"run": history}))) == ["mean IoU", "pixel-wise term"]


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf, None, "oops"])
def test_a_value_that_is_no_number_leaves_a_gap_and_is_counted(bad: object) -> None:
    """Joining its neighbours would hide that the run diverged there."""
    axes = panels(build({"run": log("loss_pixel", [3.0, bad, 1.0])}))["pixel-wise term"]
    np.testing.assert_equal(line(axes, "run"), [3.0, NAN, 1.0])
    assert [text.get_text() for text in axes.texts] == ["not finite, not drawn: 1 (run)"]


def test_a_term_missing_from_a_training_entry_leaves_a_gap() -> None:
    history = log("loss_pixel", [3.0, 2.0, 1.0])
    del history[1]["loss_pixel"]
    axes = panels(build({"run": history}))["pixel-wise term"]
    np.testing.assert_equal(line(axes, "run"), [3.0, NAN, 1.0])
    assert not axes.texts


def test_evaluations_between_training_entries_are_joined() -> None:
    """They are entries of their own: training entries without the metric are no gaps."""
    history = [{"step": 1, "eval_mean_iou": 0.1}, {"step": 2, "loss": 1.0}, {"step": 3, "eval_mean_iou": 0.2}]
    axes = panels(build({"run": history}))["mean IoU"]
    np.testing.assert_equal(line(axes, "run"), [0.1, 0.2])


def test_a_value_between_two_gaps_gets_a_dot() -> None:
    """A line of one point is invisible."""
    values = [1.0] * 30
    values[10] = values[12] = NAN
    axes = panels(build({"run": log("loss_pixel", values)}))["pixel-wise term"]
    (drawn,) = [drawn for drawn in axes.lines if drawn.get_label() == "run"]
    assert drawn.get_markevery() == [11]


def test_a_term_without_one_finite_value_gets_no_empty_panel() -> None:
    assert list(panels(build({"run": log("loss_pixel", [NAN, NAN])}))) == ["mean IoU", "task loss"]


def test_a_run_that_only_logged_nan_is_counted_in_the_panel_of_the_others() -> None:
    figure = build({"good": log("loss_pixel", [2.0, 1.0]), "bad": log("loss_pixel", [NAN, NAN])})
    assert [t.get_text() for t in panels(figure)["pixel-wise term"].texts] == [
        "not finite, not drawn: 2 (bad)"
    ]


@pytest.mark.parametrize(
    ("values", "scale", "label"),
    [
        ([3.0, 1.0, 0.5], "linear", "unweighted, linear from 0"),
        ([3.0, 0.3, 0.03], "log", "unweighted, log scale"),
        ([3.0, 0.3, 0.0], "linear", "unweighted, linear from 0"),
        ([3.0, -2.0, 0.001], "linear", "unweighted, linear, includes 0"),
        ([-3.0, -2.9], "linear", "unweighted, linear, includes 0"),
        ([0.0, 0.0], "linear", "unweighted, linear from 0"),
    ],
)
def test_the_axis_of_a_loss_includes_zero_or_says_it_is_logarithmic(
    values: list[float], scale: str, label: str
) -> None:
    """A cut axis makes a flat loss look like progress."""
    axes = panels(build({"run": log("loss_pixel", values)}))["pixel-wise term"]
    assert (axes.get_yscale(), axes.get_ylabel()) == (scale, label)
    low, high = axes.get_ylim()
    assert low < high
    assert low <= min(values)
    assert high >= max(values)
    if scale == "linear":
        assert low <= 0 <= high


@pytest.mark.parametrize(
    ("values", "label", "from_zero"),
    [([0.1, 0.6], "linear from 0", True), ([0.70, 0.72], "axis does not start at 0", False)],
)
def test_a_metric_axis_that_is_cut_says_so(values: list[float], label: str, from_zero: bool) -> None:
    history = [{"step": i + 1, "eval_mean_iou": v} for i, v in enumerate(values)]
    axes = panels(build({"run": history}))["mean IoU"]
    assert axes.get_ylabel() == label
    assert bool(axes.get_ylim()[0] == 0) is from_zero


def test_all_panels_share_one_step_axis(histories: dict[str, Any]) -> None:
    """A run that stopped early must not look as if it ran to the end."""
    histories["alone"] = histories["alone"][:3]
    assert {axes.get_xlim() for axes in build(histories).axes} == {(0.0, 103.0)}


def test_a_log_in_any_order_is_drawn_by_step() -> None:
    history = log("loss_pixel", [3.0, 2.0, 1.0])[::-1]
    np.testing.assert_equal(line(panels(build({"run": history}))["pixel-wise term"], "run"), [3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("teacher", "label", "lines"),
    [(0.667, "teacher (0.667)", 3), *((bad, "teacher (n/a)", 2) for bad in (NAN, math.inf, -math.inf))],
)
def test_the_legend_names_runs_as_they_are_and_the_teacher_with_its_score(
    histories: dict[str, Any], teacher: float, label: str, lines: int
) -> None:
    """Matplotlib drops names with a leading underscore, and sets text between dollars as a formula. A teacher
    without a score must not cost the report of a finished run."""
    runs = {"_first": histories["distilled"], "b $x_1$": histories["alone"]}
    figure = build(runs, teacher=teacher)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["_first", "b $x_1$", label]
    assert not any(text.get_parse_math() for text in legend.get_texts())
    drawn = [list(np.asarray(one.get_ydata())) for one in panels(figure)["mean IoU"].lines]
    assert len(drawn) == lines
    assert ([teacher, teacher] in drawn) is (lines == 3)


def test_a_metric_without_one_finite_value_has_a_panel_that_says_so() -> None:
    """Validation without labels has no score; the terms must be drawn all the same."""
    figure = build({"run": log("eval_mean_iou", [NAN, NAN])}, teacher=NAN)
    axes = panels(figure)["mean IoU"]
    assert axes.get_ylabel() == "n/a"
    assert [text.get_text() for text in axes.texts] == ["not finite, not drawn: 2 (run)"]
    assert list(panels(figure)) == ["mean IoU", "task loss"]


def test_runs_differ_in_dashes_as_well_as_in_colour() -> None:
    figure = build({name: log("loss_pixel", [2.0, 1.0]) for name in "abcd"})
    lines = panels(figure)["task loss"].lines
    assert len({one.get_color() for one in lines}) == 4
    assert len({one.get_linestyle() for one in lines}) == 4


def test_the_callers_matplotlib_stays_as_it_was(histories: dict[str, Any], tmp_path: Path) -> None:
    """A figure left open in pyplot, or another backend, would show up in the user's notebook."""
    import matplotlib.pyplot as plt

    before = (matplotlib.get_backend(), dict(matplotlib.rcParams), plt.get_fignums())
    plot_curves(histories, tmp_path / "curves.png", **OPTIONS)
    assert (matplotlib.get_backend(), dict(matplotlib.rcParams), plt.get_fignums()) == before


def test_figures_drawn_in_two_threads_do_not_mix(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("expected.png", "0.png", "1.png")]
    plot_curves({"run": log("loss_pixel", [1.0, 0.5])}, paths[0], **OPTIONS)
    threads = [
        Thread(target=plot_curves, args=({"run": log("loss_pixel", [1.0, 0.5])}, path), kwargs=OPTIONS)
        for path in paths[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], r"`histories\['run'\]` must hold entries with a `step`, got \[\]"),
        ([{"loss": 1.0}], r"`histories\['run'\]` must hold entries with a `step`, got \[\{'loss': 1.0\}\]"),
        ([{"step": 1, "loss": 1.0}], "`metric` must be logged .* got 'eval_mean_iou' .*'loss'"),
    ],
)
def test_what_is_no_log_of_a_run_is_refused(history: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        plot_curves({"run": history}, tmp_path / "curves.png", **OPTIONS)
    assert not list(tmp_path.iterdir())
