"""Weights in units of the supervised loss: what is measured, and that a run with it stays what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd.training.balance import BALANCE_FILE, GradientBalance
from hf_structkd.training.set_up import training_plan
from tests.cases import CASES, DEPTH, SEGMENTATION, TaskCase, arguments, make_trainer

ON = {"pixel_weight": 2.0, "pairwise_weight": 0.5, "holistic_weight": 0.0, "max_grad_norm": 0.0}


def _gradients(trainer: Any, weights: dict[str, float]) -> dict[str, torch.Tensor]:
    """Each parameter's gradient of the first batch under some weights."""
    for name, weight in weights.items():
        setattr(trainer.args, f"{name}_weight", weight)
    trainer.model.train()  # in evaluation the loss is the task's alone
    trainer.model.zero_grad()
    rows = [trainer.train_dataset[index] for index in range(2)]
    trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator(rows))).backward()
    return {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_weight_is_the_share_of_the_supervised_gradient(case: TaskCase, tmp_path: Path) -> None:
    """If not, a weight of 1 drowns the labels on one dataset and does nothing on the next."""
    alone = {"task": 1.0, "pixel": 0.0, "pairwise": 0.0}
    trainer = make_trainer(case, arguments(tmp_path / "plain", **ON, max_steps=1))
    trainer.distillation.prepare(training_plan(trainer.args, 1), trainer.train_dataset)
    of_term = {name: _gradients(trainer, {**alone, "task": 0.0, name: 1.0}) for name in alone}
    shared = {name for name, gradient in of_term["pairwise"].items() if gradient.abs().sum() > 0}
    shared &= of_term["task"].keys() & of_term["pixel"].keys()
    norm = {
        name: torch.cat([one[key].flatten() for key in sorted(shared)]).norm()
        for name, one in of_term.items()
    }
    balanced = make_trainer(case, arguments(tmp_path / "balanced", **ON, max_steps=1, balance_steps=1))
    balanced.distillation.prepare(training_plan(balanced.args, 1), balanced.train_dataset)
    _gradients(balanced, {})
    in_use = balanced.distillation.weights_in_use
    assert in_use["task"] == 1 != in_use["pixel"] / 2.0
    assert in_use["pixel"] == pytest.approx(float(2.0 * norm["task"] / norm["pixel"]), rel=1e-3)
    assert in_use["pairwise"] == pytest.approx(float(0.5 * norm["task"] / norm["pairwise"]), rel=1e-3)


def test_measuring_changes_no_step_but_its_weights(tmp_path: Path) -> None:
    """The further backwards must leave no gradient, no random number and no buffer behind."""
    first = make_trainer(DEPTH, arguments(tmp_path / "a", **ON, max_steps=2, balance_steps=1))
    first.train()
    factors = {name: first.distillation.balance.factor(name) for name in ("pixel", "pairwise")}
    weights = {f"{name}_weight": ON[f"{name}_weight"] * factor for name, factor in factors.items()}
    second = make_trainer(DEPTH, arguments(tmp_path / "b", **{**ON, **weights}, max_steps=2))
    second.train()
    for (name, one), other in zip(
        first.model.state_dict().items(), second.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, msg=name)


def test_the_weights_in_use_are_logged_and_stay_after_the_measured_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that nobody sees are weights that nobody can report."""
    trainer = make_trainer(
        SEGMENTATION, arguments(tmp_path, **ON, max_steps=4, balance_steps=2, logging_steps=1)
    )
    trainer.train()
    logs = [log["weight_pixel"] for log in trainer.state.log_history if "loss" in log]
    assert logs[1] == logs[2] == logs[3] != logs[0]
    assert "shares of the first term's gradient, measured over 2 steps" in capsys.readouterr().out
    losses = trainer.state.log_history[2]
    parts = sum(losses[f"weight_{name}"] * losses[f"loss_{name}"] for name in ("task", "pixel", "pairwise"))
    assert losses["loss"] == pytest.approx(parts, rel=1e-4)


def test_a_resumed_training_has_the_weights_of_before(tmp_path: Path) -> None:
    """Measured anew from a trained student they would be others, and the run another run."""
    options = {**ON, "max_steps": 4, "balance_steps": 2, "save_strategy": "steps", "save_steps": 3}
    whole = make_trainer(SEGMENTATION, arguments(tmp_path, **options))
    whole.train()
    again = make_trainer(SEGMENTATION, arguments(tmp_path, **options))
    again.train(resume_from_checkpoint=tmp_path / "checkpoint-3")
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], msg=name)
    (tmp_path / "checkpoint-3" / BALANCE_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {BALANCE_FILE}"):
        make_trainer(SEGMENTATION, arguments(tmp_path, **options)).distillation.load(
            tmp_path / "checkpoint-3"
        )


def test_without_a_gradient_in_common_nothing_is_balanced(tmp_path: Path) -> None:
    """Two strengths of nothing would divide by 0."""
    model = torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False) for _ in range(2)])
    values = {f"term {i}": part(torch.ones(2)).sum() for i, part in enumerate(model)}
    balance = GradientBalance(1)
    balance.measure(0, values, model)
    assert [balance.factor(name) for name in values] == [1.0, 1.0]
    balance.save(tmp_path)
    assert json.loads((tmp_path / BALANCE_FILE).read_text())["measured"] == 1


def test_a_term_that_comes_on_later_is_measured_against_the_same_steps_or_refused(tmp_path: Path) -> None:
    """With the sums of other steps, or with none, its weight would be no share, and nobody told."""
    trainer = make_trainer(
        SEGMENTATION, arguments(tmp_path, **{**ON, "pairwise_weight": 0.0}, balance_steps=2)
    )
    trainer.distillation.prepare(training_plan(trainer.args, 1), trainer.train_dataset)
    _gradients(trainer, {})
    trainer.distillation.begin_step(1)
    _gradients(trainer, {"pairwise": 0.5})
    both = trainer.distillation.balance
    fresh = make_trainer(SEGMENTATION, arguments(tmp_path, **ON, balance_steps=1))
    fresh.distillation.prepare(training_plan(fresh.args, 1), fresh.train_dataset)
    _gradients(fresh, {})
    assert both.factor("pairwise") == pytest.approx(fresh.distillation.balance.factor("pairwise"), rel=1e-3)
    assert fresh.distillation.balance.factor("pairwise") > 2
    with pytest.raises(ValueError, match="`mimic_weight` must be above 0 in the first 1 steps"):
        fresh.distillation.balance.refuse_unmeasured(["task", "mimic"])


@pytest.mark.parametrize("steps", [-1, 2.5])
def test_a_number_of_steps_that_is_none_is_refused(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`balance_steps` must be a number of steps, at least 0"):
        arguments(tmp_path, balance_steps=steps)


def test_gradients_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    """Below float16's smallest number a gradient is 0, and its term's weight would be without bound."""
    with pytest.raises(ValueError, match="`balance_steps` does not go with `fp16`"):
        arguments(tmp_path, balance_steps=1, fp16=True, use_cpu=False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"torch_compile": True, "torch_compile_backend": "aot_eager"}, 1e-3),
        ({"activation_checkpointing": True}, 1e-3),
        ({"bf16": True}, 0.1),
    ],
)
def test_other_ways_to_run_a_student_measure_the_same(
    options: dict[str, Any], tolerance: float, tmp_path: Path
) -> None:
    """Compiled code and checkpoints free what a second backward reads, unless they are told not to."""
    measured = []
    for extra in ({}, options):
        trainer = make_trainer(SEGMENTATION, arguments(tmp_path, **ON, max_steps=3, balance_steps=2, **extra))
        trainer.train()
        measured.append(trainer.distillation.weights_in_use)
    assert measured[1] == pytest.approx(measured[0], rel=tolerance)
