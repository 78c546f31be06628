"""Train a teacher: any architecture of a task, without a teacher of its own.

    python scripts/train_teacher.py

trains the segmentation teacher of the demonstration on the embedded scenes, `--task depth` and
`--task detection` the other two.
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
    "scale": [1.0, 1.5],
    "max_eval_samples": 100,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "logging_steps": 50,
    "eval_strategy": "epoch",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}
SCENES: dict[str, dict[str, Any]] = {
    "segmentation": {
        **SHARED,
        "student_model_name_or_path": str(CONFIGS / "segformer-scenes-teacher"),
        "output_dir": "outputs/scenes-teacher",
        "max_train_samples": 2700,
        "num_train_epochs": 4,
    },
    "depth": {
        **SHARED,
        "student_model_name_or_path": str(CONFIGS / "glpn-scenes-teacher"),
        "output_dir": "outputs/scenes-depth-teacher",
        "scale": [1.0, 1.0],
        "max_train_samples": 2000,
        "num_train_epochs": 6,
        "per_device_train_batch_size": 4,
        "learning_rate": 7e-4,
        "max_depth": 10.0,
    },
    "detection": {
        **SHARED,
        "student_model_name_or_path": str(CONFIGS / "rtdetr-scenes-teacher"),
        "output_dir": "outputs/scenes-det-teacher",
        "max_train_samples": 2000,
        "num_train_epochs": 8,
        "per_device_train_batch_size": 4,
        "learning_rate": 7e-4,
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
