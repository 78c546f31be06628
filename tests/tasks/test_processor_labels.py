"""What Transformers' image processors make of images and annotations is taken as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from transformers import (
    DetrImageProcessorPil,
    PretrainedConfig,
    RTDetrImageProcessorPil,
    YolosImageProcessorPil,
)
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd.data import collate_detection
from hf_structkd.features.forward import Forward
from hf_structkd.metrics import MeanAveragePrecision
from hf_structkd.tasks import DetectionTask
from tests.cases import DETECTION as CASE
from tests.cases import Rows, arguments, make_trainer

# Height and width, and x, y, w, h with a class for each object.
IMAGES = [(48, 64), (60, 40)]
OBJECTS = [[([4, 6, 20, 30], 0), ([30, 10, 33, 25], 1)], [([5, 20, 30, 38], 2)]]
PROCESSORS = [
    DetrImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 128}),
    YolosImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 128}),
    RTDetrImageProcessorPil(size={"height": 96, "width": 96}),
]
over_processors = pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: type(one).__name__)


def processed(processor: Any, chosen: slice = slice(0, 2), **settings: Any) -> Any:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in IMAGES[chosen]]
    annotations = [
        {
            "image_id": index,
            "annotations": [
                {"bbox": box, "category_id": category, "area": box[2] * box[3], "iscrowd": 0}
                for box, category in objects
            ],
        }
        for index, objects in enumerate(OBJECTS[chosen])
    ]
    return processor(images=images, annotations=annotations, **settings)


def rows_of(processor: Any, **settings: Any) -> list[dict[str, Any]]:
    """Rows as `with_transform` gives them: of the images one by one, with arrays."""
    rows = []
    for index in range(2):
        found = processed(processor, slice(index, index + 1), **settings)
        rows.append({name: values[0] for name, values in found.items()})
    return rows


def answer(batch: dict[str, Any]) -> DetrObjectDetectionOutput:
    """A model that finds every object of the batch a little off, by its position in the canvas."""
    boxes, logits = torch.full((2, 3, 4), 0.5), torch.full((2, 3, 4), -4.0)
    logits[..., 3] = 4.0
    for image, labels in enumerate(batch["labels"]):
        for query, (box, category) in enumerate(zip(labels["boxes"], labels["class_labels"], strict=True)):
            boxes[image, query] = box * torch.tensor([1.0, 1.0, 0.9, 0.8])
            logits[image, query, int(category)] = 6.0 - query
    return DetrObjectDetectionOutput(logits=logits, pred_boxes=boxes)


def independent_score() -> tuple[float, ...]:
    """The mAP of `answer` by pycocotools, from the annotations alone: sides of 0.9 and 0.8 about a centre."""
    truth: dict[str, Any] = {
        "images": [{"id": 0}, {"id": 1}], "annotations": [], "categories": [{"id": one} for one in range(3)]
    }  # fmt: skip
    found = []
    for image, objects in enumerate(OBJECTS):
        for query, ((x, y, w, h), category) in enumerate(objects):
            common = {"image_id": image, "category_id": category}
            box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            truth["annotations"].append({**common, **box, "id": len(found) + 1})
            found.append(
                {**common, "bbox": [x + 0.05 * w, y + 0.1 * h, 0.9 * w, 0.8 * h], "score": 0.9 - query}
            )
    ground = COCO()
    ground.dataset = truth
    ground.createIndex()
    evaluator = COCOeval(ground, ground.loadRes(found), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return tuple(evaluator.stats[[0, 3, 4]])


def score(batch: dict[str, Any]) -> tuple[float, ...]:
    task = DetectionTask(PretrainedConfig(id2label={0: "a", 1: "b", 2: "c"}))
    metric = task.metric()
    metric.add_statistics(task.evaluation_statistics(answer(batch), batch))
    scores = metric.compute()
    return tuple(scores[name] for name in ("map", "map_small", "map_medium"))


@over_processors
@pytest.mark.parametrize("collated", [False, True])
def test_processed_batches_are_scored_in_pixels_of_the_original(processor: Any, collated: bool) -> None:
    """In pixels of the padded or resized canvas small objects count as medium ones."""
    whole = dict(processed(processor, return_tensors="pt"))
    batch = collate_detection(rows_of(processor)) if collated else whole
    assert score(batch) == pytest.approx(independent_score(), abs=1e-6)


def test_rows_of_arrays_in_differing_sizes_are_padded_with_their_boxes() -> None:
    """As with `Trainer`, a processor's rows need no conversion; boxes stay relative to the canvas."""
    rows = rows_of(PROCESSORS[0])
    assert isinstance(rows[0]["pixel_values"], np.ndarray)
    batch = collate_detection(rows)
    height, width = batch["pixel_values"].shape[-2:]
    for index, (row, labels) in enumerate(zip(rows, batch["labels"], strict=True)):
        own_height, own_width = row["pixel_values"].shape[-2:]
        corner = torch.as_tensor(row["pixel_values"])
        assert torch.equal(batch["pixel_values"][index, :, :own_height, :own_width], corner)
        assert batch["pixel_mask"][index].sum() == own_height * own_width
        wanted = torch.as_tensor(row["labels"]["boxes"]) * torch.tensor([own_width, own_height] * 2)
        torch.testing.assert_close(labels["boxes"] * torch.tensor([width, height] * 2), wanted)


def test_crowds_of_a_processor_are_crowds() -> None:
    """`iscrowd` taken for nothing, one box around many counts as one object that is missed."""
    labels = {"class_labels": [0, 0], "boxes": [[0.5, 0.5, 1, 1], [0.5, 0.5, 0.5, 0.5]]}
    labels |= {"iscrowd": [1, 0], "orig_size": [100, 100]}
    metric = MeanAveragePrecision({0: "cat"})
    found = {"boxes": [[25.0, 25, 75, 75]], "labels": [0], "scores": [0.9]}
    assert metric.compute(predictions=[found], references=[labels])["map"] == pytest.approx(1.0)


def labelled(processor: Any) -> Rows:
    """Two images, four times, of which no class is beyond those of the tiny models."""
    return Rows(rows_of(processor) * 2)


@over_processors
def test_processed_rows_train_and_are_scored(processor: Any, tmp_path: Path) -> None:
    """With a mask of integers and without `canvas_size`, as `Trainer` takes them."""
    args = arguments(tmp_path, max_steps=1, per_device_train_batch_size=2, pairwise_weight=1.0)
    trainer = make_trainer(CASE, args, train_dataset=labelled(processor), eval_dataset=labelled(processor))
    assert np.isfinite(trainer.train().training_loss)
    for scores in (trainer.evaluate(), trainer.evaluate_teacher()):
        assert any(name.endswith("map") for name in scores)


def test_masks_of_integers_hide_padding_from_every_term() -> None:
    """`torch.where` takes no integers, and the run ended at its first step."""
    student, teacher = CASE.student(0).eval(), CASE.teacher(1).eval()
    task = DetectionTask(student.config, teacher.config)
    images = torch.rand(2, 3, 64, 64)
    mask = torch.ones(2, 64, 64, dtype=torch.int64)
    mask[1, :, 32:] = 0
    batch = {"pixel_values": images, "pixel_mask": mask}
    with torch.no_grad():
        own, theirs = (model(images, pixel_mask=mask) for model in (student, teacher))

    def maps(of: dict[str, Any]) -> tuple[Tensor, Tensor]:
        found = task.score_maps(Forward(own, []), Forward(theirs, []), of)
        return found.real, found.fake

    integers, truths = maps(batch), maps({**batch, "pixel_mask": mask.bool()})
    for one, other in zip(integers, truths, strict=True):
        assert torch.equal(one, other)
        assert not one[1, :, :, 4:].any()
