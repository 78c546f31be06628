"""The seam for terms: what is added, switched or annealed from outside is what is trained with."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from transformers import TrainerCallback

from hf_structkd import StructKDTrainer
from hf_structkd.card.card import model_card
from hf_structkd.card.run import card_facts
from hf_structkd.terms import HolisticTerm, PairwiseTerm, PixelTerm, TaskTerm, Term, built_in_terms

from ..cases import ALONE, CASES, SEGMENTATION, TaskCase, arguments, freeze_batch_norm, make_trainer

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_term.py"


def losses(trainer: StructKDTrainer) -> list[dict[str, float]]:
    return [log for log in trainer.state.log_history if "loss" in log]


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("custom_term", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up there
    spec.loader.exec_module(module)
    return module


def test_a_term_of_ones_own_appears_everywhere_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else whoever adds a term must know the logs, the table, the figures, the card and the checkpoints."""
    example = load_example()
    trainer = example.main(str(tmp_path), steps=2)
    assert "0.5 × edge" in capsys.readouterr().out
    assert trainer.log_titles["loss_edge"] == "edge term"
    saved = json.loads((tmp_path / "checkpoint-2" / "structkd_settings.json").read_text())
    assert (saved["edge_weight"], saved["edge.distance"]) == (0.5, 1)
    card = str(model_card(card_facts(trainer)))
    assert "| edge term | 0.5 | how the class probabilities change from one pixel to the next |" in card
    assert "`distance`" in card


def test_a_term_of_ones_own_counts_in_the_loss_and_in_the_resume_check(tmp_path: Path) -> None:
    """Else it is logged and trains nothing, or half of a run is trained with another setting."""
    edge = load_example().EdgeTerm
    args = arguments(tmp_path, max_steps=1, save_strategy="steps", save_steps=1, **UNSET)
    terms: list[Term] = [PixelTerm(2.0), edge(0.5)]
    trainer = make_trainer(SEGMENTATION, args, terms=terms)
    trainer.train()
    (log,) = losses(trainer)
    total = log["loss_task"] + 2 * log["loss_pixel"] + 0.5 * log["loss_edge"]
    assert log["loss"] == pytest.approx(total, rel=1e-5)
    assert log["loss_edge"] > 0
    assert [term.name for term in trainer.terms] == ["task", "pixel", "edge"]
    with pytest.raises(ValueError, match=r"edge\.distance was 1 and is 2"):
        make_trainer(SEGMENTATION, args, terms=[PixelTerm(2.0), edge(0.5, distance=2)]).train()


UNSET = {"pixel_weight": None, "pairwise_weight": None, "holistic_weight": None}


@over_tasks
def test_terms_in_a_list_train_as_the_same_terms_from_arguments(case: TaskCase, tmp_path: Path) -> None:
    """Else the two ways to say the same thing are two experiments."""
    by_flags = make_trainer(case, arguments(tmp_path / "flags", granularity=[1], temperature=2.0))
    listed = [PixelTerm(1.0, temperature=2.0), PairwiseTerm(10.0, granularity=1), HolisticTerm(0.1)]
    by_list = make_trainer(case, arguments(tmp_path / "list", **UNSET), terms=listed)
    for trainer in (by_flags, by_list):
        trainer.train()
    for name, value in by_flags.model.state_dict().items():
        assert torch.equal(value, by_list.model.state_dict()[name]), name


def test_a_weight_in_the_arguments_beside_a_list_is_refused(tmp_path: Path) -> None:
    """Else it is passed over, and the run is believed to have it."""
    with pytest.raises(
        ValueError, match=r"`pairwise_weight` is 10.0 in `args`, which has no effect beside `terms`"
    ):
        make_trainer(SEGMENTATION, arguments(tmp_path, pixel_weight=None), terms=[PixelTerm(1.0)])
    with pytest.raises(
        ValueError, match=r"`temperature` is 4.0 in `args`, which has no effect beside `terms`"
    ):
        make_trainer(SEGMENTATION, arguments(tmp_path, temperature=4.0, **UNSET), terms=[PixelTerm(1.0)])
    with pytest.raises(ValueError, match=r"`task_weight` is 0.5 in `args`, which has no effect"):
        make_trainer(SEGMENTATION, arguments(tmp_path, task_weight=0.5, **UNSET), terms=[TaskTerm(1.0)])
    args = arguments(tmp_path)
    trainer = make_trainer(SEGMENTATION, args, terms=[*built_in_terms(args), load_example().EdgeTerm(0.5)])
    assert [term.name for term in trainer.terms][-1] == "edge"
    own = make_trainer(SEGMENTATION, arguments(tmp_path, **UNSET), terms=[TaskTerm(3.0), PixelTerm(1.0)])
    assert own.weights == {"task": 3.0, "pixel": 1.0}


class Anneal(TrainerCallback):
    """Sets weights in the arguments before a step, as a warm-up or a ramp does."""

    def __init__(self, schedule: dict[int, dict[str, float]]) -> None:
        self.schedule = schedule

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, value in self.schedule.get(state.global_step, {}).items():
            setattr(args, name, value)


@over_tasks
def test_a_weight_that_a_callback_sets_is_the_one_that_trains(case: TaskCase, tmp_path: Path) -> None:
    """Else annealing changes nothing, and the checkpoint records weights that were not used."""
    schedule = {1: {"pixel_weight": 0.25, "pairwise_weight": 0.0}, 2: {"pairwise_weight": 3.0}}
    args = arguments(tmp_path, max_steps=3, save_strategy="steps", save_steps=1)
    trainer = make_trainer(case, args, callbacks=[Anneal(schedule)])
    trainer.train()
    weights = [(1.0, 1.0, 10.0, 0.1), (1.0, 0.25, 0.0, 0.1), (1.0, 0.25, 3.0, 0.1)]
    names = ("task", "pixel", "pairwise", "holistic")
    for step, (log, expected) in enumerate(zip(losses(trainer), weights, strict=True), start=1):
        on = [(weight, log[f"loss_{name}"]) for name, weight in zip(names, expected, strict=True) if weight]
        assert log["loss"] == pytest.approx(sum(weight * value for weight, value in on), rel=1e-5)
        assert ("loss_pairwise" in log) == (expected[2] > 0)
        saved = json.loads((tmp_path / f"checkpoint-{step}" / "structkd_settings.json").read_text())
        assert saved["weights_in_use"].items() >= dict(zip(names, expected, strict=True)).items()
        assert saved["pixel_weight"] == 1.0  # as the run began, which a resumed one begins with too
    make_trainer(case, arguments(tmp_path, max_steps=4), callbacks=[Anneal(schedule)]).train(
        resume_from_checkpoint=True
    )


@over_tasks
def test_a_term_that_comes_on_later_gets_its_teacher_its_features_and_its_critic(
    case: TaskCase, tmp_path: Path
) -> None:
    """Else a warm-up from 0 trains the student alone to the end."""
    schedule = {1: {"pairwise_weight": 1.0, "holistic_weight": 0.1}}
    trainer = make_trainer(
        case, arguments(tmp_path, max_steps=2, **ALONE), callbacks=[Anneal(schedule)], teacher=case.teacher(1)
    )
    assert trainer.teacher is None
    trainer.train()
    first, second = losses(trainer)
    assert "loss_pairwise" not in first
    assert second["loss_pairwise"] > 0
    assert "critic_gap" in second
    total = second["loss_task"] + second["loss_pairwise"] + 0.1 * second["loss_holistic"]
    assert second["loss"] == pytest.approx(total, rel=1e-5)


def test_a_setting_that_hides_a_method_is_refused() -> None:
    """Else the trainer calls a number at the first step."""

    @dataclass(eq=False)
    class Stepping(TaskTerm):
        step: int = 1

    with pytest.raises(TypeError, match="`step` must be no setting of Stepping"):
        Stepping()


def test_hyperparameter_search_trains_with_the_weights_it_tries(tmp_path: Path) -> None:
    """Else every trial is the same run, and the best of them is luck."""
    tried: list[tuple[float, int]] = []
    logged: list[dict[str, float]] = []

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                logged.append(dict(logs))

    def space(trial: Any) -> dict[str, Any]:
        weight = trial.suggest_categorical("pixel_weight", [0.5, 8.0])
        grid = trial.suggest_categorical("node_grid", [2, 4])
        tried.append((weight, grid))
        return {"pixel_weight": weight, "node_grid": grid}

    args = arguments(tmp_path, max_steps=1, **{**UNSET, "holistic_weight": 0.0, "eval_strategy": "steps"})
    trainer = StructKDTrainer(
        None,
        SEGMENTATION.teacher(1),
        args,
        model_init=lambda: freeze_batch_norm(SEGMENTATION.student(0)),
        train_dataset=SEGMENTATION.rows(4),
        eval_dataset=SEGMENTATION.rows(2),
        callbacks=[Watch()],
    )
    hooks = hook_count(trainer)
    grid = optuna.samplers.GridSampler({"pixel_weight": [0.5, 8.0], "node_grid": [2, 4]}, seed=0)
    best = trainer.hyperparameter_search(
        space,
        compute_objective=lambda metrics: metrics["eval_mean_iou"],
        n_trials=4,
        direction="maximize",
        sampler=grid,
    )
    assert sorted(tried) == [(0.5, 2), (0.5, 4), (8.0, 2), (8.0, 4)]
    for (weight, _), log in zip(tried, logged, strict=True):
        total = log["loss_task"] + weight * log["loss_pixel"] + 10 * log["loss_pairwise"]
        assert log["loss"] == pytest.approx(total, rel=1e-5)
    pairwise = {
        grid: {log["loss_pairwise"] for (_, g), log in zip(tried, logged, strict=True) if g == grid}
        for grid in (2, 4)
    }
    assert [len(values) for values in pairwise.values()] == [1, 1]
    assert pairwise[2] != pairwise[4]
    assert set(best.hyperparameters) == {"pixel_weight", "node_grid"}
    assert hook_count(trainer) - hooks <= 2, "every trial leaves hooks on the teacher that all share"


def hook_count(trainer: StructKDTrainer) -> int:
    assert trainer.teacher is not None
    modules = trainer.teacher.model.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


class Explosive(Term):
    """A finite loss of 0 whose gradient is NaN from the second step on."""

    name = "explosive"
    title = "explosive term"
    compares = "nothing"
    needs_teacher = False
    calls = 0

    def __call__(self, task: Any, student: Any, teacher: Any, batch: Any) -> torch.Tensor:
        self.calls += 1
        nothing = 0 * task.prediction(student.output).float().sum()
        return nothing.abs().sqrt() if self.calls > 1 else nothing


@over_tasks
@pytest.mark.parametrize("clipped", [True, False])
def test_a_gradient_that_is_not_finite_stops_before_the_step(
    case: TaskCase, clipped: bool, tmp_path: Path
) -> None:
    """Without clipping NaN weights were saved, and rotated the last good checkpoint away."""
    args = arguments(
        tmp_path,
        max_steps=4,
        max_grad_norm=1.0 if clipped else 0.0,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=1,
        **UNSET,
    )
    trainer = make_trainer(case, args, terms=[Explosive(1.0)])
    with pytest.raises(
        FloatingPointError, match=r"the student's gradient turned non-finite at step 2; .*checkpoint-1"
    ):
        trainer.train()
    saved = type(trainer.model).from_pretrained(tmp_path / "checkpoint-1")
    for (name, now), before in zip(trainer.model.named_parameters(), saved.parameters(), strict=True):
        assert now.isfinite().all(), name
        assert torch.equal(now, before), name
    assert all(torch.isfinite(value).all() for value in trainer.model.parameters())
