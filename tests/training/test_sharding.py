"""Student and teacher, sharded over two processes, are what they are in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ..cases import SEGMENTATION, TaskCase, arguments, make_trainer, state_of
from ..distributed_worker import ACCUMULATIONS, train
from ..sharding_worker import PRECISIONS, REFUSED, STEADY
from .test_distributed import read
from .test_trainer import assert_states_close, over_tasks

ROOT = Path(__file__).parents[2]


def in_two(folder: Path, *work: str) -> Path:
    """Let two processes do what the worker names, and return the folder."""
    command = [sys.executable, "-m", "tests.sharding_worker", str(folder), *work]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def facts(folder: Path, name: str) -> list[Any]:
    """What both processes wrote."""
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_two(tmp_path_factory.mktemp("quick"), "quick")


def assert_trains_as_one_process(case: TaskCase, sharded: Path, folder: Path) -> None:
    train(case, folder, accumulation=1, processes=1)
    one, (single,) = read(folder, 1)
    two, (first, second) = read(sharded, 2)
    assert_states_close(first, second, rtol=0, atol=0)
    assert_states_close(single, first, rtol=1e-4, atol=2e-6)
    assert any(name.startswith("holistic.") for name in single)
    for whole, split in zip(one[0]["logs"], two[0]["logs"], strict=True):
        for name in [n for n in whole if n.startswith(("loss", "critic", "gradient", "grad_norm"))]:
            assert split[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-5), name
    assert two[0]["metrics"][case.metric] == pytest.approx(one[0]["metrics"][case.metric], abs=1e-6)
    assert two[0]["teacher"] == pytest.approx(one[0]["teacher"], abs=1e-6, nan_ok=True)
    # What is too small to be cut falls to the first process.
    for shares in zip(*facts(sharded, "shares"), strict=True):
        assert sum(shares) == pytest.approx(1)
        assert max(shares) < 0.65
    # Only transformers reads it back.
    saved = type(case.student(0)).from_pretrained(sharded / "student").state_dict()
    assert_states_close(
        {f"student.{name}": value for name, value in saved.items()},
        {name: value for name, value in first.items() if name.startswith("student.")},
        rtol=0,
        atol=0,
    )


@pytest.mark.usefixtures("narrow_critic")
def test_two_processes_that_share_the_models_are_one(quick: Path, tmp_path: Path) -> None:
    """Else a teacher that no device holds teaches something else, or the student learns a part of it."""
    assert_trains_as_one_process(SEGMENTATION, quick / SEGMENTATION.name, tmp_path)
    assert "student and teacher, over 2 processes" in (quick / "stdout.txt").read_text()


@pytest.mark.long
@pytest.mark.usefixtures("narrow_critic")
@over_tasks
def test_every_task_is_sharded(case: TaskCase, tmp_path: Path) -> None:
    in_two(tmp_path, "task", case.name)
    for accumulation in ACCUMULATIONS:
        assert_trains_as_one_process(case, tmp_path / str(accumulation), tmp_path / f"one-{accumulation}")


@pytest.mark.parametrize("name", [*REFUSED, "trainer", "model", "optimizers"])
def test_what_does_not_go_with_shards_is_refused_by_every_process(name: str, quick: Path) -> None:
    """Else one process waits for ever for another, or an optimiser moves tensors that nobody reads."""
    for refused in facts(quick, "refused"):
        assert f"`{name}`" in refused[name] or "`shard` cannot name the student" in refused[name], refused[
            name
        ]


@pytest.mark.parametrize(
    ("shard", "message"),
    [("teacher", "`shard` needs several processes"), (["critic"], "`shard` must be one of")],
)
def test_nothing_is_sharded_where_it_cannot_be(shard: Any, message: str, tmp_path: Path) -> None:
    """One process that is to hold a share of a teacher would hold all of it, and run out of memory."""
    with pytest.raises(ValueError, match=message):
        arguments(tmp_path, shard=shard)


@pytest.mark.long
@pytest.mark.usefixtures("narrow_critic")
@over_tasks
def test_checkpoints_of_shards_are_those_of_any_run(case: TaskCase, tmp_path: Path) -> None:
    """Else an interrupted run gives another student, or can go on only where it was interrupted."""
    in_two(tmp_path, "checkpoints", case.name)
    for rank in range(2):
        states = torch.load(tmp_path / f"states-{rank}.pt")
        for name in ("resumed", "again"):
            assert_states_close(states["whole"], states[name], rtol=0, atol=0)
        kept = type(case.student(0)).from_pretrained(facts(tmp_path, "best")[rank]).state_dict()
        for name, value in kept.items():
            assert torch.equal(value, states["best"][f"student.{name}"]), name
    settings = {"max_steps": 5, "save_strategy": "no", **STEADY}
    alone = make_trainer(case, arguments(tmp_path / "cut", per_device_train_batch_size=4, **settings))
    alone.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert_states_close(states["whole"], state_of(alone), rtol=1e-4, atol=2e-6)


@pytest.mark.long
@over_tasks
def test_shards_train_in_every_precision_as_copies_do(case: TaskCase, tmp_path: Path) -> None:
    """Else what saves memory changes the student; running statistics are those of the first process."""
    in_two(tmp_path, "precisions", case.name)
    for name, settings in PRECISIONS.items():
        tolerance = 1e-2 if "bf16" in settings else 1e-5
        for found in facts(tmp_path, name):
            assert found["running"] < tolerance, name
            for one, other in zip(*found["logs"], strict=True):
                for key in ("loss", "grad_norm", "loss_pairwise", "loss_holistic"):
                    assert other[key] == pytest.approx(one[key], rel=tolerance), (name, key)


@pytest.mark.long
def test_a_sharded_teacher_runs_if_one_process_lacks_an_answer(tmp_path: Path) -> None:
    """Else a process that finds all its answers leaves the others waiting for its part of the teacher."""
    in_two(tmp_path, "cached")
    for rank in range(2):
        plain, *others = [
            torch.load(tmp_path / name / f"state-{rank}.pt") for name in ("plain", "first", "later")
        ]
        for other in others:
            assert_states_close(plain, other, rtol=0, atol=0)


@pytest.mark.long
def test_every_teacher_answers_in_shards_as_it_does_whole(tmp_path: Path) -> None:
    """Layers are found by no table of architectures; weights that two layers share stay with one of them."""
    in_two(tmp_path, "architectures")
    for found in facts(tmp_path, "architectures"):
        for arch, (share, apart) in found.items():
            assert share < 0.75, arch
            assert apart < 1e-5, arch
