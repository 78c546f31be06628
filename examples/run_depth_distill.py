"""Distil a monocular depth student from a teacher.

    accelerate launch examples/run_depth_distill.py

runs on the embedded scenes: a teacher from `examples/teachers`, a small student alone on 30 scenes and
distilled with 470 more that have no depth, and the table of the three. With your own models and data:

    accelerate launch examples/run_depth_distill.py \
        --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT \
        --dataset_name DATASET --image_size 384 512 --output_dir outputs/student --compare_baseline

Integers are read as millimetres and floats as metres unless `--depth_scale` says otherwise; 0 means that
nothing was measured. A teacher of relative depth is named with `--teacher_depth_kind inverse` (MiDaS, DPT,
Depth Anything). `--help` shows the options that matter, `--help-all` every one; a YAML file as first argument
sets the same names.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_structkd.cli.commands.distill import distill
from hf_structkd.cli.endings import one_sentence
from hf_structkd.tasks import DepthTask

HERE = Path(__file__).resolve().parent
DEMO: dict[str, Any] = {
    "teacher_model_name_or_path": HERE / "teachers" / "scenes-depth",
    "teacher_dtype": "float32",
    "student_model_name_or_path": HERE / "configs" / "glpn-scenes-student",
    "output_dir": "outputs/scenes-depth-student",
    "image_size": [64, 96],
    "scale": [1.0, 1.0],
    "max_train_samples": 30,
    "unlabeled_dataset_name": "scenes",
    "max_unlabeled_samples": 470,
    "max_eval_samples": 100,
    "max_depth": 10.0,
    "num_train_epochs": 10,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "logging_steps": 25,
    "eval_strategy": "steps",
    "eval_steps": 250,
    "save_strategy": "no",
    "compare_baseline": True,
    "dataloader_pin_memory": False,
    "seed": 1,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what `structkd distill depth` does; without a dataset, on the embedded scenes with their teacher."""
    distill(DepthTask, argv, scenes=DEMO)


if __name__ == "__main__":
    with one_sentence(sys.argv):
        main()
