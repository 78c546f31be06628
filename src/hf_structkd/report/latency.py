"""The time of a forward pass, of several models side by side, so that a busy machine is busy for all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.utils.benchmark import Timer


class Latency(NamedTuple):
    """Milliseconds of single forward passes of one image.

    Attributes:
        median: The median.
        low: The tenth percentile.
        high: The ninetieth percentile.
    """

    median: float
    low: float
    high: float


@torch.no_grad()
def side_by_side(runs: Sequence[Callable[[], object]], *, repeats: int = 30) -> list[Latency]:
    """Time each run in turn, `repeats` times, without gradients and with PyTorch's number of threads.

    Before each pass that is measured, PyTorch's benchmark timer makes two that are not. It waits for an
    accelerator. Every round begins with another run.

    Args:
        runs: Each makes one pass of a model on one image.
        repeats: Number of passes that are measured of each, at least 1.
    """
    threads = torch.get_num_threads()
    timers = [Timer("run()", globals={"run": run}, num_threads=threads) for run in runs]
    seconds: list[list[float]] = [[] for _ in timers]
    for turn in range(repeats):
        for place in range(len(timers)):
            chosen = (place + turn) % len(timers)
            seconds[chosen].append(timers[chosen].timeit(1).median)
    return [_latency(of_model) for of_model in seconds]


def _latency(seconds: Sequence[float]) -> Latency:
    if len(seconds) == 1:
        return Latency(*[1000 * seconds[0]] * 3)
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return Latency(1000 * statistics.median(seconds), 1000 * tenths[0], 1000 * tenths[-1])
