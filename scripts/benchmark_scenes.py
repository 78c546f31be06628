"""Measure how many built-in scenes a second this machine renders, and what PNG encoding costs on top.

    python scripts/benchmark_scenes.py --num_scenes 200

Each figure is the best of a few rounds, as other work on the machine only ever makes a round slower.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread a process, or the figures mislead

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from hf_structkd.data.scenes import load_scenes, render_scenes


@dataclass
class BenchmarkArguments:
    """What to render, and how often."""

    num_scenes: int = field(default=200, metadata={"help": "Scenes in a round, for each process."})
    rounds: int = field(default=5, metadata={"help": "Rounds; the best one counts."})
    height: int = field(default=96, metadata={"help": "Rows of an image."})
    width: int = field(default=128, metadata={"help": "Columns of an image."})


def render(start: int, count: int, height: int, width: int) -> int:
    """Render scenes and throw them away; returns how many."""
    return sum(1 for _ in render_scenes(range(start, start + count), height=height, width=width))


def best_rate(work: Callable[[], int], rounds: int) -> float:
    """Most scenes a second of `rounds` tries."""
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        count = work()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    """Print one line for one process, one for two, and one with the encoding into a data set."""
    (args,) = HfArgumentParser(BenchmarkArguments).parse_args_into_dataclasses()
    count, size = args.num_scenes, (args.height, args.width)
    render(0, 5, *size)

    rate = best_rate(lambda: render(0, count, *size), args.rounds)
    print(f"render_scenes, {size[0]}x{size[1]}, 1 process:   {rate:6.0f} images/s")

    with ProcessPoolExecutor(2) as pool:

        def render_in_two() -> int:
            parts = [pool.submit(render, start, count, *size) for start in (0, count)]
            return sum(part.result() for part in parts)

        render_in_two()  # starts the processes and imports the library in them
        rate = best_rate(render_in_two, args.rounds)
    print(f"render_scenes, {size[0]}x{size[1]}, 2 processes: {rate:6.0f} images/s")

    def load() -> int:
        splits = load_scenes(num_train=count, num_validation=0, height=size[0], width=size[1])
        return len(splits["train"])

    rate = best_rate(load, args.rounds)
    print(f"load_scenes (with PNG), 1 process:    {rate:6.0f} images/s")


if __name__ == "__main__":
    main()
