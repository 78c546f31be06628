"""The feature-imitation term trains a projection beside the student, which is no part of the student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hf_structkd.losses.mimic import feature_imitation_loss
from hf_structkd.tasks import MapPair
from hf_structkd.terms import MimicTerm
from hf_structkd.terms.projections import projected, projections_for

from ..cases import ALONE, CASES, SEGMENTATION, StopAt, TaskCase, arguments, make_trainer, state_of

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
MIMIC = {**ALONE, "task_weight": 0.0, "mimic_weight": 1.0}


def test_a_projection_stands_where_the_widths_differ_only() -> None:
    pairs = [
        MapPair(torch.randn(1, student, 2, 2), torch.randn(1, teacher, 2, 2), None)
        for student, teacher in ((3, 5), (4, 4))
    ]
    projections = nn.ModuleList(projections_for(pairs))
    assert [type(module) for module in projections] == [nn.Conv2d, nn.Identity]
    maps = [student for student, _ in projected(pairs, projections)]
    assert [m.shape[1] for m in maps] == [5, 4]
    with pytest.raises(RuntimeError, match="the features have 1 levels and the projections were made for 2"):
        projected(pairs[:1], projections)


@over_tasks
def test_the_student_and_the_projection_learn_together(case: TaskCase, tmp_path: Path) -> None:
    """Else the projection is drawn at random and the student chases it."""
    trainer = make_trainer(case, arguments(tmp_path, max_steps=12, learning_rate=3e-3, **MIMIC), rows=4)
    trainer.train()
    term = trainer.terms["mimic"]
    logged = [log["loss_mimic"] for log in trainer.state.log_history if "loss_mimic" in log]
    assert logged[-1] < 0.9 * logged[0]
    assert 0 < logged[-1] < 2
    assert all(parameter.grad is not None for parameter in term.modules.parameters())
    assert trainer.model.state_dict().keys() == case.student(0).state_dict().keys()


def test_resuming_restores_the_projection_bit_for_bit(tmp_path: Path) -> None:
    """Else a resumed student is taught through a fresh projection."""
    case = SEGMENTATION  # its two models have feature maps of different widths
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, **MIMIC}
    through = make_trainer(case, arguments(tmp_path / "through", **settings))
    through.train()
    make_trainer(case, arguments(tmp_path / "cut", **settings), callbacks=[StopAt(1)]).train()
    assert (tmp_path / "cut" / "checkpoint-1" / "term_mimic.safetensors").is_file()
    resumed = make_trainer(case, arguments(tmp_path / "cut", **settings))
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-1"))
    one, other = state_of(through), state_of(resumed)
    assert any(name.startswith("mimic.") for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    (tmp_path / "cut" / "checkpoint-1" / "term_mimic.safetensors").unlink()
    with pytest.raises(ValueError, match=r"cannot be resumed: its term_mimic\.safetensors is missing"):
        make_trainer(case, arguments(tmp_path / "cut", **settings)).train(
            resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-1")
        )


def test_the_projection_leaves_the_students_randomness_alone(tmp_path: Path) -> None:
    """Else distilled and alone see other dropout and other orders."""
    states = []
    for weight in (0.0, 1.0):
        args = arguments(tmp_path / str(weight), mimic_weight=weight, max_steps=1)
        make_trainer(SEGMENTATION, args).train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_a_term_that_trains_modules_cannot_come_on_late(tmp_path: Path) -> None:
    """Its modules would not be in the optimiser, and never learn."""
    trainer = make_trainer(CASES[0], arguments(tmp_path, max_steps=1))
    trainer.train()
    trainer.args.mimic_weight = 1.0
    batch = trainer.task.collate(CASES[0].rows(2).rows)
    with pytest.raises(RuntimeError, match=r"trains modules of its own.*start with `mimic_weight` above 0"):
        trainer.compute_loss(trainer.model.train(), batch)


@over_tasks
def test_the_term_is_the_loss_of_the_projected_features(case: TaskCase, tmp_path: Path) -> None:
    trainer = make_trainer(case, arguments(tmp_path, max_steps=1, learning_rate=0.0, **MIMIC), rows=4)
    trainer.train()
    term: MimicTerm = trainer.terms["mimic"]
    batch = trainer.task.collate(case.rows(4).rows)
    assert trainer.teacher is not None
    trainer.pair.capture_features(trainer.model, batch["pixel_values"])
    student = trainer.task.student_forward(trainer.model.train(), batch, trainer.pair.student_capture)
    pairs = trainer.task.feature_pairs(student, trainer.teacher(batch), batch)
    values = [
        feature_imitation_loss(module(pair.student), pair.teacher, mask=pair.mask).item()
        for module, pair in zip(term.modules, pairs, strict=True)
    ]
    logged = next(log["loss_mimic"] for log in trainer.state.log_history if "loss_mimic" in log)
    assert logged == pytest.approx(sum(values) / len(values), rel=1e-4)
