"""What the processes of a training send to one another in a step, by arithmetic.

    python scripts/traffic.py
    python scripts/traffic.py --processes 2 16

A ring all-reduce of G bytes over n processes makes each of them send 2 (n - 1) / n x G bytes. What is reduced
are the gradients, in float32: the student's by DDP, the critic's and those of the terms' modules in one
all-reduce each. DDP also sends the student's buffers, BatchNorm's statistics, from the first process to all
others, once a forward. The teacher, its answers and the feature maps stay where they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

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


def table(processes: Sequence[int]) -> str:
    """Return the table over the large pairs; models have shapes and no memory."""
    names = ["student's gradient", "critic's gradient", "student's buffers"]
    names += [f"sent by each of {count}" for count in processes]
    names += ["teacher, float32", "teacher, bfloat16"]
    lines = [f"| pair, MiB | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for pair in {pair.title.rpartition(",")[0]: pair for pair in LARGE.values()}.values():
        with torch.device("meta"):
            student, teacher = pair.student(), pair.teacher()
            task = task_of(student)(student.config, teacher.config)
            critic = Critic(task.score_map_channels, image_channels=3, spectral_norm=True)
        lines.append(row(pair.title.rpartition(",")[0], student, teacher, critic, processes))
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8, 64])
    print(table(parser.parse_args().processes))


if __name__ == "__main__":
    main()
