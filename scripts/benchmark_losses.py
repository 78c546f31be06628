"""Measure time and peak memory of the pair-wise loss: full graph, linear against direct, and a finite range.

    python scripts/benchmark_losses.py
    python scripts/benchmark_losses.py --device cuda --nodes 64x128 128x128

Each cell is one forward and backward of a batch of one, in a process of its own: on the CPU, peak memory is
what the process's resident set grew by over its inputs, and that can be read only once per process. Expect
the linear form to win from a few hundred nodes on, and the direct one to need gigabytes at 128x128.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from hf_structkd.losses import graphs, pairwise
from hf_structkd.losses.nodes import masked_nodes, unit_nodes

RANGES = tuple(f"range {side**2}" for side in range(3, 17, 2))
FORMS = ("chosen", "linear", "direct", *RANGES)
SHOWN = ("linear", "direct", "range 9", "range 25")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--nodes", nargs="+", default=["32x32", "32x64", "64x128"], help="grids, ROWSxCOLUMNS"
    )
    parser.add_argument("--student_channels", type=int, default=128)
    parser.add_argument("--teacher_channels", type=int, default=512)
    parser.add_argument("--forms", nargs="+", default=list(SHOWN), choices=FORMS)
    parser.add_argument("--repeats", type=int, default=3, help="timed runs, of which the fastest counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def loss_function(form: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of two feature maps in one of the compared forms."""
    if form.startswith("range"):
        connection_range = int(form.split()[1])
        return lambda student, teacher: pairwise.pairwise_distillation_loss(
            student, teacher, connection_range=connection_range
        )
    full_graph = {
        "chosen": graphs.full_graph,
        "linear": graphs.full_graph_linear,
        "direct": graphs.full_graph_direct,
    }[form]

    def full(student: Tensor, teacher: Tensor) -> Tensor:
        nodes, valid = masked_nodes(student, (1, 1), "mean", None)
        student_nodes, teacher_nodes = unit_nodes(nodes), unit_nodes(teacher)
        total = full_graph(student_nodes.flatten(2), teacher_nodes.flatten(2))
        return total / graphs.count_full_graph(valid)

    return full


def resident_bytes() -> int:
    """Return the process's resident set now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(form: str, grid: str, args: argparse.Namespace) -> dict[str, float]:
    """Run one cell in this process; seconds, and MB above the inputs."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows, columns = (int(side) for side in grid.split("x"))
    student = torch.randn(1, args.student_channels, rows, columns, device=args.device, requires_grad=True)
    teacher = torch.randn(1, args.teacher_channels, rows, columns, device=args.device)
    loss = loss_function(form)
    loss(student[..., :4, :4], teacher[..., :4, :4]).backward()  # loads the kernels
    on_cuda = torch.device(args.device).type == "cuda"
    before = torch.cuda.memory_allocated() if on_cuda else resident_bytes()
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(args.repeats):
        student.grad = None
        start = time.perf_counter()
        loss(student, teacher).backward()
        if on_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = (
        torch.cuda.max_memory_allocated()
        if on_cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return {"seconds": min(seconds), "megabytes": (peak - before) / 1e6}


def measure_apart(form: str, grid: str, args: argparse.Namespace) -> dict[str, float] | None:
    """Run one cell in a process of its own; None if it failed, as the direct form does for want of memory."""
    # A fork has this process's modules at once; CUDA cannot be used in one.
    context = multiprocessing.get_context("fork" if args.device == "cpu" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, form, grid, args))
    process.start()
    sender.close()
    try:
        cell: dict[str, float] = receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()
    return cell


def _send(sender: Connection, form: str, grid: str, args: argparse.Namespace) -> None:
    sender.send(measure(form, grid, args))


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    args = parse_args(argv)
    print(f"channels {args.student_channels}/{args.teacher_channels}, {args.threads} threads, {args.device}")
    print("| nodes | " + " | ".join(args.forms) + " |")
    print("|---" * (len(args.forms) + 1) + "|")
    for grid in args.nodes:
        cells = [measure_apart(form, grid, args) for form in args.forms]
        shown = [
            "failed" if cell is None else f"{cell['seconds']:.3f} s, {cell['megabytes']:.0f} MB"
            for cell in cells
        ]
        print(f"| {grid} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
