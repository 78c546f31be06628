"""Train the first case in whatever processes a launcher made, and write what training moved.

accelerate launch --config_file CONFIG -m tests.launched_worker FOLDER PROCESSES [SHARDED MODEL ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from .cases import SEGMENTATION, narrow_critics
from .distributed_worker import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    with narrow_critics():
        folder, processes, *shard = sys.argv[1:]
        train(SEGMENTATION, Path(folder), accumulation=1, processes=int(processes), shard=shard)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
