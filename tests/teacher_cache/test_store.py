"""What the store of answers keeps, and what it survives."""

from __future__ import annotations

import inspect
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_structkd.teacher_cache import AnswerStore


def _tensors(number: int) -> dict[str, torch.Tensor]:
    return {"logits": torch.full((2, 3), float(number)).half(), "boxes": torch.arange(4.0) + number}


def test_what_one_process_wrote_another_reads(tmp_path: Path) -> None:
    """Several processes of a run share a folder: each would otherwise compute all that the others know."""
    first, second = AnswerStore(tmp_path), AnswerStore(tmp_path)
    for number, store in enumerate((first, second)):
        store.put(f"key{number}", _tensors(number))
        store.flush()
    for store in (first, second, AnswerStore(tmp_path)):
        for number in range(2):
            read = store.get(f"key{number}")
            assert read is not None
            assert {name: tensor.dtype for name, tensor in read.items()} == {
                "logits": torch.float16,
                "boxes": torch.float32,
            }
            assert all(torch.equal(read[name], tensor) for name, tensor in _tensors(number).items())
        assert store.get("key2") is None
        assert len(store) == 2


_WRITER = """
import os, signal, sys, torch
sys.path.insert(0, sys.argv[2])  # the real package loads Transformers, seconds that the store does not need
from store import AnswerStore
store = AnswerStore(sys.argv[1])
store.put("whole", {"x": torch.ones(3)})
store.flush()
store.put("lost", {"x": torch.ones(3)})
open(os.path.join(sys.argv[1], "answers-0.part"), "wb").write(b"half a shard")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_what_it_had_finished(tmp_path: Path) -> None:
    """A pass over a large dataset takes hours, and half a file must not be read as answers."""
    package = str(Path(inspect.getfile(AnswerStore)).parent)
    killed = subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path), package], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = AnswerStore(tmp_path)
    assert store.get("whole") is not None
    assert store.get("lost") is None


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_damaged_shard_is_a_miss(damage, tmp_path: Path, caplog) -> None:
    """A damaged file costs its answers, not the run, and the user is told."""
    AnswerStore(tmp_path).put("key", _tensors(0))
    store = AnswerStore(tmp_path)
    store.put("key", _tensors(0))
    store.flush()
    (shard,) = tmp_path.glob("*.safetensors")
    shard.write_bytes(damage(shard.read_bytes()))
    assert AnswerStore(tmp_path).get("key") is None
    assert "computed again" in caplog.text


def test_a_full_disk_ends_the_storing_and_not_the_run(tmp_path: Path, caplog) -> None:
    """Answers can be computed again; a training that a full disk ends is lost."""
    store = AnswerStore(tmp_path)
    store.put("before", _tensors(0))
    store.flush()
    store.put("key", {"x": torch.ones(10_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))  # a write beyond it fails
    try:
        store.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not store.is_writable
    assert "goes on without storing" in caplog.text
    store.put("other", _tensors(1))
    assert [store.get(key) is not None for key in ("before", "key", "other")] == [True, False, False]
    assert len(list(tmp_path.iterdir())) == 1
