"""What the processes of a training send to one another in a step, by arithmetic.

    python scripts/traffic.py
    python scripts/traffic.py --processes 2 16

The first table is of models that are replicated. A ring all-reduce of G bytes over n processes makes each of
them send 2 (n - 1) / n x G bytes. What is reduced are the gradients, in float32: the student's by DDP, the
critic's and those of the terms' modules in one all-reduce each. DDP also sends the student's buffers,
BatchNorm's statistics, from the first process to all others, once a forward. The teacher, its answers and the
feature maps stay where they are.

The second is of `--shard student teacher`, the teacher in bfloat16. To put P bytes of weights together, each
process sends (n - 1) / n x P bytes: twice a step for the student (forward and backward) and once for the
teacher. The student's gradient is reduced and cut in one pass of the same size. Critic and buffers are sent
as above.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

import torch
from large_pairs import LARGE
from torch import nn

from hf_structkd.adversary import Critic
from hf_structkd.tasks import task_of

FLOAT = 4


def reduced_bytes(networks: Iterable[nn.Module]) -> int:
    """Return the bytes of the gradients of networks that are trained."""
    return sum(FLOAT * p.numel() for network in networks for p in network.parameters() if p.requires_grad)


def sent_bytes(reduced: int, processes: int) -> float:
    """Return the bytes that each process sends in a ring all-reduce."""
    return 2 * (processes - 1) / processes * reduced


def shards(
    title: str, student: nn.Module, teacher: nn.Module, critic: nn.Module, processes: Sequence[int]
) -> str:
    """Return a line of the second table, in MiB: what each process sends in a step, and what it keeps."""
    weights = FLOAT * sum(p.numel() for p in student.parameters())
    frozen = FLOAT // 2 * sum(p.numel() for p in teacher.parameters())
    once = 2 * weights + reduced_bytes([student]) + frozen
    sent = [once * (n - 1) / n + sent_bytes(reduced_bytes([critic]), n) for n in processes]
    # Beside the weights: the gradient and AdamW's two moments.
    kept = [(weights + 3 * reduced_bytes([student]) + frozen) / n for n in processes]
    return f"| {title} | {' | '.join(f'{size / 2**20:.1f}' for size in (*sent, *kept))} |"


def row(
    title: str, student: nn.Module, teacher: nn.Module, critic: nn.Module, processes: Sequence[int]
) -> str:
    """Return a line of the table, in MiB."""
    sizes = [reduced_bytes([student]), reduced_bytes([critic])]
    buffers = sum(buffer.nbytes for buffer in student.buffers())
    frozen = sum(p.numel() for p in teacher.parameters())
    sent = [sent_bytes(sum(sizes), count) for count in processes]
    kept = [frozen * size for size in (FLOAT, FLOAT // 2)]
    cells = [f"{size / 2**20:.1f}" for size in (*sizes, buffers, *sent, *kept)]
    return f"| {title} | {' | '.join(cells)} |"


def table(processes: Sequence[int], line: Callable[..., str], names: Sequence[str]) -> str:
    """Return a table over the large pairs; models have shapes and no memory."""
    lines = [f"| pair, MiB | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for pair in {pair.title.rpartition(",")[0]: pair for pair in LARGE.values()}.values():
        with torch.device("meta"):
            student, teacher = pair.student(), pair.teacher()
            task = task_of(student)(student.config, teacher.config)
            critic = Critic(task.score_map_channels, image_channels=3, spectral_norm=True)
        lines.append(line(pair.title.rpartition(",")[0], student, teacher, critic, processes))
    return "\n".join(lines)


def replicated(processes: Sequence[int]) -> str:
    """Return the table of models that every process holds."""
    names = ["student's gradient", "critic's gradient", "student's buffers"]
    names += [f"sent by each of {count}" for count in processes]
    names += ["teacher, float32", "teacher, bfloat16"]
    return table(processes, row, names)


def sharded(processes: Sequence[int]) -> str:
    """Return the table of models that the processes share."""
    names = [f"sent by each of {count}" for count in processes]
    names += [f"kept by each of {count}" for count in processes]
    return table(processes, shards, names)


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8, 64])
    processes = parser.parse_args().processes
    print(f"{replicated(processes)}\n\n{sharded(processes)}")


if __name__ == "__main__":
    main()
