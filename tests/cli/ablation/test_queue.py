"""A few processes work through all jobs, and stop when the time is up."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from hf_structkd.cli.ablation import queue
from hf_structkd.cli.ablation.queue import Job, starting, work

FORKED = starting(queue.__name__, forked=True)


def job(name: str, program: str, folder: Path) -> Job:
    return name, partial(exec, program), folder / f"{name}.log"


def test_every_job_runs_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    said: list[str] = []
    programs = {"a": "print(1)", "b": "raise SystemExit('oh')", "c": "print(2)"}
    jobs = [job(name, program, tmp_path) for name, program in programs.items()]
    assert work(jobs, processes=1, context=FORKED, say=said.append) == 1
    assert [log.read_text().strip() for log in sorted(tmp_path.iterdir())] == ["1", "oh", "2"]
    assert said[1].startswith(f"b failed, see {tmp_path / 'b.log'}; 2 of 3, ")


def test_at_the_time_running_jobs_are_stopped_and_no_other_begins(tmp_path: Path) -> None:
    """Else a night's queue runs on into the day that the machine is needed for."""
    said: list[str] = []
    jobs = [job(name, "while True: pass", tmp_path) for name in ("a", "b")]
    until = datetime.now() + timedelta(seconds=0.2)
    assert work(jobs, processes=1, context=FORKED, until=until, say=said.append) == 0
    assert [line.split(";")[0] for line in said] == ["a stopped", "b stopped"]
    assert not (tmp_path / "b.log").exists()


@pytest.mark.long
def test_runs_end_with_the_command_that_is_killed(tmp_path: Path) -> None:
    """Else a training that nobody waits for takes a core from the next ones, and is seen nowhere."""
    endless = "import os\nprint(os.getpid(), flush=True)\nwhile True: pass"
    log = tmp_path / "endless.log"
    program = (
        "from functools import partial; from pathlib import Path\n"
        "from hf_structkd.cli.ablation import queue\n"
        f"job = ('endless', partial(exec, {endless!r}), Path({str(log)!r}))\n"
        "queue.work([job], processes=1, context=queue.starting(queue.__name__, forked=True))"
    )
    command = subprocess.Popen([sys.executable, "-c", program])
    while not (log.exists() and log.read_text().endswith("\n")):
        assert command.poll() is None, "the command ended by itself"
    command.kill()
    command.wait()
    run = Path("/proc") / log.read_text().strip()
    while run.exists():
        pass  # ends when the run does; a test that hangs here has found one that does not


@pytest.mark.parametrize("forked", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_job_has_one_thread_whatever_its_parent_has(tmp_path: Path, forked: bool) -> None:
    """Else two runs of two threads share two cores, and each is slower than half."""
    program = "import torch; print(torch.get_num_threads(), flush=True)"
    context = starting(queue.__name__, forked=forked)
    assert work([job("one", program, tmp_path)], processes=1, context=context, say=lambda line: None) == 0
    assert (tmp_path / "one.log").read_text().strip() == "1"
