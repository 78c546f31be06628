"""The best model is the best one by the task's own metrics, whichever direction they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hf_structkd import StructKDTrainer

from ..cases import CASES, DEPTH, TaskCase, arguments, make_trainer

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SELECTING = {
    "max_steps": 3,
    "save_strategy": "steps",
    "save_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 1,
}


def trained(case: TaskCase, folder: Path, **settings: Any) -> StructKDTrainer:
    args = arguments(folder, learning_rate=1e-2, load_best_model_at_end=True, **SELECTING, **settings)
    trainer = make_trainer(case, args)
    trainer.train()
    return trainer


def scores(trainer: StructKDTrainer, metric: str) -> list[float]:
    return [log[f"eval_{metric}"] for log in trainer.state.log_history if f"eval_{metric}" in log]


@pytest.mark.parametrize("metric", ["abs_rel", "eval_rmse"])
def test_the_smallest_error_is_kept(metric: str, tmp_path: Path) -> None:
    """Trainer takes every metric but a loss for one to be maximised, and kept the worst student."""
    trainer = trained(DEPTH, tmp_path, metric_for_best_model=metric)
    found = scores(trainer, metric.removeprefix("eval_"))
    assert len(set(found)) > 1
    assert trainer.state.best_metric == min(found)
    assert trainer.evaluate()[f"eval_{metric.removeprefix('eval_')}"] == pytest.approx(min(found))


@over_tasks
def test_an_unset_metric_is_the_tasks_headline(case: TaskCase, tmp_path: Path) -> None:
    """Else the loss decides, which is not what the run is judged by."""
    trainer = trained(case, tmp_path)
    headline = trainer.task.headline
    found = scores(trainer, headline.metric)
    assert trainer.state.best_metric == (max(found) if headline.higher_is_better else min(found))


@over_tasks
def test_a_headline_and_the_set_of_errors_agree(case: TaskCase, tmp_path: Path) -> None:
    task = make_trainer(case, arguments(tmp_path)).task
    assert (task.headline.metric in task.errors) != task.headline.higher_is_better
    assert task.errors <= task.metric_labels.keys()


def test_what_the_caller_says_wins(tmp_path: Path) -> None:
    trainer = trained(DEPTH, tmp_path, metric_for_best_model="abs_rel", greater_is_better=True)
    assert trainer.state.best_metric == max(scores(trainer, "abs_rel"))
    loss = make_trainer(
        DEPTH,
        arguments(tmp_path / "loss", load_best_model_at_end=True, metric_for_best_model="loss", **SELECTING),
    )
    assert loss.args.greater_is_better is False


@pytest.mark.parametrize("metric", [None, "second_abs_rel", "eval_first_rmse"])
def test_of_several_sets_the_smallest_error_is_kept(metric: str | None, tmp_path: Path) -> None:
    """The name of the set hid that the metric is an error; left open, no set has the headline by its name."""
    args = arguments(tmp_path, load_best_model_at_end=True, metric_for_best_model=metric, **SELECTING)
    trainer = make_trainer(DEPTH, args, eval_dataset={"first": DEPTH.rows(2), "second": DEPTH.rows(3)})
    trainer.train()
    found = scores(trainer, (metric or "first_abs_rel").removeprefix("eval_"))
    assert len(set(found)) > 1
    assert trainer.state.best_metric == min(found)
