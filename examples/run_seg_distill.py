"""Distil a semantic-segmentation student from a teacher.

    accelerate launch examples/run_seg_distill.py

runs on the embedded scenes: a teacher from `examples/teachers`, a small student alone and distilled, and the
table of the three, in about four minutes on two CPU cores. With your own models and data:

    accelerate launch examples/run_seg_distill.py \
        --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT \
        --dataset_name DATASET --image_size 512 512 --output_dir outputs/student --compare_baseline

`--help` shows the options that matter, `--help-all` every one; a YAML file as first argument sets the same
names. A student folder that holds only a `config.json` starts from scratch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_structkd.cli.commands.distill import distill
from hf_structkd.cli.endings import one_sentence
from hf_structkd.tasks import SegmentationTask

HERE = Path(__file__).resolve().parent
DEMO: dict[str, Any] = {
    "teacher_model_name_or_path": HERE / "teachers" / "scenes-segmentation",
    "teacher_dtype": "float32",
    "student_model_name_or_path": HERE / "configs" / "upernet-scenes-student",
    "output_dir": "outputs/scenes-student",
    "image_size": [96, 128],
    "scale": [1.0, 1.5],
    "max_train_samples": 300,
    "max_eval_samples": 100,
    "num_train_epochs": 10,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "logging_steps": 19,
    "eval_strategy": "steps",
    "eval_steps": 95,
    "save_strategy": "no",
    "critic_map_size": 32,
    "compare_baseline": True,
    "dataloader_pin_memory": False,
    "seed": 1,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what `structkd distill seg` does; without a dataset, on the embedded scenes with their teacher."""
    distill(SegmentationTask, argv, scenes=DEMO)


if __name__ == "__main__":
    with one_sentence(sys.argv):
        main()
