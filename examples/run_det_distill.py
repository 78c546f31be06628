"""Distil an object detector of the DETR family from a teacher.

    accelerate launch examples/run_det_distill.py

runs on the embedded scenes: a teacher from `examples/teachers`, and a smaller student that starts from what
fits of its weights, alone on 30 scenes, and distilled with 370 more that have no boxes; and the table of the
three. With your own models and data:

    accelerate launch examples/run_det_distill.py \
        --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT \
        --dataset_name DATASET --image_size 480 640 --output_dir outputs/student --compare_baseline

The dataset has a column `objects` with `bbox` (COCO's x, y, width, height in pixels) and `category`. Teacher
and student may be of different architectures, with different numbers of queries. `--help` shows the options
that matter, `--help-all` every one; a YAML file as first argument sets the same names.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_structkd.cli.commands.distill import distill
from hf_structkd.cli.endings import one_sentence
from hf_structkd.tasks import DetectionTask

HERE = Path(__file__).resolve().parent
DEMO: dict[str, Any] = {
    "teacher_model_name_or_path": HERE / "teachers" / "scenes-detection",
    "teacher_dtype": "float32",
    "student_model_name_or_path": HERE / "configs" / "rtdetr-scenes-student",
    "init_student_from_teacher": True,
    "output_dir": "outputs/scenes-det-student",
    "image_size": [96, 128],
    "scale": [1.0, 1.5],
    "max_train_samples": 30,
    "unlabeled_dataset_name": "scenes",
    "max_unlabeled_samples": 370,
    "pseudo_label_threshold": 0.4,
    "max_eval_samples": 100,
    "num_train_epochs": 10,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "weight_decay": 1e-4,
    "max_grad_norm": 0.1,
    "logging_steps": 25,
    "eval_strategy": "steps",
    "eval_steps": 500,
    "save_strategy": "no",
    "compare_baseline": True,
    "dataloader_pin_memory": False,
    "seed": 1,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what `structkd distill det` does; without a dataset, on the embedded scenes with their teacher."""
    distill(DetectionTask, argv, scenes=DEMO)


if __name__ == "__main__":
    with one_sentence(sys.argv):
        main()
