"""Train the cases and write what training moved, in two processes; a test calls `train` for one process.

python -m tests.distributed_worker FOLDER
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import socket
import sys
from pathlib import Path

import torch
from torch.multiprocessing import start_processes

from .cases import CASES, TaskCase, arguments, make_trainer, narrow_critics, state_of

# Micro-steps of a step.
ACCUMULATIONS = (1, 2)
# Images of a step, over all processes and micro-steps.
GLOBAL_BATCH = 8


def train(case: TaskCase, folder: Path, accumulation: int, processes: int) -> None:
    """Train for three steps; every process writes its state and its logs into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    args = arguments(
        folder,
        per_device_train_batch_size=GLOBAL_BATCH // (accumulation * processes),
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=3,
        optim="sgd",
        critic_optimizer="sgd",
        critic_learning_rate=0.01,
        critic_loss="wgan-gp",
        gradient_penalty_weight=10.0,
        # Unclipped: clipping would hide a gradient of another size.
        max_grad_norm=0.0,
        critic_max_grad_norm=0.0,
        max_steps=3,
        mimic_weight=1.0,
    )
    rows = case.rows(16)
    epochs: list[int] = []
    rows.set_epoch = epochs.append  # type: ignore[attr-defined]
    trainer = make_trainer(case, args, train_dataset=rows)
    trainer.train()
    metrics = trainer.evaluate()
    teacher_metrics = trainer.evaluate_teacher()
    # Every process writes: that they agree is part of what is tested.
    rank = args.process_index
    torch.save(state_of(trainer), folder / f"state-{rank}.pt")
    logs = [log for log in trainer.state.log_history if "loss" in log]
    facts = {
        "world_size": args.world_size,
        "logs": logs,
        "metrics": metrics,
        "teacher": teacher_metrics,
        "epochs": epochs,
    }
    (folder / f"facts-{rank}.json").write_text(json.dumps(facts))


def work(rank: int, folder: str, port: int) -> None:
    """Be one of two processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with narrow_critics():
        for case, accumulation in itertools.product(CASES, ACCUMULATIONS):
            train(case, Path(folder) / f"{case.name}-{accumulation}", accumulation, processes=2)


def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gc.freeze()
    # Forked, as torchrun would let each import everything again.
    start_processes(work, (sys.argv[1], port), nprocs=2, start_method="fork")


if __name__ == "__main__":
    main()
