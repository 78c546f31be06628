"""Measure what rendering a built-in scene costs in processor time, and what PNG encoding costs on top.

    python scripts/benchmark_scenes.py --num_scenes 200

Each figure is the best of a few rounds, as other work on the machine only ever makes a round slower.
Processor time leaves out the waiting for a busy core; shared caches still make a round slower.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one thread a process, or the figures mislead

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from hf_structkd.scenes.scenes import load_scenes, render_scenes


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


def best_times(work: Callable[[], int], rounds: int) -> tuple[float, float]:
    """Least processor time of this process, and least time passed, an image, of `rounds` tries."""
    times = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        count = work()
        times.append(((time.process_time() - processor) / count, (time.perf_counter() - wall) / count))
    processor_times, wall_times = zip(*times, strict=True)
    return min(processor_times), min(wall_times)


def main() -> None:
    """Print one line for one process, one for two, and one with the encoding into a data set."""
    (args,) = HfArgumentParser(BenchmarkArguments).parse_args_into_dataclasses()
    count, size = args.num_scenes, (args.height, args.width)
    name = f"{size[0]}x{size[1]}"
    render(0, 20, *size)

    processor, wall = best_times(lambda: render(0, count, *size), args.rounds)
    print(
        f"render_scenes, {name}, 1 process:   {1e3 * processor:5.2f} ms of CPU an image = "
        f"{1 / processor:.0f} images/s of CPU; {1 / wall:.0f} images/s passed"
    )

    with ProcessPoolExecutor(2) as pool:

        def render_in_two() -> int:
            parts = [pool.submit(render, start, count, *size) for start in (0, count)]
            return sum(part.result() for part in parts)

        render_in_two()  # starts the processes and imports the library in them
        _, wall = best_times(render_in_two, args.rounds)
    print(f"render_scenes, {name}, 2 processes: {1 / wall:.0f} images/s passed")

    def load() -> int:
        splits = load_scenes(num_train=count, num_validation=0, height=size[0], width=size[1])
        return len(splits["train"])

    processor, wall = best_times(load, args.rounds)
    print(
        f"load_scenes (with PNG), 1 process:    {1e3 * processor:5.2f} ms of CPU an image = "
        f"{1 / processor:.0f} images/s of CPU; {1 / wall:.0f} images/s passed"
    )


if __name__ == "__main__":
    main()
