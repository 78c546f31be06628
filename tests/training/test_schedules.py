"""Weights that rise over their first steps, and a moving average of the student that takes its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from hf_structkd import PixelTerm, StructKDTrainingArguments
from tests.average_worker import CHEAP, EXACT, stopped_and_resumed, student
from tests.cases import SEGMENTATION, arguments, make_trainer, state_of

# ---- the ramp of a weight ----


def test_a_weight_rises_by_its_steps_and_the_log_shows_it(tmp_path: Path) -> None:
    """A ramp that nobody sees is one that nobody can check."""
    args = arguments(tmp_path, pixel_warmup_steps=2, **{**CHEAP, "max_steps": 3})
    trainer = make_trainer(SEGMENTATION, args)
    trainer.train()
    logs = trainer.state.log_history[:3]
    for step, log in enumerate(logs):
        share = min(1.0, (step + 1) / 2)
        assert log["weight_pixel"] == pytest.approx(share)
        assert log["loss"] == pytest.approx(log["loss_task"] + share * log["loss_pixel"], rel=1e-4)
    assert trainer.weights["pixel"] == 1


def test_a_term_without_a_ramp_has_its_whole_weight_at_every_step() -> None:
    """By default no bit may change; a ramp of one step is none either."""
    assert [PixelTerm(2.0).share_at(step) for step in (0, 1, 7)] == [1.0, 1.0, 1.0]
    assert PixelTerm(2.0, warmup_steps=1).share_at(0) == 1.0
    assert [PixelTerm(2.0, warmup_steps=4).share_at(step) for step in (0, 2, 3, 9)] == [0.25, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("steps", [-1, 1.5])
def test_a_ramp_of_no_steps_is_refused(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`holistic_warmup_steps` must be a number of steps, at least 0"):
        arguments(tmp_path, holistic_warmup_steps=steps)


# ---- the average ----


class Recorder(TrainerCallback):
    """Averages the student by hand, in float64 and tensor by tensor."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, torch.Tensor] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, value in kwargs["model"].state_dict().items():
            old = self.state.get(name, value.double())
            self.state[name] = self.decay * old + (1 - self.decay) * value.double()


def test_the_average_is_evaluated_saved_and_left(tmp_path: Path) -> None:
    """The student that is scored must be the one that is saved."""
    args = arguments(
        tmp_path,
        **CHEAP,
        ema_decay=0.5,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
    )
    recorder = Recorder(0.5)
    trainer = make_trainer(SEGMENTATION, args, student=student(), callbacks=[recorder])
    trainer.train()
    for name, value in trainer.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), recorder.state[name], atol=1e-5, rtol=1e-4)
    scored = next(log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log)
    assert trainer.evaluate()["eval_loss"] == scored
    saved = type(trainer.model).from_pretrained(tmp_path / "checkpoint-2")
    assert all(
        torch.equal(*pair) for pair in zip(saved.parameters(), trainer.model.parameters(), strict=True)
    )


def test_a_resumed_run_has_the_same_average_ramp_and_shares(tmp_path: Path) -> None:
    """Resumed from the average, the optimiser would go on with other weights than it had."""
    whole, again = stopped_and_resumed(tmp_path, **EXACT)
    first, second = state_of(whole), state_of(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert whole.state.log_history[2]["loss"] == again.state.log_history[2]["loss"]


@pytest.mark.long
def test_two_processes_have_one_average_and_one_set_of_weights_also_when_resumed(tmp_path: Path) -> None:
    """Each process has its own batch: statistics, and gradients that are measured, would drift apart."""
    command = [sys.executable, "-m", "tests.average_worker", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    first, *others = [torch.load(path) for path in sorted(tmp_path.glob("*.pt"))]
    assert len(others) == 3
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_the_best_average_is_left_at_the_end(tmp_path: Path) -> None:
    args = arguments(
        tmp_path,
        **CHEAP,
        ema_decay=0.5,
        load_best_model_at_end=True,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=1,
        save_steps=1,
    )
    trainer = make_trainer(SEGMENTATION, args, student=student())
    trainer.train()
    assert trainer.evaluate()["eval_mean_iou"] == trainer.state.best_metric


def test_a_checkpoint_without_an_average_is_refused(tmp_path: Path) -> None:
    """The live weights are missing: it would go on from something else in silence."""
    trainer = make_trainer(
        SEGMENTATION, arguments(tmp_path, **{**CHEAP, "max_steps": 1}, save_strategy="steps", save_steps=1)
    )
    trainer.train()
    args = arguments(tmp_path, **CHEAP, ema_decay=0.5)
    with pytest.raises(ValueError, match=r"ema_decay was 0(\.0)? and is 0\.5"):
        make_trainer(SEGMENTATION, args).train(resume_from_checkpoint=True)


def test_an_average_of_a_sharded_student_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StructKDTrainingArguments, "world_size", 2)
    with pytest.raises(ValueError, match=r"`ema_decay` does not go with `shard`, got 0\.5: the average"):
        arguments(tmp_path, shard=["student"], ema_decay=0.5, holistic_weight=0.0)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`ema_decay` must be "):
        arguments(tmp_path, ema_decay=decay)
