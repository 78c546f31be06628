"""The launch files of `examples/accelerate/` start what their headers say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..cases import SEGMENTATION
from ..distributed_worker import train
from .test_distributed import read
from .test_trainer import assert_states_close

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "examples" / "accelerate"

LAUNCHES: dict[str, list[list[str]]] = {
    "cpu_processes.yaml": [[]],
    "sharded.yaml": [[]],
    "two_nodes.yaml": [["--machine_rank", str(rank), "--num_processes", "2"] for rank in range(2)],
}

# What a launch passes to the training.
SHARD = {"sharded.yaml": ["student", "teacher"]}


def start(config: str, flags: list[str], port: int, folder: Path) -> subprocess.Popen[str]:
    """Start one launch of the launcher's, in the precision in which runs are compared."""
    program = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / config)]
    common = ["--mixed_precision", "no", "--main_process_port", str(port)]
    command = [*program, *common, *flags, "-m", "tests.launched_worker", str(folder), "2"]
    command += SHARD.get(config, [])
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.long
@pytest.mark.usefixtures("narrow_critic")
@pytest.mark.parametrize("config", LAUNCHES)
def test_a_launch_file_starts_two_processes_that_train_as_one(config: str, tmp_path: Path) -> None:
    """`accelerate launch --cpu` starts one process and says nothing; two nodes must find one another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launches = [start(config, flags, port, tmp_path / "two") for flags in LAUNCHES[config]]
    try:
        texts = [launch.communicate(timeout=250)[0] for launch in launches]
    finally:
        for launch in launches:
            launch.kill()
    assert [launch.returncode for launch in launches] == [0] * len(launches), texts[0][-3000:]
    train(SEGMENTATION, tmp_path / "one", accumulation=1, processes=1)
    _, (single,) = read(tmp_path / "one", 1)
    _, (first, second) = read(tmp_path / "two", 2)
    assert_states_close(first, second, rtol=0, atol=0)
    assert_states_close(single, first, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("path", sorted(CONFIGS.iterdir()), ids=lambda path: path.name)
def test_a_launch_file_says_what_it_was_started_on(path: Path) -> None:
    """Else nobody knows whether a file for sixteen GPUs has ever run."""
    text = path.read_text(encoding="utf-8")
    assert "Started" in text or "Has not been started" in text
    if path.suffix == ".yaml":
        settings: dict[str, Any] = yaml.safe_load(text)
        assert settings["num_processes"] == 1 or settings["distributed_type"] == "MULTI_GPU"
        assert settings["dynamo_backend"] == "NO", "the trainer refuses another one; see `torch_compile`"
    else:
        assert subprocess.run(["bash", "-n", path]).returncode == 0
