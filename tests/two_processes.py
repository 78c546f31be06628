"""Two processes that talk to one another, forked from one that has imported everything already."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable

import torch
from torch.multiprocessing import start_processes


def run_in_two(work: Callable[[], None]) -> None:
    """Run a function in two processes of one group; torchrun would let each import everything again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gc.freeze()
    gc.enable()
    start_processes(_join, (port, work), nprocs=2, start_method="fork")


def _join(rank: int, port: int, work: Callable[[], None]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    work()
