"""The detection scores that every table quotes, against pycocotools and numbers worked out by hand."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from transformers import DeformableDetrImageProcessorPil, DetrImageProcessorPil, RTDetrImageProcessorPil
from transformers.trainer_pt_utils import nested_concat

from hf_structkd.metrics import (
    DETECTION_SCORES,
    MeanAveragePrecision,
    decode_detections,
    detection_statistics,
)

Image = dict[str, Any]

NAMES = {0: "cat", 1: "dog", 2: "emu", 3: "fox"}
SIZES = (8.0, 20.0, 60.0, 150.0, 300.0)


# ---- pycocotools ----


def coco_annotations(images: list[Image]) -> list[dict[str, Any]]:
    """Annotations of dicts with boxes, labels and perhaps scores and crowd."""
    annotations = []
    for index, image in enumerate(images):
        crowd = image.get("crowd", torch.zeros(len(image["boxes"])))
        scores = image.get("scores", torch.zeros(len(image["boxes"])))
        for (x1, y1, x2, y2), label, is_crowd, score in zip(
            image["boxes"].tolist(), image["labels"].tolist(), crowd.tolist(), scores.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(is_crowd),
                    "score": score,
                }
            )
    return annotations


def pycocotools_scores(predictions: list[Image], references: list[Image]) -> dict[str, float]:
    """All scores by the reference implementation, the whole data set and all classes at once."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        for data, images in ((truth, references), (found, predictions)):
            data.dataset = {
                "images": [{"id": index} for index in range(len(references))],
                "categories": [{"id": index, "name": name} for index, name in NAMES.items()],
                "annotations": coco_annotations(images),
            }
            data.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    scores = dict(zip(DETECTION_SCORES, evaluation.stats.tolist(), strict=True))
    for index, name in NAMES.items():
        scores[f"ap_{name}"] = float(evaluation.eval["precision"][:, :, index, 0, -1].mean())
    return {name: math.nan if score < 0 else score for name, score in scores.items()}


# ---- random images ----


def random_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Boxes (count, 4) of all three sizes."""
    size = torch.tensor(SIZES)[torch.randint(len(SIZES), (count, 1), generator=generator)]
    corner = torch.rand(count, 2, generator=generator) * 300
    return torch.cat([corner, corner + size * (0.7 + torch.rand(count, 2, generator=generator))], dim=1)


def random_reference(count: int, classes: int, generator: torch.Generator) -> Image:
    return {
        "boxes": random_boxes(count, generator),
        "labels": torch.randint(classes, (count,), generator=generator),
        "crowd": torch.rand(count, generator=generator) < 0.15,
    }


def random_prediction(reference: Image, noise: int, classes: int, generator: torch.Generator) -> Image:
    """Each true box about twice, jittered, most with the right label, and `noise` boxes that find nothing."""
    boxes = reference["boxes"].repeat(2, 1)
    side = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes = boxes + side * 0.12 * torch.randn(boxes.shape, generator=generator)
    boxes = torch.cat([boxes, random_boxes(noise, generator)])
    boxes = torch.cat(
        [torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1
    )
    labels = torch.randint(classes, (len(boxes),), generator=generator)
    right = torch.rand(2 * len(reference["labels"]), generator=generator) < 0.8
    labels[: len(right)] = torch.where(right, reference["labels"].repeat(2), labels[: len(right)])
    scores = torch.rand(len(boxes), generator=generator)
    return {"boxes": boxes, "scores": scores, "labels": labels}


def random_images(
    counts: list[tuple[int, int]], classes: int = 3, seed: int = 0
) -> tuple[list[Image], list[Image]]:
    """Predictions and references of images with so many true objects and stray detections."""
    generator = torch.Generator().manual_seed(seed)
    references = [random_reference(count, classes, generator) for count, _ in counts]
    predictions = [
        random_prediction(reference, noise, classes, generator)
        for reference, (_, noise) in zip(references, counts, strict=True)
    ]
    return predictions, references


MANY = [(6, 4), (0, 5), (9, 0), (0, 0), (14, 30), (3, 1), (1, 2)]


def scores_of(predictions: list[Image], references: list[Image]) -> dict[str, float]:
    return MeanAveragePrecision(NAMES).compute(predictions=predictions, references=references)


def assert_equal_to_pycocotools(predictions: list[Image], references: list[Image]) -> dict[str, float]:
    expected = pycocotools_scores(predictions, references)
    scores = scores_of(predictions, references)
    assert list(scores) == list(expected)
    assert all(type(score) is float for score in scores.values())
    assert scores == pytest.approx(expected, abs=1e-6, nan_ok=True)
    return scores


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_pycocotools(seed: int) -> None:
    """Several classes, one of them absent, three sizes, crowds, images without truth or detections."""
    predictions, references = random_images(MANY * 3, seed=seed)
    assert any(reference["crowd"].any() for reference in references)
    scores = assert_equal_to_pycocotools(predictions, references)
    assert math.isnan(scores["ap_fox"])
    assert all(0.05 < scores[name] < 0.95 for name in DETECTION_SCORES)


def test_ties_and_duplicates_equal_pycocotools() -> None:
    """Saturated scores tie; taken in another order, or matched twice, they would give another number."""
    predictions, references = random_images(MANY * 2, seed=7)
    for image in predictions:
        image["scores"] = (image["scores"] * 4).round() / 4
        for name in ("boxes", "scores", "labels"):
            image[name] = image[name].repeat_interleave(2, dim=0)
    assert_equal_to_pycocotools(predictions, references)


def test_more_than_100_detections_of_a_class_equal_pycocotools() -> None:
    """It takes the best 100 of each class in each image: dropping others would change the score."""
    predictions, references = random_images([(30, 250), (5, 400), (0, 150)], classes=2)
    assert all((torch.bincount(image["labels"]) > 100).all() for image in predictions[:2])
    assert_equal_to_pycocotools(predictions, references)


def test_boxes_on_the_border_of_a_size_equal_pycocotools() -> None:
    """32 x 32 pixels are small and medium at once, 96 x 96 medium and large."""
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [50.0, 50.0, 146.0, 146.0], [200.0, 0.0, 200.0, 9.0]])
    references = [{"boxes": boxes, "labels": torch.zeros(3).long()}]
    predictions = [{**references[0], "scores": torch.tensor([0.9, 0.8, 0.7])}]
    scores = assert_equal_to_pycocotools(predictions, references)
    assert scores["mar_medium"] == 1.0


# ---- by hand ----

BOX, FAR = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 90.0, 90.0]


def truth(*boxes: list[float], **more: Any) -> Image:
    return {"boxes": [*boxes], "labels": [0] * len(boxes), **more}


def found(*scored: tuple[list[float], float]) -> Image:
    boxes, scores = [box for box, _ in scored], [score for _, score in scored]
    return {"boxes": boxes, "scores": scores, "labels": [0] * len(boxes)}


def test_perfect_detections_score_one() -> None:
    _, references = random_images([(5, 0), (8, 0)])
    for image in references:
        image["crowd"][:] = False
    perfect = [
        {"boxes": image["boxes"], "labels": image["labels"], "scores": torch.ones(len(image["labels"]))}
        for image in references
    ]
    scores = scores_of(perfect, references)
    assert {name for name, score in scores.items() if score == 1.0} == {*scores} - {
        "ap_fox",
        "mar_1",  # several objects of a class in an image cannot be found with one detection
    }


def test_half_of_the_objects_found_gives_half_of_the_recall() -> None:
    """Precision is 1 at the recalls 0, 0.01, ... 0.50, which are 51 of the 101 that are averaged."""
    scores = scores_of([found((BOX, 0.9))], [truth(BOX, FAR)])
    assert scores["mar_100"] == 0.5
    assert scores["map"] == scores["map_50"] == scores["ap_cat"] == pytest.approx(51 / 101)
    assert scores["map_small"] == 1.0
    assert scores["map_medium"] == 0.0
    assert math.isnan(scores["map_large"])


def test_a_wrong_detection_counts_if_it_scores_higher() -> None:
    """A detector is used by its scores: a wrong box below the last right one costs nothing, above it half."""
    assert scores_of([found((FAR, 0.9), (BOX, 0.8))], [truth(BOX)])["map"] == 0.5
    assert scores_of([found((FAR, 0.7), (BOX, 0.8))], [truth(BOX)])["map"] == 1.0


def test_overlap_decides_at_which_thresholds_a_detection_is_right() -> None:
    """An IoU of 0.72 is right at 0.50, 0.55, 0.60, 0.65 and 0.70: five of ten thresholds."""
    scores = scores_of([found(([0.0, 0.0, 10.0, 7.2], 0.9))], [truth(BOX)])
    assert (scores["map"], scores["map_50"], scores["map_75"]) == (0.5, 1.0, 0.0)


def test_detections_in_an_image_without_objects_lower_precision() -> None:
    """Left out, a detector that sees cats everywhere would be perfect on images that have one."""
    scores = scores_of([found((BOX, 0.8)), found((BOX, 0.9))], [truth(BOX), truth()])
    assert scores["map"] == 0.5


def test_objects_in_an_image_without_detections_lower_recall() -> None:
    scores = scores_of([found((BOX, 0.8)), found()], [truth(BOX), truth(BOX)])
    assert scores["mar_100"] == 0.5


def test_detections_inside_a_crowd_count_neither_for_nor_against() -> None:
    """Objects there were not drawn one by one: finding them must not be punished."""
    inside = [([60.0, 60.0, 70.0, 70.0], 0.95), ([60.0, 70.0, 70.0, 80.0], 0.9)]
    crowd = scores_of([found(*inside, (BOX, 0.8))], [truth(BOX, FAR, crowd=[False, True])])
    assert crowd["map"] == crowd["mar_100"] == 1.0
    single = scores_of([found(*inside, (BOX, 0.8))], [truth(BOX, FAR)])
    assert single["map"] < 0.5


def test_only_images_without_objects_give_nan_and_no_crash() -> None:
    scores = scores_of([found((BOX, 0.8)), found()], [truth(), truth(FAR, crowd=[True])])
    assert {*DETECTION_SCORES} < {*scores}
    assert all(math.isnan(score) for score in scores.values())


def test_no_detection_at_all_scores_zero() -> None:
    """The state of every detector at its first evaluation."""
    scores = scores_of([found()], [truth(BOX)])
    assert scores["map"] == scores["mar_100"] == scores["ap_cat"] == 0.0
    assert math.isnan(scores["ap_dog"])


# ---- decoding ----


def random_outputs(channels: int, images: int = 3, queries: int = 12) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(images, queries, channels)
    boxes = torch.rand(images, queries, 4) * torch.tensor([1.0, 1.0, 0.4, 0.4])
    return logits, boxes


def by_transformers(
    processor: type, logits: Tensor, boxes: Tensor, **settings: Any
) -> list[dict[str, Tensor]]:
    outputs = SimpleNamespace(logits=logits, pred_boxes=boxes)
    return processor().post_process_object_detection(outputs, threshold=0.0, **settings)


def test_a_softmax_head_is_decoded_as_transformers_does() -> None:
    logits, boxes = random_outputs(5)
    scores, labels, corners = decode_detections(logits, boxes, head="softmax")
    for image, expected in enumerate(by_transformers(DetrImageProcessorPil, logits, boxes)):
        order = expected["scores"].argsort(descending=True, stable=True)
        assert torch.equal(scores[image], expected["scores"][order])
        assert torch.equal(labels[image], expected["labels"][order])
        assert torch.equal(corners[image], expected["boxes"][order])


@pytest.mark.parametrize("kept", [7, 12, 1000])
def test_a_sigmoid_head_is_decoded_as_transformers_does(kept: int) -> None:
    logits, boxes = random_outputs(4)
    detections = decode_detections(logits, boxes, head="sigmoid", max_detections=kept)
    oracles = [by_transformers(DeformableDetrImageProcessorPil, logits, boxes, top_k=kept)]
    if kept == logits.shape[1]:  # RT-DETR keeps as many as there are queries
        oracles.append(by_transformers(RTDetrImageProcessorPil, logits, boxes))
    for oracle in oracles:
        for name, values in detections._asdict().items():
            assert torch.equal(values, torch.stack([expected[name] for expected in oracle]))
    assert detections.scores.shape[1] == min(kept, 12 * 4)


def test_a_softmax_head_keeps_the_best_in_the_order_of_queries() -> None:
    logits = torch.tensor([[[0.0, 1.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, 1.0, 0.0]]])
    boxes = torch.rand(1, 4, 4)
    scores, labels, _ = decode_detections(logits, boxes, head="softmax", max_detections=3)
    assert labels.tolist() == [[0, 1, 1]]
    assert scores.shape == (1, 3)
    assert scores[0, 1] == scores[0, 2] < scores[0, 0]


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_half_precision_is_decoded_in_single_precision(head: Any) -> None:
    """In bfloat16 all confident scores are 1, and their order would be that of the queries."""
    logits, boxes = (output.bfloat16() for output in random_outputs(4))
    half = decode_detections(logits, boxes, head=head)
    single = decode_detections(logits.float(), boxes.float(), head=head)
    assert all(torch.equal(a, b) for a, b in zip(half, single, strict=True))
    assert half.scores.dtype == half.boxes.dtype == torch.float32


# ---- statistics ----


def random_targets(images: int) -> list[dict[str, Tensor]]:
    """Targets with 0, 2, 4, ... objects."""
    return [
        {
            "class_labels": torch.randint(4, (2 * index,)),
            "boxes": torch.rand(2 * index, 4) * torch.tensor([1.0, 1.0, 0.4, 0.4]),
            "canvas_size": torch.tensor([480.0, 640.0]) / (1 + index),
            "crowd": torch.rand(2 * index) < 0.3,
        }
        for index in range(images)
    ]


def find_some(logits: Tensor, boxes: Tensor, targets: list[dict[str, Tensor]]) -> None:
    """Lets the first queries see the true objects, not quite at their place."""
    for image, target in enumerate(targets):
        for query, (box, label) in enumerate(zip(target["boxes"], target["class_labels"], strict=True)):
            boxes[image, query] = box + 0.02 * torch.rand(4)
            logits[image, query, label] += 3


@pytest.mark.parametrize(("head", "channels"), [("softmax", 5), ("sigmoid", 4)])
def test_statistics_give_the_scores_of_transformers_boxes_in_pixels(head: Any, channels: int) -> None:
    """Through rows or through dicts, the model's detections must get the same scores."""
    logits, boxes = random_outputs(channels, images=4)
    targets = random_targets(4)
    find_some(logits, boxes, targets)
    sizes = torch.stack([target["canvas_size"] for target in targets])
    processor, settings = {
        "softmax": (DetrImageProcessorPil, {}),
        "sigmoid": (DeformableDetrImageProcessorPil, {"top_k": 100}),
    }[head]
    predictions = by_transformers(processor, logits, boxes, target_sizes=sizes, **settings)
    references = []
    for target in targets:
        center, size = target["boxes"].split(2, dim=1)
        corners = torch.cat([center - size / 2, center + size / 2], dim=1)
        scale = target["canvas_size"][[1, 0, 1, 0]]
        references.append(
            {"boxes": corners * scale, "labels": target["class_labels"], "crowd": target["crowd"]}
        )
    metric = MeanAveragePrecision(NAMES)
    metric.add_statistics(detection_statistics(logits, boxes, targets, head=head))
    scores = metric.compute()
    assert 0 < scores["map"] < 1
    assert scores == pytest.approx(scores_of(predictions, references), abs=1e-6, nan_ok=True)


def test_rows_hold_kind_class_score_and_pixels_and_pad_what_is_missing() -> None:
    logits = torch.tensor([[[0.0, 3.0]], [[3.0, 0.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 1.0, 1.0]], [[0.25, 0.5, 0.5, 0.5]]])
    targets = [
        {
            "class_labels": torch.empty(0, dtype=torch.int64),
            "boxes": torch.empty(0, 4),
            "canvas_size": torch.tensor([10.0, 20.0]),
        },
        {
            "class_labels": torch.tensor([1, 0]),
            "boxes": torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.25, 0.5, 0.5]]),
            "canvas_size": torch.tensor([100.0, 200.0]),
            "crowd": torch.tensor([True, False]),
        },
    ]
    rows = detection_statistics(logits, boxes, targets, head="sigmoid", max_detections=1)
    score = torch.tensor(3.0).sigmoid().item()
    padding = [-100.0] * 7
    assert rows.tolist() == [
        [[1.0, 1.0, score, 0.0, 0.0, 20.0, 10.0], padding, padding],
        [
            [1.0, 0.0, score, 0.0, 25.0, 100.0, 75.0],
            [2.0, 1.0, 0.0, 0.0, 0.0, 200.0, 100.0],
            [0.0, 0.0, 0.0, 50.0, 0.0, 150.0, 50.0],
        ],
    ]
    assert rows.dtype == torch.float32


def test_pixels_of_the_original_image_decide_what_is_small() -> None:
    """Judged on the resized image, one detector would have other scores at other input sizes."""
    logits, boxes = torch.full((1, 1, 1), 5.0), torch.tensor([[[0.5, 0.5, 0.5, 0.5]]])
    for side, size in ((60.0, "small"), (100.0, "medium"), (200.0, "large")):
        target = {"class_labels": torch.tensor([0]), "boxes": boxes[0]}
        target["canvas_size"] = torch.tensor([side, side])
        metric = MeanAveragePrecision({0: "cat"})
        metric.add_statistics(detection_statistics(logits, boxes, [target], head="sigmoid"))
        scores = metric.compute()
        sizes = {name for name in ("small", "medium", "large") if scores[f"map_{name}"] == 1.0}
        assert sizes == {size}


def test_statistics_carry_no_gradient() -> None:
    """Kept over an evaluation, the graphs of all images would fill the memory."""
    logits, boxes = random_outputs(4, images=1)
    rows = detection_statistics(
        logits.requires_grad_(), boxes.requires_grad_(), random_targets(1), head="sigmoid"
    )
    assert not rows.requires_grad


def test_an_empty_batch_gives_no_row() -> None:
    rows = detection_statistics(torch.zeros(0, 5, 3), torch.zeros(0, 5, 4), [], head="sigmoid")
    assert rows.shape == (0, 15, 7)
    metric = MeanAveragePrecision(NAMES)
    metric.add_statistics(rows)
    metric.add_batch(predictions=[], references=[])
    assert len(metric) == 0


# ---- streaming ----


def test_batches_their_order_and_padding_change_nothing() -> None:
    """They depend on the number of processes, which must not decide a score."""
    logits, boxes = random_outputs(4, images=6)
    targets = random_targets(6)
    find_some(logits, boxes, targets)

    def scores(batches: list[list[int]], gathered: bool = False) -> dict[str, float]:
        metric = MeanAveragePrecision(NAMES)
        statistics = [
            detection_statistics(logits[batch], boxes[batch], [targets[i] for i in batch], head="sigmoid")
            for batch in batches
        ]
        if gathered:  # as Trainer pads and joins what its processes and batches return
            joined = statistics[0]
            for more in statistics[1:]:
                joined = nested_concat(joined, more, padding_index=-100)
            assert joined.shape[1] == max(part.shape[1] for part in statistics)
            statistics = [joined]
        for part in statistics:
            metric.add_statistics(part)
        assert len(metric) == 6
        return metric.compute()

    expected = scores([[0, 1, 2, 3, 4, 5]])
    assert expected["map"] > 0
    for batches in ([[0], [1], [2], [3], [4], [5]], [[4, 5], [0, 1, 3], [2]]):
        assert scores(batches) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert scores(batches, gathered=True) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_streaming_equals_all_at_once() -> None:
    """Averaging the scores of batches gives another number."""
    predictions, references = random_images(MANY)
    stream = MeanAveragePrecision(NAMES)
    stream.add(prediction=predictions[0], reference=references[0])
    stream.add_batch(predictions=predictions[1:3], references=references[1:3])
    for prediction, reference in zip(predictions[3:], references[3:], strict=True):
        stream.add_batch(
            predictions=[{name: value.numpy() for name, value in prediction.items()}],
            references=[{name: value.tolist() for name, value in reference.items()}],
        )
    assert len(stream) == len(MANY)
    assert stream.compute() == pytest.approx(scores_of(predictions, references), abs=1e-12, nan_ok=True)


def test_instances_share_nothing_and_start_afresh_after_compute() -> None:
    """Leftovers would mix one epoch's images into the next epoch's score."""
    first, second = MeanAveragePrecision(NAMES), MeanAveragePrecision(NAMES)
    first.add_batch(predictions=[found()], references=[truth(BOX)])
    assert len(second) == 0
    assert first.compute()["map"] == 0.0
    first.add_batch(predictions=[found((BOX, 0.5))], references=[truth(BOX)])
    assert first.compute()["map"] == 1.0
    with pytest.raises(ValueError, match="at least one image, got none"):
        first.compute()


def test_a_refused_batch_leaves_nothing_behind() -> None:
    """Half of it would be counted twice by whoever repairs the batch and adds it again."""
    metric = MeanAveragePrecision(NAMES)
    with pytest.raises(ValueError, match="must be finite"):
        metric.add_batch(
            predictions=[found((BOX, 0.5)), found((BOX, math.nan))], references=[truth(BOX), truth(BOX)]
        )
    assert len(metric) == 0
    metric.add_batch(predictions=[found((BOX, 0.5))], references=[truth(BOX)])
    assert metric.compute()["map"] == 1.0


def test_boxes_alone_are_kept() -> None:
    """Logits and images of a whole evaluation would not fit; 32 bytes a box do."""
    logits, boxes = random_outputs(4, images=5)
    metric = MeanAveragePrecision(NAMES)
    metric.add_statistics(
        detection_statistics(logits, boxes, random_targets(5), head="sigmoid", max_detections=10)
    )
    arrays = [array for value in vars(metric).values() if isinstance(value, list) for array in value]
    kept = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    assert kept == 32 * (5 * 10 + 2 * (0 + 1 + 2 + 3 + 4))


def test_scoring_prints_and_logs_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A table of COCO's for each class would bury the run's own log."""
    caplog.set_level("INFO")
    scores_of(*random_images(MANY))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


# ---- errors ----


def statistics_of(**changes: Any) -> Tensor:
    """`detection_statistics` of one image with one query, something of it replaced."""
    target = {
        "class_labels": torch.tensor([0]),
        "boxes": torch.rand(1, 4),
        "canvas_size": torch.tensor([10.0, 20.0]),
        "crowd": torch.tensor([False]),
    }
    target |= changes.pop("target", {})
    arguments = {
        "logits": torch.zeros(1, 1, 2),
        "boxes": torch.rand(1, 1, 4),
        "targets": [{name: value for name, value in target.items() if value is not None}],
        "head": "sigmoid",
    }
    return detection_statistics(**{**arguments, **changes})


def add_row(**changes: float) -> MeanAveragePrecision:
    """A metric of one class that was given one row, something of it replaced."""
    row = {"kind": 1.0, "class": 0.0, "score": 0.5, "x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0, **changes}
    metric = MeanAveragePrecision({0: "cat"})
    metric.add_statistics(torch.tensor([[list(row.values())]]))
    return metric


def test_the_helpers_of_the_errors_below_are_right() -> None:
    """Else the errors below may be another mistake's."""
    assert statistics_of().shape[2] == 7
    assert len(add_row()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "linear"}, r"`head` must be one of \('softmax', 'sigmoid'\), got 'linear'"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
        ({"logits": torch.zeros(1, 2)}, r"`logits` of a sigmoid head .* at least 1, got \(1, 2\)"),
        ({"logits": torch.zeros(1, 1, 0)}, r"at least 1, got \(1, 1, 0\)"),
        ({"logits": torch.zeros(1, 1, 1), "head": "softmax"}, r"softmax head .* at least 2, got \(1, 1, 1\)"),
        ({"boxes": torch.zeros(1, 2, 4)}, r"`boxes` must have shape \(1, 1, 4\) .* got \(1, 2, 4\)"),
        ({"targets": []}, "one dict per image, got 0 for 1 images"),
        ({"target": {"canvas_size": None}}, "canvas_size, got class_labels, boxes, crowd;"),
        ({"target": {"class_labels": torch.tensor(0)}}, r"`class_labels` of .* shape \(1,\), got \(\)"),
        ({"target": {"boxes": torch.zeros(2, 4)}}, r"`boxes` of .* 1 objects .* \(1, 4\), got \(2, 4\)"),
        ({"target": {"canvas_size": torch.zeros(1)}}, r"`canvas_size` of .* \(2,\), got \(1,\)"),
        ({"target": {"crowd": torch.zeros(3)}}, r"`crowd` of .* shape \(1,\), got \(3,\)"),
    ],
)
def test_outputs_and_targets_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        statistics_of(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": 3.0}, r"kind of a row must be 0 \(truth\), .* got 3;"),
        ({"score": math.nan}, r"must be finite, got the row \[1\.0, 0\.0, nan, 0\.0"),
        ({"x1": -math.inf}, "must be finite, got the row .*-inf"),
        ({"class": 1.0}, r"class must lie in \[0, 1\), got 1;"),
        ({"class": -1.0}, r"class must lie in \[0, 1\), got -1;"),
        ({"x1": 2.0}, r"x1 <= x2 and y1 <= y2, got \[2\.0, 0\.0, 1\.0, 1\.0\]"),
        ({"y2": -1.0}, r"x1 <= x2 and y1 <= y2, got \[0\.0, 0\.0, 1\.0, -1\.0\]"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_row(**changes)


def metric() -> MeanAveragePrecision:
    return MeanAveragePrecision(NAMES)


def add(prediction: Image | None = None, reference: Image | None = None) -> None:
    metric().add(
        prediction={**found((BOX, 0.5)), **(prediction or {})}, reference={**truth(BOX), **(reference or {})}
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MeanAveragePrecision({}), r"must name each class from 0 on once, got \{\}"),
        (lambda: MeanAveragePrecision({1: "a"}), "must name each class from 0 on once"),
        (lambda: MeanAveragePrecision({0: "a", 1: "a"}), "must name each class from 0 on once"),
        (lambda: metric().add_statistics(torch.zeros(2, 7)), r"\(B, R, 7\), got \(2, 7\)"),
        (lambda: metric().add_statistics(torch.zeros(2, 3, 6)), r"\(B, R, 7\), got \(2, 3, 6\)"),
        (lambda: metric().add_batch(predictions=[], references=[truth()]), "the same length, got 0 and 1"),
        (
            lambda: metric().add(prediction=truth(BOX), reference=truth(BOX)),
            r"must have the keys \('boxes', 'scores', 'labels'\), got \('boxes', 'labels'\)",
        ),
        (
            lambda: metric().add(prediction=found(), reference={"boxes": []}),
            r"`references` must have the keys \('boxes', 'labels'\), got \('boxes',\)",
        ),
        (lambda: add({"boxes": BOX}), r"`boxes` of `predictions` .* \(N, 4\), got \(4,\)"),
        (lambda: add({"scores": [0.5, 0.4]}), r"`scores` of `predictions` .* \(1,\).* got \(2,\)"),
        (lambda: add({"labels": [0, 0]}), r"`labels` of `predictions` .* \(1,\).* got \(2,\)"),
        (lambda: add(None, {"boxes": [[1.0]]}), r"`boxes` of `references` .* got \(1, 1\)"),
        (lambda: add(None, {"crowd": []}), r"`crowd` of `references` .* \(1,\).* got \(0,\)"),
        (lambda: add(None, {"labels": [4]}), r"class must lie in \[0, 4\), got 4"),
    ],
)
def test_wrong_calls_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="must both be given, got list and NoneType"):
        metric().add_batch(predictions=[found()])
    with pytest.raises(TypeError, match=r"must be integers, got torch\.float32"):
        add({"labels": [0.5]})
