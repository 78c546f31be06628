"""Train a segmentation teacher: any architecture, without a teacher of its own.

    python scripts/train_teacher.py

trains the teacher of the demonstration on the embedded scenes. With your own data:

    accelerate launch scripts/train_teacher.py --dataset_name DATASET --student_model_name_or_path MODEL \
        --image_size 512 512 --output_dir outputs/teacher

It takes every option of `examples/run_seg_distill.py`; `--student_model_name_or_path` is the model that is
trained, and a folder with only a `config.json` starts it from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import set_seed

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.data import load_segmentation_data
from hf_structkd.models import load_student, student_image_processor
from hf_structkd.normalization import ImageNormalization
from hf_structkd.report import write_segmentation_report
from hf_structkd.runs import alone_arguments, refuse_used_folder, train_and_evaluate
from hf_structkd.script_args import ModelArguments, SegmentationDataArguments, parse_arguments
from hf_structkd.tasks import SegmentationTask

CONFIGS = Path(__file__).resolve().parents[1] / "examples" / "configs"
SCENES: dict[str, Any] = {
    "student_model_name_or_path": str(CONFIGS / "segformer-scenes-teacher"),
    "output_dir": "outputs/scenes-teacher",
    "image_size": [96, 128],
    "scale": [1.0, 1.5],
    "max_train_samples": 2700,
    "max_eval_samples": 100,
    "num_train_epochs": 4,
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "logging_steps": 50,
    "eval_strategy": "epoch",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, load, train, save."""
    types = (ModelArguments, SegmentationDataArguments, StructKDTrainingArguments)
    models, data_args, args = parse_arguments(*types, argv=argv)
    if data_args.dataset_name is None:
        models, data_args, args = parse_arguments(*types, argv=argv, defaults=SCENES)
    if models.student_model_name_or_path is None:
        raise SystemExit("--student_model_name_or_path is missing: name the model to train as a teacher.")
    refuse_used_folder(args)
    args = alone_arguments(args, folder=args.output_dir)
    name, revision = models.student_model_name_or_path, models.student_revision
    size = (data_args.image_size[0], data_args.image_size[1])
    processor = student_image_processor(name, SegmentationTask, size, revision=revision)
    data = load_segmentation_data(
        **asdict(data_args),
        normalization=ImageNormalization.from_image_processor(processor),
        seed=args.seed,
    )
    set_seed(args.seed)
    model = load_student(
        name, SegmentationTask, id2label=data.id2label, revision=revision, ignore_index=data_args.ignore_index
    )
    trainer = StructKDTrainer(
        model,
        None,
        args,
        processing_class=processor,
        train_dataset=data.train,
        eval_dataset=data.validation,
    )
    metrics = train_and_evaluate(trainer)
    if trainer.is_world_process_zero():
        print(write_segmentation_report(trainer, metrics))


if __name__ == "__main__":
    main()
