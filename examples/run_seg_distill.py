"""Distil a semantic-segmentation student from a teacher.

    accelerate launch examples/run_seg_distill.py

runs on the embedded scenes: it trains a teacher (once), then a small student alone and distilled, and prints
the table of the three, in about seven minutes on two CPU cores. With your own models and data:

    accelerate launch examples/run_seg_distill.py \
        --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT \
        --dataset_name DATASET --image_size 512 512 --output_dir outputs/student --compare_baseline

Every option stands in `--help`; a YAML file as first argument sets the same names. A student folder that
holds only a `config.json` starts from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_structkd.cli.distil import distil
from hf_structkd.cli.runs import train_once
from hf_structkd.cli.script_args import parse_run
from hf_structkd.tasks import SegmentationTask

HERE = Path(__file__).resolve().parent
DEMO_TEACHER = Path("outputs/scenes-teacher")
DEMO: dict[str, Any] = {
    "teacher_model_name_or_path": str(DEMO_TEACHER),
    "student_model_name_or_path": str(HERE / "configs" / "segformer-scenes-student"),
    "output_dir": "outputs/scenes-student",
    "image_size": [96, 128],
    "scale": [1.0, 1.5],
    "max_train_samples": 300,
    "max_eval_samples": 100,
    "num_train_epochs": 20,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "logging_steps": 19,
    "eval_strategy": "steps",
    "eval_steps": 190,
    "save_strategy": "no",
    "compare_baseline": True,
    "dataloader_pin_memory": False,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse; make the demonstration's teacher if it is wanted; distil, compare and save."""
    arguments = parse_run(SegmentationTask, argv, scenes=DEMO)
    is_demo = arguments.options.dataset_name is None
    if is_demo and arguments.models.teacher_model_name_or_path == str(DEMO_TEACHER):
        with arguments.training.main_process_first(desc="the teacher on the embedded scenes"):
            # On many more scenes than the student will see, unless it is there already.
            script = HERE.parent / "scripts" / "train_teacher.py"
            train_once(DEMO_TEACHER, [str(script), "--task", "segmentation"])
    distil(arguments)


if __name__ == "__main__":
    main()
