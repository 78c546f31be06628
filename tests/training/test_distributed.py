"""Two processes over gloo are one process with the same global batch."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd.teacher_cache import AnswerStore

from ..cases import CASES, TaskCase
from ..distributed_worker import ACCUMULATIONS, CACHED, train, train_cached
from ..unlabelled_rows import MIXED
from .test_trainer import assert_states_close


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each task and accumulation; one launch trains them all, as it costs more than they do."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "tests.distributed_worker", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def one_process(narrow_critic: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each task, trained here."""
    folder = tmp_path_factory.mktemp("one")
    for case in (*CASES, MIXED):
        train(case, folder / case.name, accumulation=1, processes=1)
    return folder


def read(folder: Path, processes: int) -> tuple[list[dict[str, Any]], list[dict[str, torch.Tensor]]]:
    """What each process wrote: its logs and metrics, and its state."""
    facts = [json.loads((folder / f"facts-{rank}.json").read_text()) for rank in range(processes)]
    # `accelerate launch --cpu` silently starts one process: a comparison of one with one always passes.
    assert [fact["world_size"] for fact in facts] == [processes] * processes
    return facts, [torch.load(folder / f"state-{rank}.pt") for rank in range(processes)]


@pytest.mark.parametrize(
    ("case", "accumulation"),
    [*itertools.product(CASES, ACCUMULATIONS), (MIXED, 2)],
    ids=lambda one: getattr(one, "name", f"accumulation {one}"),
)
def test_two_processes_are_one_with_the_same_global_batch(
    case: TaskCase, accumulation: int, two_processes: Path, one_process: Path
) -> None:
    """Else a weight found on one GPU is wrong on eight, or each process trains a critic of its own."""
    one, (single,) = read(one_process / case.name, 1)
    two, (first, second) = read(two_processes / f"{case.name}-{accumulation}", 2)
    assert_states_close(first, second, rtol=0, atol=0)
    assert_states_close(single, first, rtol=1e-4, atol=2e-6)
    assert any(name.startswith("holistic.") for name in single)
    for whole, split in zip(one[0]["logs"], two[0]["logs"], strict=True):
        for name in [n for n in whole if n.startswith(("loss", "critic", "gradient"))]:
            assert split[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-5), name
    # accelerate alone would leave the data of two processes in epoch 0 for ever.
    assert sorted(set(two[0]["epochs"])) == [0, 1]
    # Four rows in batches of three over two processes: two are padding, and must not count.
    assert two[0]["metrics"][case.metric] == pytest.approx(one[0]["metrics"][case.metric], abs=1e-6)
    assert two[0]["teacher"] == pytest.approx(one[0]["teacher"], rel=1e-6, abs=1e-6, nan_ok=True)


def answers_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every answer that a cache of one teacher holds, by its key."""
    stores = {place.name: AnswerStore(place) for place in (folder / "cache").iterdir()}
    return {f"{name}/{key}": store.get(key) or {} for name, store in stores.items() for key in store._places}


def test_two_processes_share_one_cache(two_processes: Path, narrow_critic: None, tmp_path: Path) -> None:
    """Else each computes all that the other knows, or reads answers that one process would not give."""
    train_cached(tmp_path, accumulation=2)
    single, shared = answers_of(tmp_path), answers_of(two_processes / "cached")
    assert single.keys() == shared.keys()
    assert len(shared) == 16, "the output and the features of eight images"
    for key, answer in single.items():
        assert answer.keys() == shared[key].keys()
        assert all(torch.equal(tensor, shared[key][name]) for name, tensor in answer.items())
    runs = {name: read(two_processes / "cached" / name, 2) for name in CACHED}
    assert [[fact["asked"] for fact in runs[name][0]] for name in CACHED[1:]] == [[True] * 2, [False] * 2]
    plain = runs["plain"][1][0]
    for name in CACHED:
        for state in runs[name][1]:
            assert_states_close(plain, state, rtol=0, atol=0)
