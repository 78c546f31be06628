"""Train a teacher: any architecture of a task, without a teacher of its own.

    python scripts/train_teacher.py

trains the segmentation teacher of the demonstration on the embedded scenes, `--task depth` and
`--task detection` the other two, the last one from a backbone that `scripts/put_backbone.py` took out of the
first; `examples/teachers` holds what they wrote, rounded to float16, and says how.
With your own data:

    accelerate launch scripts/train_teacher.py --task segmentation --dataset_name DATASET \
        --student_model_name_or_path MODEL --image_size 512 512 --output_dir outputs/teacher

It takes every option of that task's example; `--student_model_name_or_path` is the model that is trained, and
a folder with only a `config.json` starts it from scratch. `--freeze 'backbone.*'` trains the head alone: the
backbone then takes a forward and no backward, and only the weights of the head move.
`scripts/put_backbone.py` writes a model of a trained backbone and a fresh head.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_structkd.cli.distil import train_teacher
from hf_structkd.cli.script_args import parse_run
from hf_structkd.tasks import TASKS

CONFIGS = Path(__file__).resolve().parents[1] / "examples" / "configs"
SHARED: dict[str, Any] = {
    "image_size": [96, 128],
    "scale": [1.0, 1.0],
    "max_train_samples": 6000,
    "max_eval_samples": 100,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 100,
    "weight_decay": 0.01,
    "logging_steps": 50,
    "eval_strategy": "steps",
    "eval_steps": 500,
    "save_strategy": "steps",
    "save_steps": 250,
    "save_total_limit": 1,
    "dataloader_pin_memory": False,
    "seed": 1,
}
SCENES: dict[str, dict[str, Any]] = {
    "segmentation": {
        **SHARED,
        "student_model_name_or_path": str(CONFIGS / "upernet-scenes-teacher"),
        "output_dir": "outputs/scenes-teacher",
        "num_train_epochs": 4,
        "per_device_train_batch_size": 16,
    },
    "depth": {
        **SHARED,
        "student_model_name_or_path": str(CONFIGS / "glpn-scenes-teacher"),
        "output_dir": "outputs/scenes-depth-teacher",
        "image_size": [64, 96],
        "max_train_samples": 3000,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "max_depth": 10.0,
    },
    "detection": {
        **SHARED,
        "student_model_name_or_path": "outputs/scenes-det-start",
        "output_dir": "outputs/scenes-det-teacher",
        "num_train_epochs": 4,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "max_grad_norm": 0.1,
    },
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, load, train, save."""
    given = sys.argv[1:] if argv is None else list(argv)
    tasks = {task.short_name: task for task in TASKS}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task", choices=sorted(tasks), default="segmentation")
    chosen, rest = parser.parse_known_args(given)
    train_teacher(parse_run(tasks[chosen.task], rest, scenes=SCENES[chosen.task]))


if __name__ == "__main__":
    main()
