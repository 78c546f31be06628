"""Work through many runs, one process a core, until they are done or the time is up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from pathlib import Path

DONE, STOPPED, FAILED = "done", "stopped", "failed"


def work(
    commands: Sequence[tuple[str, Sequence[str], Path]],
    *,
    processes: int,
    until: datetime | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run commands, a few at a time, each with one thread, and say after each how long the rest will take.

    Args:
        commands: Name, command and log file of each run, in the order in which they begin.
        processes: How many run at once.
        until: When running commands are stopped, and no other begins; None is never.
        say: Takes the lines.

    Returns:
        The number of commands that failed.
    """
    begin, ended, failed, took = time.monotonic(), 0, 0, []
    with ThreadPoolExecutor(processes) as pool:
        futures = {pool.submit(_run, *command[1:], until): command for command in commands}
        for future in as_completed(futures):
            name, _, log = futures[future]
            result, seconds = future.result()
            if result == DONE:
                took.append(seconds)
            ended += result != STOPPED
            failed += result == FAILED
            left = _left(took, len(commands) - ended, processes)
            passed = timedelta(seconds=round(time.monotonic() - begin))
            where = f", see {log}" if result == FAILED else ""
            say(f"{name} {result}{where}; {ended} of {len(commands)}, {passed} passed, {left} left")
    return failed


def _run(command: Sequence[str], log: Path, until: datetime | None) -> tuple[str, float]:
    """Run one command; return how it ended and the seconds that it took."""
    begin = time.monotonic()
    seconds = None if until is None else (until - datetime.now()).total_seconds()
    if seconds is not None and seconds <= 0:
        return STOPPED, 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
            return STOPPED, 0.0
    return (FAILED if code else DONE), time.monotonic() - begin


def _left(took: Sequence[float], runs: int, processes: int) -> str:
    if not took:
        return "an unknown time"
    return f"about {timedelta(seconds=round(sum(took) / len(took) * runs / processes))}"
