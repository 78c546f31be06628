"""Stopping and going on: a resumed run is the uninterrupted one, the critic included."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.data import load_segmentation_data
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.terms import built_in_terms

from ..cases import (
    CASES,
    SEGMENTATION,
    StopAt,
    TaskCase,
    arguments,
    make_trainer,
    on_cpu_alone,
    state_of,
)
from ..tiny_models import tiny_segmentation_model
from .test_trainer import assert_states_close, over_tasks


def saving(folder: Path, **overrides: Any) -> StructKDTrainingArguments:
    settings = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, **overrides}
    return arguments(folder, critic_loss="wgan-gp", gradient_penalty_weight=10.0, **settings)


@pytest.fixture(scope="module")
def through(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TaskCase, StructKDTrainer]:
    """A case and its uninterrupted run."""
    trainer = make_trainer(request.param, saving(tmp_path_factory.mktemp("through"), save_strategy="no"))
    trainer.train()
    return request.param, trainer


# An epoch has two steps.
@on_cpu_alone
@pytest.mark.parametrize(
    ("through", "stop"),
    [(SEGMENTATION, 1), *((case, 3) for case in CASES)],
    indirect=["through"],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    through: tuple[TaskCase, StructKDTrainer], stop: int, tmp_path: Path
) -> None:
    """Else whoever is interrupted gets another student, and nobody can tell why."""
    case, whole = through
    cut = make_trainer(case, saving(tmp_path, save_steps=stop), callbacks=[StopAt(stop)])
    cut.train()
    resumed = make_trainer(case, saving(tmp_path, save_steps=5))
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    assert resumed.state.global_step == whole.state.global_step == 5
    assert_states_close(state_of(whole), state_of(resumed), rtol=0, atol=0)
    assert [run.terms["holistic"].adversary.steps for run in (resumed, whole)] == [5, 5]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each case with a run that was ended after its first step."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for case in CASES:
        make_trainer(case, saving(folder / case.name, max_steps=1)).train()
    return folder


@pytest.fixture
def stopped(case: TaskCase, checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of a case's run of one step."""
    return Path(shutil.copytree(checkpoints / case.name, tmp_path / "stopped"))


@on_cpu_alone
def test_augmentation_and_dropout_resume_bit_for_bit_too(tmp_path: Path) -> None:
    """Else the promise holds for toys: real data is augmented, and the loader reads one batch ahead."""
    data = load_segmentation_data(
        image_size=(64, 64), normalization=ImageNormalization(), max_train_samples=12, max_eval_samples=1
    )

    def trainer(folder: str, **kwargs: Any) -> StructKDTrainer:
        torch.manual_seed(0)
        return StructKDTrainer(
            tiny_segmentation_model("segformer", id2label=data.id2label, dropout=0.2),
            tiny_segmentation_model("mobilenet_v2", id2label=data.id2label, seed=1),
            saving(tmp_path / folder),
            train_dataset=data.train,
            **kwargs,
        )

    through = trainer("through")
    through.train()
    trainer("cut", callbacks=[StopAt(2)]).train()
    resumed = trainer("cut")
    resumed.train(resume_from_checkpoint=True)
    assert_states_close(state_of(through), state_of(resumed), rtol=0, atol=0)


@over_tasks
def test_the_critic_is_inside_the_checkpoint_and_not_beside_the_student(
    case: TaskCase, tmp_path: Path
) -> None:
    """Else rotation or a push leaves it behind; and nobody who loads the student wants it."""
    trainer = make_trainer(case, saving(tmp_path, max_steps=3, save_total_limit=1))
    trainer.train()
    trainer.save_model()
    assert [p.parent.name for p in tmp_path.rglob("critic*")] == ["checkpoint-3", "checkpoint-3"]
    assert not any("critic" in name for name in trainer.model.state_dict())


@over_tasks
def test_a_checkpoint_without_its_critic_is_refused(case: TaskCase, stopped: Path) -> None:
    """Else the resumed run goes on with a fresh critic and says nothing."""
    checkpoint = stopped / "checkpoint-1"
    (checkpoint / "critic.safetensors").unlink()
    with pytest.raises(ValueError, match=r"cannot be resumed: its critic\.safetensors is missing"):
        make_trainer(case, saving(stopped)).train(resume_from_checkpoint=str(checkpoint))


@over_tasks
@pytest.mark.parametrize("resume", [True, None], ids=["resuming", "starting anew"])
def test_a_checkpoint_of_other_settings_is_refused(
    case: TaskCase, resume: bool | None, stopped: Path
) -> None:
    """Else one folder holds two experiments, or one run has two sets of weights."""
    before = sorted(stopped.rglob("*"))
    changed = saving(stopped, pixel_weight=3.0, granularity=[1])
    with pytest.raises(
        ValueError, match=r"pixel_weight was 1\.0 and is 3\.0; pairwise\.granularity was \[2\] and is \[1\]"
    ):
        make_trainer(case, changed).train(resume_from_checkpoint=resume)
    assert sorted(stopped.rglob("*")) == before


@over_tasks
def test_a_checkpoint_holds_its_settings(case: TaskCase, checkpoints: Path) -> None:
    args = saving(checkpoints / case.name, max_steps=1)
    saved = json.loads((checkpoints / case.name / "checkpoint-1" / "structkd_settings.json").read_text())
    assert saved["pixel_weight"] == 1.0
    for term in built_in_terms(args):
        for name in term.setting_names():
            assert saved[f"{term.name}.{name}"] == getattr(args, name)
    assert "parameters" in saved["teacher"]


@over_tasks
def test_another_teacher_is_refused_on_resuming(case: TaskCase, stopped: Path) -> None:
    """Else half of the run was taught by one teacher and half by another."""
    with pytest.raises(ValueError, match=r"teacher was '.* parameters' and is '.* parameters'"):
        make_trainer(case, saving(stopped), teacher=case.student(5)).train(resume_from_checkpoint=True)


@over_tasks
def test_a_run_that_had_done_all_its_steps_does_no_more(case: TaskCase, tmp_path: Path) -> None:
    """A machine is lost in the last evaluation, in the midst of an epoch: Trainer does one step too many."""
    make_trainer(case, saving(tmp_path, max_steps=1)).train()
    (last,) = tmp_path.glob("checkpoint-*")
    trainer = make_trainer(case, saving(tmp_path, max_steps=1))
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 1
    kept = state_of(trainer)
    trainer._load_from_checkpoint(str(last))
    for name, value in state_of(trainer).items():
        assert torch.equal(value, kept[name]), name
