"""Only complete checkpoints are resumed, and a good one is never lost to a bad one."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from hf_structkd.training.manifest import checkpoint_to_resume, last_checkpoint, what_is_missing

from ..cases import SEGMENTATION, StopAt, make_trainer, state_of
from .test_checkpoint import saving
from .test_trainer import assert_states_close, over_tasks


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("written")
    make_trainer(SEGMENTATION, saving(folder, max_steps=3), callbacks=[StopAt(2)]).train()
    return folder


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "run"))


FILES = (
    "config.json",
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "critic.safetensors",
    "critic_state.pt",
    "structkd_settings.json",
    "structkd_manifest.json",
    "trainer_state.json",
    "training_args.bin",
)


def test_every_file_of_a_checkpoint_is_damaged_below(written: Path) -> None:
    assert {path.name for path in (written / "checkpoint-2").iterdir()} == set(FILES)
    assert what_is_missing(written / "checkpoint-2") is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    """What a loss of power leaves of a file whose length was written and whose bytes were not."""
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = pytest.mark.parametrize(
    "damage", [Path.unlink, cut, empty, zeros], ids=["missing", "cut", "empty", "zeros"]
)


@DAMAGES
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_passed_over_and_named(
    name: str, damage: Callable[[Path], None], run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Resuming picked it for its number, and died, or went on with fresh states."""
    damage(run / "checkpoint-2" / name)
    assert last_checkpoint(run) == str(run / "checkpoint-1")
    with pytest.raises(ValueError, match=r"`resume_from_checkpoint` .*checkpoint-2 cannot be resumed: i.*;"):
        checkpoint_to_resume(str(run / "checkpoint-2"), str(run))
    assert f"checkpoint-2 ({what_is_missing(run / 'checkpoint-2')})" in caplog.text


def test_a_run_goes_on_from_the_last_complete_checkpoint(run: Path, tmp_path: Path) -> None:
    through = make_trainer(SEGMENTATION, saving(tmp_path / "through", max_steps=3))
    through.train()
    cut(run / "checkpoint-2" / "optimizer.pt")
    resumed = make_trainer(SEGMENTATION, saving(run, max_steps=3))
    resumed.train(resume_from_checkpoint=True)
    assert_states_close(state_of(through), state_of(resumed), rtol=0, atol=0)
    assert what_is_missing(run / "checkpoint-2") is None


@pytest.mark.parametrize(
    ("resume", "message"),
    [
        (True, r"`output_dir` .* holds no complete checkpoint \(incomplete: checkpoint-2, checkpoint-1\)"),
        ("nowhere", "must name a checkpoint's folder, and nowhere is none"),
    ],
)
def test_nothing_to_resume_is_one_sentence(resume: Any, message: str, run: Path) -> None:
    for state in run.glob("*/trainer_state.json"):
        cut(state)
    with pytest.raises(ValueError, match=message):
        make_trainer(SEGMENTATION, saving(run)).train(resume_from_checkpoint=resume)


def test_a_checkpoint_of_the_student_alone_is_refused(tmp_path: Path) -> None:
    """Else the run goes on with a fresh optimiser and a fresh critic."""
    args = saving(tmp_path, max_steps=1, save_only_model=True)
    make_trainer(SEGMENTATION, args).train()
    with pytest.raises(ValueError, match="saved with `save_only_model`"):
        make_trainer(SEGMENTATION, args).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


class During(TrainerCallback):
    """Does something after a step and before its checkpoint is written."""

    def __init__(self, step: int, action: Callable[..., None]) -> None:
        self.step = step
        self.action = action

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.action(model)


@contextmanager
def no_room_for_large_files() -> Iterator[Callable[..., None]]:
    """Yield a function after which the system refuses to write more than 20 KB into a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda model: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_costs_only_its_own_checkpoint(tmp_path: Path) -> None:
    """With a limit of one, the good checkpoint went, or resuming picked the half-written one."""
    limited = {"max_steps": 3, "save_total_limit": 1}
    through = make_trainer(SEGMENTATION, saving(tmp_path / "through", **limited))
    through.train()
    args = saving(tmp_path / "full", **limited)
    with (
        no_room_for_large_files() as fill_the_disk,
        pytest.raises(Exception, match=r"File too large|write|I/O"),
    ):
        make_trainer(SEGMENTATION, args, callbacks=[During(2, fill_the_disk)]).train()
    assert (tmp_path / "full" / "checkpoint-2").is_dir()
    assert last_checkpoint(args.output_dir) == str(tmp_path / "full" / "checkpoint-1")
    resumed = make_trainer(SEGMENTATION, args)
    resumed.train(resume_from_checkpoint=True)
    assert_states_close(state_of(through), state_of(resumed), rtol=0, atol=0)


def test_an_unfinished_newer_folder_does_not_rotate_a_good_one_away(tmp_path: Path) -> None:
    """Rotation keeps the highest number, which held nothing, and removed what was just written."""
    args = saving(tmp_path, max_steps=2, save_total_limit=1)
    (tmp_path / "checkpoint-9").mkdir()
    make_trainer(SEGMENTATION, args).train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def spoil(model: torch.nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)


@over_tasks
def test_weights_that_are_not_finite_are_never_written(case: Any, tmp_path: Path) -> None:
    """They rotated the last good checkpoint away."""
    args = saving(tmp_path, max_steps=2, save_total_limit=1)
    trainer = make_trainer(case, args, callbacks=[During(2, spoil)])
    with pytest.raises(
        FloatingPointError,
        match=r"weights of the student are not finite after step 2 .* the last checkpoint is .*checkpoint-1",
    ):
        trainer.train()
    with pytest.raises(FloatingPointError, match="are not saved"):
        trainer.save_model(str(tmp_path / "final"))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_critic_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, saving(tmp_path, max_steps=2, save_total_limit=1))
    critic = During(2, lambda model: spoil(trainer.terms["holistic"].networks[0]))
    trainer.add_callback(critic)
    with pytest.raises(FloatingPointError, match="weights of a module of the terms are not finite"):
        trainer.train()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_saving_a_finished_student_again_keeps_the_state_beside_it(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, saving(tmp_path, max_steps=1))
    trainer.train()
    trainer.save_state()
    trainer.save_model()
    assert json.loads((tmp_path / "trainer_state.json").read_text())["global_step"] == 1
