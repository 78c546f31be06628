"""Run by torchrun: trains a case for two steps and writes what training moved.

torchrun --nproc_per_node N -m tests.distributed_worker CASE FOLDER PER_DEVICE_BATCH ACCUMULATION
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from .cases import CASES, arguments, make_trainer, state_of


def main() -> None:
    name, folder, batch, accumulation = sys.argv[1:]
    torch.set_num_threads(1)
    case = next(case for case in CASES if case.name == name)
    args = arguments(
        folder,
        per_device_train_batch_size=int(batch),
        gradient_accumulation_steps=int(accumulation),
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
    torch.save(state_of(trainer), Path(folder) / f"state-{rank}.pt")
    logs = [log for log in trainer.state.log_history if "loss" in log]
    facts = {
        "world_size": args.world_size,
        "logs": logs,
        "metrics": metrics,
        "teacher": teacher_metrics,
        "epochs": epochs,
    }
    (Path(folder) / f"facts-{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
