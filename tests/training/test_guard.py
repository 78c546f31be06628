"""Where numbers are looked at, and what is kept when they are no longer finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd import StructKDTrainer

from ..cases import SEGMENTATION, Rows, make_trainer
from .test_checkpoint import saving
from .test_trainer import over_tasks, poisoned_from


def reductions(trainer: StructKDTrainer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the step of every reduction over the processes; each one waits for the device."""
    steps: list[int] = []
    reduce = trainer.accelerator.reduce

    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.append(trainer.state.global_step)
        return reduce(*args, **kwargs)

    monkeypatch.setattr(trainer.accelerator, "reduce", counted)
    return steps


@pytest.mark.parametrize(("at_once", "looks"), [(True, 2 * 4), (False, 2)])
def test_nothing_waits_at_a_micro_step(
    at_once: bool, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every micro-step waited for the device and for the other processes."""
    settings = {"max_steps": 4, "logging_steps": 2, "save_strategy": "no", "gradient_accumulation_steps": 2}
    args = saving(tmp_path, **{**settings, "per_device_train_batch_size": 1})
    trainer = make_trainer(SEGMENTATION, args)
    trainer._guard.at_once = at_once
    steps = reductions(trainer, monkeypatch)
    trainer.train()
    means_of_terms = 3  # logged at steps 2 and 4, and the line of the epoch
    assert len(steps) == looks + means_of_terms


@over_tasks
def test_a_late_look_names_the_term_and_keeps_the_last_good_checkpoint(case: Any, tmp_path: Path) -> None:
    """Where nothing waits for the device, weights are spoilt before the stop; they must not be written."""
    args = saving(tmp_path, max_steps=5, save_total_limit=1, logging_steps=100, save_steps=2)
    trainer = make_trainer(case, args, train_dataset=poisoned_from(2, Rows(case.rows(4).rows)))
    trainer._guard.at_once = False
    with pytest.raises(
        FloatingPointError,
        match=r"loss_task.* turned non-finite after step 2 and before step 5; the last checkpoint is .*-2;",
    ):
        trainer.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    state = type(trainer.model).from_pretrained(tmp_path / "checkpoint-2").state_dict()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    assert not all(torch.isfinite(value).all() for value in trainer.model.parameters())


@over_tasks
def test_a_student_that_starts_with_nan_is_said(case: Any, tmp_path: Path) -> None:
    """It was told to find another classifier, or to lower its learning rate."""
    student = case.student(0)
    with torch.no_grad():
        next(student.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="`model` must start with finite weights"):
        make_trainer(case, saving(tmp_path), student=student).train()
