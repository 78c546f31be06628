"""Train the cases and write what training moved, in two processes; a test calls `train` for one process.

python -m tests.distributed_worker FOLDER
"""

from __future__ import annotations

import itertools
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hf_structkd import StructKDTrainer

from .cases import CASES, TaskCase, arguments, make_trainer, narrow_critics, state_of
from .two_processes import run_in_two
from .unlabelled_rows import MIXED

# Micro-steps of a step.
ACCUMULATIONS = (1, 2)
# Images of a step, over all processes and micro-steps.
GLOBAL_BATCH = 8


def train(
    case: TaskCase, folder: Path, accumulation: int, processes: int, **overrides: Any
) -> StructKDTrainer:
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
        **overrides,
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
    return trainer


# Runs of a cache, one after the other.
CACHED = ("plain", "first", "later")


def train_cached(folder: Path, accumulation: int) -> None:
    """Train three times in micro-batches of two images: without a cache, into one, and from it."""
    case = CASES[0]
    for name in CACHED:
        cache = {"teacher_cache": str(folder / "cache"), "teacher_cache_dtype": "float32"}
        args = arguments(
            folder / name,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=accumulation,
            max_steps=4,
            **({} if name == "plain" else cache),
        )
        trainer = make_trainer(case, args)
        trainer.train()
        # Of a teacher in memory, whether it was asked; one in a folder would not be loaded.
        asked = getattr(trainer.teacher, "_is_checked", True)
        facts = {"asked": asked, "world_size": args.world_size}
        rank = args.process_index
        (folder / name).mkdir(parents=True, exist_ok=True)
        torch.save(state_of(trainer), folder / name / f"state-{rank}.pt")
        (folder / name / f"facts-{rank}.json").write_text(json.dumps(facts))


def work(folder: Path) -> None:
    """Be one of two processes."""
    with narrow_critics():
        train_cached(folder / "cached", accumulation=1)
        for case, accumulation in [*itertools.product(CASES, ACCUMULATIONS), (MIXED, 2)]:
            train(case, folder / f"{case.name}-{accumulation}", accumulation, processes=2)


if __name__ == "__main__":
    run_in_two(partial(work, Path(sys.argv[1])))
