"""What distillation costs: the table of goals, each with its figure and with pass or short.

    python scripts/benchmark.py                                  # everything, on the CPU
    python scripts/benchmark.py --only steps shares --pairs depth --steps 20
    python scripts/benchmark.py --only pairwise --device cuda

The parts are:

- steps: a step of each variant against its floor, which is transformers' own trainer with the teacher's
  forward, and from a complete cache against the student trained alone; seconds and memory above the weights.
- shares: what the parts of a full step take: models, terms, critic, matching, finite checks, waiting for
  data.
- pairwise: the forms of the pair-wise loss from 4 to 16,384 nodes and for ranges of 9 to 225, each in a
  process of its own, time and memory.
- area: the bytes that distillation writes and holds above the floor, from 128 x 128 to 1024 x 1024 pixels,
  and the power of the area with which they grow; counted, on the CPU, so that other work changes nothing.
- import: `import hf_structkd` against the import of what it stands on.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import subprocess
import sys
import time

import benchmark_losses
import benchmark_steps
import torch
from transformers.utils import logging

PARTS = ("steps", "shares", "pairwise", "area", "import")
SIDES = (128, 256, 512, 1024)
POWER = 1.1  # of the image area; a power of 1 is linear

GRIDS = ("2x2", "4x8", "8x8", "16x16", "16x32", "32x32", "64x64", "64x128", "128x128")
FASTER = 20  # at 64x128 nodes, against the direct form
EXTRA_MB = 100  # at 128x128 nodes


def row(what: str, value: float, goal: float, *, unit: str = "", at_least: bool = False) -> str:
    """Return one line of the table: a figure, its goal, and whether it is reached."""
    reached = value >= goal if at_least else value <= goal
    sign = ">=" if at_least else "<="
    return f"  {what:<44}{value:8.2f}{unit:<3} goal {sign} {goal:g}  {'pass' if reached else 'short'}"


def show_steps(name: str, steps: int, device: str) -> None:
    """Print a pair's ratios, and the time and memory of each variant."""
    pair = benchmark_steps.PAIRS[name]
    found = benchmark_steps.measure(pair, steps, device)
    seconds = {variant: values[0] for variant, values in found.items()}
    print(f"{pair.title}, batch {benchmark_steps.BATCH}")
    for variant, (time_taken, megabytes) in found.items():
        print(f"  {variant:<44}{time_taken:8.3f} s, {megabytes:6.0f} MB above the weights")
    print(row("full step over floor", seconds["full"] / seconds["floor"], pair.goal))
    print(row("without the holistic term over floor", seconds["holistic 0"] / seconds["floor"], 1.03))
    print(row("from a complete cache over alone", seconds["cached"] / seconds["alone"], 1.20), flush=True)


def show_shares(name: str, steps: int, device: str) -> None:
    """Print the parts of a pair's full step, in milliseconds and as shares of it."""
    pair = benchmark_steps.PAIRS[name]
    parts = benchmark_steps.shares(pair, steps, device)
    whole = parts["whole step without the optimiser"]
    print(f"{pair.title}: what a full step is made of (a part may lie within another)")
    for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {part:<44}{1e3 * seconds:8.1f} ms {seconds / whole:6.1%}")
    sys.stdout.flush()


def cell(form: str, grid: str, device: str, threads: int) -> dict[str, float]:
    """Measure one form on one grid at 128/512 channels; infinite where memory ran out."""
    rows, columns = (int(side) for side in grid.split("x"))
    options = ["--repeats", "50" if rows * columns <= 1024 else "3"]
    args = benchmark_losses.parse_args([*options, "--device", device, "--threads", str(threads)])
    found = benchmark_losses.measure_apart(form, grid, args)
    return found or {"seconds": float("inf"), "megabytes": float("inf")}


def show_pairwise(device: str) -> None:
    """Print the forms of the pair-wise loss against the direct one."""
    print("pair-wise loss, channels 128/512, forward and backward, 1 thread")
    for grid in GRIDS:
        chosen, direct = (cell(form, grid, device, 1) for form in ("chosen", "direct"))
        both = ", ".join(
            f"{1e3 * one['seconds']:.2f} ms {one['megabytes']:.0f} MB" for one in (chosen, direct)
        )
        print(f"  {grid} nodes: {both} direct")
        # Where the direct form itself is chosen, two runs of it differ by chance.
        print(row(f"{grid} nodes, over the direct form", chosen["seconds"] / direct["seconds"], 1.1))
        if grid == "64x128":
            for threads in (1, 2):
                chosen, direct = (cell(form, grid, device, threads) for form in ("chosen", "direct"))
                ratio = direct["seconds"] / chosen["seconds"]
                print(row(f"{grid} nodes, {threads} threads, times faster", ratio, FASTER, at_least=True))
        if grid == GRIDS[-1]:
            print(row(f"{grid} nodes, extra memory", chosen["megabytes"], EXTRA_MB, unit="MB"))
    for form in benchmark_losses.RANGES:
        found = cell(form, "64x128", device, 1)
        print(
            f"  64x128 nodes, {form}: {1e3 * found['seconds']:.0f} ms {found['megabytes']:.0f} MB", flush=True
        )


def power(values: list[float]) -> float:
    """Return the power of the image area with which positive values grow, by least squares of logarithms."""
    areas = [2 * math.log(side) for side in SIDES]
    return statistics.linear_regression(areas, [math.log(value) for value in values]).slope


def show_area() -> None:
    """Print what a full step writes and holds above its floor at each size, for each task."""
    for task in ("segmentation", "depth", "detection"):
        print(f"{task}, small models, batch {benchmark_steps.BATCH}: distilling, above the floor")
        added = []
        for side in SIDES:
            floor, full = benchmark_steps.operations(benchmark_steps.small_pair(task, side))
            added.append((full.written - floor.written, full.peak - floor.peak))
            written, peak = (value / 1e6 for value in added[-1])
            print(f"  {side} x {side}: {written:.0f} MB written, {peak:.1f} MB more at the peak", flush=True)
        for name, values in zip(("written", "at the peak"), zip(*added, strict=True), strict=True):
            grown = power([max(value, 1e5) for value in values])
            print(row(f"{name}: grows with the area to the power", grown, POWER))


def show_import() -> None:
    """Print what `import hf_structkd` takes above what it stands on."""

    def seconds(code: str) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    # `import transformers` alone loads next to nothing: a user's script reaches for its Trainer.
    base = seconds("import torch, datasets, accelerate, evaluate; from transformers import Trainer")
    ours = seconds("import hf_structkd")
    print(f"import: transformers' Trainer, datasets and evaluate {base:.2f} s, hf_structkd {ours:.2f} s")


def main() -> None:
    """Measure the parts that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--pairs", nargs="+", choices=list(benchmark_steps.PAIRS), default=None)
    parser.add_argument(
        "--steps", type=int, default=17, help="Steps of each variant; the first 5 do not count."
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    logging.set_verbosity_error()
    machine = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {machine}", flush=True)
    for name in args.pairs or benchmark_steps.PAIRS:
        if "steps" in args.only:
            show_steps(name, args.steps, args.device)
        if "shares" in args.only:
            show_shares(name, 8, args.device)
    if "pairwise" in args.only:
        show_pairwise(args.device)
    if "area" in args.only:
        show_area()
    if "import" in args.only:
        show_import()


if __name__ == "__main__":
    main()
