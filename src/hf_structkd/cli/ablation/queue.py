"""Work through many runs, a few processes at once, until they are done or the time is up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from multiprocessing.context import BaseContext
from pathlib import Path

DONE, STOPPED, FAILED = "done", "stopped", "failed"

Job = tuple[str, Callable[[], None], Path]
"""Name, what is to be done (it must be picklable) and log file."""


def work(
    jobs: Sequence[Job],
    *,
    processes: int,
    context: BaseContext,
    until: datetime | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Do jobs, a few at a time, each in a process of one thread, and say after each how long the rest takes.

    Args:
        jobs: The jobs, in the order in which they begin.
        processes: How many run at once.
        context: How a process starts; see `starting`.
        until: When running jobs are stopped, and no other begins; None is never.
        say: Takes the lines.

    Returns:
        The number of jobs that failed.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when a process loads torch
    begin, ended, failed, took = time.monotonic(), 0, 0, []
    with ThreadPoolExecutor(processes) as pool:
        futures = {pool.submit(_run, *job[1:], until, context): job for job in jobs}
        for future in as_completed(futures):
            name, _, log = futures[future]
            result, seconds = future.result()
            if result == DONE:
                took.append(seconds)
            ended += result != STOPPED
            failed += result == FAILED
            left = _left(took, len(jobs) - ended, processes)
            passed = timedelta(seconds=round(time.monotonic() - begin))
            where = f", see {log}" if result == FAILED else ""
            say(f"{name} {result}{where}; {ended} of {len(jobs)}, {passed} passed, {left} left")
    return failed


def starting(imported: str, *, forked: bool) -> BaseContext:
    """Return how processes start: forked from one that has imported a module, which is slow, or each anew.

    Args:
        imported: The module.
        forked: Whether they may be forked. A process that has touched a GPU may not.
    """
    if not forked or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imported])
    return context


def _run(
    do: Callable[[], None], log: Path, until: datetime | None, context: BaseContext
) -> tuple[str, float]:
    """Do one job; return how it ended and the seconds that it took."""
    begin = time.monotonic()
    seconds = None if until is None else (until - datetime.now()).total_seconds()
    if seconds is not None and seconds <= 0:
        return STOPPED, 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    child = context.Process(target=_logged, args=(do, log))  # type: ignore[attr-defined]  # typeshed: each context
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.terminate()
        child.join()
        return STOPPED, 0.0
    return (FAILED if child.exitcode else DONE), time.monotonic() - begin


def _logged(do: Callable[[], None], log: Path) -> None:
    """Do a job whose every line, those of libraries written in C included, goes to its log file."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is stopped still counts its time
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    with log.open("ab", buffering=0) as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a process's own streams
    do()


def _stop_with_parent() -> None:
    """Stop this process when the one that started it is gone, killed or not: nobody waits for its result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _left(took: Sequence[float], runs: int, processes: int) -> str:
    if not took:
        return "an unknown time"
    return f"about {timedelta(seconds=round(sum(took) / len(took) * runs / processes))}"
