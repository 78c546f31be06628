"""Distil a semantic-segmentation student from a teacher.

    accelerate launch examples/run_seg_distill.py

runs on the embedded scenes: it trains a teacher (once), then a small student alone and distilled, and prints
the table of the three, in about eight minutes on two CPU cores. With your own models and data:

    accelerate launch examples/run_seg_distill.py \
        --teacher_model_name_or_path TEACHER --student_model_name_or_path STUDENT \
        --dataset_name DATASET --image_size 512 512 --output_dir outputs/student --compare_baseline

Every option stands in `--help`; a YAML file as first argument sets the same names. A student folder that
holds only a `config.json` starts from scratch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import set_seed

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.data import load_segmentation_data
from hf_structkd.label_spaces import load_label_map
from hf_structkd.models import load_image_processor, load_student, load_teacher, student_image_processor
from hf_structkd.normalization import ImageNormalization
from hf_structkd.report import write_segmentation_report
from hf_structkd.runs import alone_arguments, refuse_used_folder, train_and_evaluate
from hf_structkd.script_args import ModelArguments, SegmentationDataArguments, parse_arguments
from hf_structkd.tasks import SegmentationTask

Run = tuple[StructKDTrainer, dict[str, float]]

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
    """Parse, load, train, save."""
    types = (ModelArguments, SegmentationDataArguments, StructKDTrainingArguments)
    models, data_args, args = parse_arguments(*types, argv=argv)
    if data_args.dataset_name is None:
        models, data_args, args = parse_arguments(*types, argv=argv, defaults=DEMO)
        if models.teacher_model_name_or_path == str(DEMO_TEACHER):
            with args.main_process_first(desc="the teacher on the embedded scenes"):
                make_demo_teacher()
    for name in ("teacher_model_name_or_path", "student_model_name_or_path"):
        if getattr(models, name) is None:
            raise SystemExit(f"--{name} is missing: name a Hub id or a folder.")
    refuse_used_folder(args)

    size = (data_args.image_size[0], data_args.image_size[1])
    processor = student_image_processor(
        models.student_model_name_or_path, SegmentationTask, size, revision=models.student_revision
    )
    teacher = load_teacher(
        models.teacher_model_name_or_path, SegmentationTask, revision=models.teacher_revision
    )
    data = load_segmentation_data(
        **asdict(data_args),
        normalization=ImageNormalization.from_image_processor(processor),
        default_id2label=teacher.config.id2label,
        seed=args.seed,
    )

    def train(run_args: StructKDTrainingArguments, *, with_teacher: bool) -> Run:
        set_seed(run_args.seed)  # both students start from the same weights
        student = load_student(
            models.student_model_name_or_path,
            SegmentationTask,
            id2label=data.id2label,
            revision=models.student_revision,
            ignore_index=data_args.ignore_index,
        )
        trainer = StructKDTrainer(
            student,
            teacher if with_teacher else None,
            run_args,
            processing_class=processor,
            teacher_processing_class=load_image_processor(
                models.teacher_model_name_or_path, revision=models.teacher_revision
            ),
            teacher_label_map=load_label_map(models.teacher_label_map) if models.teacher_label_map else None,
            train_dataset=data.train,
            eval_dataset=data.validation,
        )
        return trainer, train_and_evaluate(trainer)

    alone = train(alone_arguments(args), with_teacher=False) if models.compare_baseline else (None, None)
    trainer, metrics = train(args, with_teacher=True)
    scores = trainer.evaluate_teacher() if trainer.teacher is not None else None
    if trainer.is_world_process_zero():
        print(
            write_segmentation_report(
                trainer, metrics, teacher_metrics=scores, alone=alone[0], alone_metrics=alone[1]
            )
        )
        print(f"\nThe student, its metrics and figures are in {args.output_dir}.")


def make_demo_teacher() -> None:
    """Train the teacher on many more scenes than the student will see, unless it is there already."""
    if (DEMO_TEACHER / "all_results.json").is_file():
        return
    # A launcher's variables would make the child wait for processes that never come.
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {name: value for name, value in os.environ.items() if name not in launcher}
    script = HERE.parent / "scripts" / "train_teacher.py"
    subprocess.run(
        [sys.executable, str(script), "--output_dir", str(DEMO_TEACHER)], check=True, env=environment
    )


if __name__ == "__main__":
    main()
