"""Validation data in which nothing is labelled: said before training, NaN in the scores, and no crash."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ..cases import ALONE, CASES, DETECTION, SEGMENTATION, Rows, TaskCase, arguments, make_trainer, state_of

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def without_labels(case: TaskCase, count: int) -> Rows:
    """Rows whose pixels are all ignored, whose depth is all holes, or that have no boxes."""
    rows = []
    for row in case.rows(count).rows:
        labels = row["labels"]
        if case is DETECTION:
            labels = {**labels, "boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
        else:
            labels = torch.full_like(labels, 255 if case is SEGMENTATION else 0)
        rows.append({**row, "labels": labels})
    return Rows(rows)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    """What is logged, at the moment that it is asked for."""
    for name in (
        "hf_structkd.training.set_up",
        "hf_structkd.training.best_model",
        "hf_structkd.cli.failures",
    ):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        caplog.set_level("WARNING", logger=name)
    return lambda: [record.getMessage() for record in caplog.records]


@over_tasks
def test_a_validation_without_labels_is_said_and_scored_nan(
    case: TaskCase, tmp_path: Path, said: Any
) -> None:
    """Else a night of training ends in an error, or in the first checkpoint as the best one."""
    args = arguments(
        tmp_path,
        **ALONE,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
    )
    trainer = make_trainer(case, args, eval_dataset=without_labels(case, 3))
    trainer.train()
    assert sum("Nothing is labelled" in text for text in said()) == 1
    assert not any("All `labels`" in text for text in said()), "which is of training batches"
    assert sum("cannot be the best one" in text for text in said()) == 2
    last = state_of(trainer)
    assert trainer.state.best_model_checkpoint is None
    scores = [
        value for log in trainer.state.log_history for name, value in log.items() if name == case.metric
    ]
    assert len(scores) == 2
    assert all(math.isnan(value) for value in scores)
    both = trainer.evaluate({"none": trainer.eval_dataset, "some": case.rows(2)})
    assert math.isnan(both[case.metric.replace("eval_", "eval_none_")])
    assert math.isnan(both["eval_none_loss"])
    assert not math.isnan(both["eval_some_loss"])
    # The last student, not the one of the first step.
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-2"))
    for name, value in state_of(trainer).items():
        assert torch.equal(value, last[name]), name


@over_tasks
def test_one_label_is_enough_to_say_nothing(case: TaskCase, tmp_path: Path, said: Any) -> None:
    """Else everybody learns to pass over the warning."""
    rows = Rows([*without_labels(case, 2).rows, *case.rows(1).rows])
    make_trainer(case, arguments(tmp_path, **ALONE, max_steps=1), eval_dataset={"a": rows}).train()
    assert not [text for text in said() if "Nothing is labelled" in text]


@pytest.mark.parametrize("own", [False, True], ids=["the task's metric", "the caller's"])
def test_the_loss_chooses_no_best_model_where_nothing_is_labelled(
    own: bool, tmp_path: Path, said: Any
) -> None:
    """It was 0 at each step, so that the first student was kept as the best one, in silence."""
    steps: dict[str, Any] = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1}
    args = arguments(
        tmp_path, **ALONE, **steps, save_steps=1, load_best_model_at_end=True, metric_for_best_model="loss"
    )
    options: dict[str, Any] = {"compute_metrics": lambda prediction: {}} if own else {}
    trainer = make_trainer(SEGMENTATION, args, eval_dataset=without_labels(SEGMENTATION, 3), **options)
    trainer.train()
    assert trainer.state.best_model_checkpoint is None
    assert sum("`eval_loss` is NaN" in text for text in said()) == 2
