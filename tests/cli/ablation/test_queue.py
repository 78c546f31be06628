"""A few processes work through all commands, and stop when the time is up."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from hf_structkd.cli.ablation.queue import work


def command(name: str, program: str, folder: Path) -> tuple[str, list[str], Path]:
    return name, [sys.executable, "-S", "-c", program], folder / f"{name}.log"


def test_every_command_runs_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    said: list[str] = []
    programs = {"a": "print(1)", "b": "raise SystemExit('oh')", "c": "print(2)"}
    commands = [command(name, program, tmp_path) for name, program in programs.items()]
    assert work(commands, processes=1, say=said.append) == 1
    assert [log.read_text().strip() for log in sorted(tmp_path.iterdir())] == ["1", "oh", "2"]
    assert said[1].startswith(f"b failed, see {tmp_path / 'b.log'}; 2 of 3, ")


def test_at_the_time_running_commands_are_stopped_and_no_other_begins(tmp_path: Path) -> None:
    """Else a night's queue runs on into the day that the machine is needed for."""
    said: list[str] = []
    commands = [command(name, "while True: pass", tmp_path) for name in ("a", "b")]
    until = datetime.now() + timedelta(seconds=0.2)
    assert work(commands, processes=1, until=until, say=said.append) == 0
    assert [line.split(";")[0] for line in said] == ["a stopped", "b stopped"]
    assert not (tmp_path / "b.log").exists()
