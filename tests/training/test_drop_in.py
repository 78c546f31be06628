"""`StructKDTrainer` in the place of `Trainer` in transformers' examples: their data, collators, metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import (
    AutoModelForSemanticSegmentation,
    DetrImageProcessorPil,
    GLPNImageProcessor,
    SegformerImageProcessorPil,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from hf_structkd import StructKDTrainer, StructKDTrainingArguments, load_segmentation_data
from hf_structkd.matching import ImageNormalization
from hf_structkd.models import load_image_processor

from ..cases import ALONE, DEPTH, DETECTION, SEGMENTATION, TaskCase, arguments, make_trainer

SIDES = {"height": 64, "width": 64}
COMMON: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
    "remove_unused_columns": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "dataloader_pin_memory": False,
}


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


def both(
    case: TaskCase, data: datasets.Dataset, folder: Path, *, args: dict[str, Any], **kwargs: Any
) -> tuple[Any, Any]:
    """Evaluate by Trainer and by the drop-in, after the drop-in has trained; return both scores."""
    student = case.student(0)
    ours = StructKDTrainer(
        model=student,
        teacher_model=case.teacher(1),
        args=StructKDTrainingArguments(str(folder / "ours"), **COMMON, **args),
        train_dataset=data,
        eval_dataset=data,
        **kwargs,
    )
    ours.train()
    theirs = Trainer(
        model=student,
        args=TrainingArguments(str(folder / "theirs"), **COMMON, **args),
        train_dataset=data,
        eval_dataset=data,
        **kwargs,
    )
    return ours.evaluate(), theirs.evaluate()


def assert_equal_scores(ours: dict[str, float], theirs: dict[str, float], names: set[str]) -> None:
    assert names <= {name.removeprefix("eval_") for name in theirs}
    for name in names:
        assert ours[f"eval_{name}"] == pytest.approx(theirs[f"eval_{name}"], rel=1e-4), name


def test_semantic_segmentation(tmp_path: Path) -> None:
    """As `run_semantic_segmentation.py` does it: transform, `default_data_collator`, resized logits."""
    processor = SegformerImageProcessorPil(size=SIDES, do_reduce_labels=False)
    masks = np.random.default_rng(1).integers(0, 5, (3, 48, 64), dtype=np.uint8)
    data = datasets.Dataset.from_dict(
        {"image": pictures(3), "label": [Image.fromarray(mask) for mask in masks]}
    ).cast_column("image", datasets.Image())

    def transform(rows: dict[str, Any]) -> Any:
        return processor(rows["image"], segmentation_maps=rows["label"], return_tensors="pt")

    @torch.no_grad()
    def compute_metrics(eval_pred: Any) -> dict[str, float]:
        logits, labels = eval_pred
        size = labels.shape[-2:]
        tensor = nn.functional.interpolate(torch.from_numpy(logits), size=size, mode="bilinear")
        return {"accuracy": float((tensor.argmax(1).numpy() == labels).mean())}

    ours, theirs = both(
        SEGMENTATION,
        data.with_transform(transform),
        tmp_path,
        args={},
        compute_metrics=compute_metrics,
        processing_class=processor,
        data_collator=default_data_collator,
    )
    assert_equal_scores(ours, theirs, {"accuracy", "loss"})


def test_depth(tmp_path: Path) -> None:
    """As the depth notebooks do it: a transform that gives arrays, and a metric that takes one map."""
    processor = GLPNImageProcessor(do_resize=False)
    depths = np.random.default_rng(1).uniform(1, 5, (3, 64, 64)).astype(np.float32)
    data = datasets.Dataset.from_dict({"image": pictures(3), "index": [0, 1, 2]}).cast_column(
        "image", datasets.Image()
    )

    def transform(rows: dict[str, Any]) -> dict[str, Any]:
        values = [
            np.asarray(image.resize((64, 64)), np.float32).transpose(2, 0, 1) / 255 for image in rows["image"]
        ]
        return {"pixel_values": values, "labels": [depths[index] for index in rows["index"]]}

    def compute_metrics(eval_pred: Any) -> dict[str, float]:
        predicted, labels = eval_pred
        assert predicted.shape == labels.shape == (3, 64, 64)
        return {"abs_rel": float((np.abs(predicted - labels) / labels).mean())}

    ours, theirs = both(
        DEPTH,
        data.with_transform(transform),
        tmp_path,
        args={},
        compute_metrics=compute_metrics,
        processing_class=processor,
        data_collator=default_data_collator,
    )
    assert_equal_scores(ours, theirs, {"abs_rel"})


def test_object_detection(tmp_path: Path) -> None:
    """As `run_object_detection.py` does it: the processor's labels and integer mask, lists of batches."""
    processor = DetrImageProcessorPil(size={"max_height": 64, "max_width": 64}, do_pad=True, pad_size=SIDES)
    boxes = [[[4.0, 5.0, 20.0, 16.0]], [], [[8.0, 8.0, 30.0, 30.0], [30.0, 4.0, 20.0, 20.0]]]
    data = datasets.Dataset.from_dict(
        {"image": pictures(3), "image_id": [0, 1, 2], "boxes": boxes}
    ).cast_column("image", datasets.Image())

    def transform(rows: dict[str, Any]) -> Any:
        annotations = [
            {
                "image_id": index,
                "annotations": [
                    {
                        "image_id": index,
                        "category_id": len(own) % 5,
                        "iscrowd": 0,
                        "area": box[2] * box[3],
                        "bbox": box,
                    }
                    for box in own
                ],
            }
            for index, own in zip(rows["image_id"], rows["boxes"], strict=True)
        ]
        return processor(rows["image"], annotations=annotations, return_tensors="pt")

    def collate_fn(batch: list[Any]) -> dict[str, Any]:
        collated = {"pixel_values": torch.stack([x["pixel_values"] for x in batch])}
        collated["labels"] = [x["labels"] for x in batch]
        if "pixel_mask" in batch[0]:
            collated["pixel_mask"] = torch.stack([x["pixel_mask"] for x in batch])
        return collated

    def compute_metrics(results: Any) -> dict[str, float]:
        sizes = [torch.tensor(np.array([x["orig_size"] for x in batch])) for batch in results.label_ids]
        count, score = 0, 0.0
        for batch, size in zip(results.predictions, sizes, strict=True):
            output = type(
                "Output", (), {"logits": torch.tensor(batch[1]), "pred_boxes": torch.tensor(batch[2])}
            )
            for found in processor.post_process_object_detection(output, threshold=0.0, target_sizes=size):
                count, score = count + len(found["scores"]), score + float(found["scores"].sum())
        true = sum(len(x["boxes"]) for batch in results.label_ids for x in batch)
        return {"true": true, "found": count, "score": score}

    transformed = data.with_transform(transform)
    assert not transformed[0]["pixel_mask"].is_floating_point()
    student = DETECTION.student(0)
    trainer = make_trainer(
        DETECTION,
        arguments(tmp_path, eval_do_concat_batches=False, per_device_eval_batch_size=2),
        student=student,
        train_dataset=transformed,
        eval_dataset=transformed,
        data_collator=collate_fn,
        processing_class=processor,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    scores = trainer.evaluate()
    # Trainer cuts the two boxes of the last image to as many as its batch has images.
    assert scores["eval_true"] == 3
    assert scores["eval_found"] == 3 * student.config.num_detection_tokens
    expected = 0.0
    for row in range(3):
        with torch.no_grad():
            output = student.eval()(pixel_values=transformed[row]["pixel_values"][None])
        expected += float(output.logits.softmax(-1)[..., :-1].max(-1).values.sum())
    assert scores["eval_score"] == pytest.approx(expected, rel=1e-4)


def test_a_configuration_alone_learns_the_datas_classes(tmp_path: Path) -> None:
    """Else the README's lines end in "LABEL_0" or in a missing processor, which the command line makes."""
    config = SEGMENTATION.student(0).config
    config.architectures = ["SegformerForSemanticSegmentation"]
    config.save_pretrained(tmp_path / "student")
    processor = load_image_processor(tmp_path / "student")
    data = load_segmentation_data(
        image_size=(32, 64),
        normalization=ImageNormalization.from_image_processor(processor),
        max_train_samples=2,
        max_eval_samples=1,
        ignore_index=254,
    )
    args = arguments(tmp_path / "out", **ALONE, max_steps=1)
    trainer = StructKDTrainer(
        tmp_path / "student", None, args, train_dataset=data.train, eval_dataset=data.validation
    )
    trainer.train()
    trainer.save_model()
    saved = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "out")
    assert saved.config.id2label == data.id2label
    assert trainer.task.ignore_index == 254
    made = load_image_processor(tmp_path / "out")
    assert (made.size["height"], made.size["width"]) == (32, 64)
    assert ImageNormalization.from_image_processor(made) == data.train.reader.normalization


def test_other_settings_in_a_used_folder_speak_of_no_resuming(tmp_path: Path) -> None:
    """Else somebody who resumes nothing is told to restore what was set for a resumption."""
    make_trainer(SEGMENTATION, arguments(tmp_path, **ALONE, max_steps=1, save_strategy="steps")).train()
    weights = {**ALONE, "pixel_weight": 2.0}
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, **weights, max_steps=1))
    with pytest.raises(ValueError, match=r"pixel_weight was 0\.0 and is 2\.0") as error:
        trainer.train()
    assert "to start anew, choose another `output_dir`" in str(error.value)
    assert "resume" not in str(error.value)
    with pytest.raises(ValueError, match="restore them to resume"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
