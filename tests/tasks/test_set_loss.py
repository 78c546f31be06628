"""The set loss is that of the labelled images alone, whatever else is in their batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from hf_structkd.tasks import DetectionTask
from hf_structkd.tasks._box_answers import confident_boxes
from hf_structkd.tasks.detectors import DetectionQueries

from ..cases import DETECTION, NUM_LABELS, freeze_batch_norm
from ..tiny_detectors import DETECTION_ARCHITECTURES, tiny_detector

LABELED = torch.tensor([True, False, True, False])
DENOISING = [
    "rt_detr",
    "lw_detr",
    *(pytest.param(arch, marks=pytest.mark.long) for arch in ("d_fine", "deimv2")),
]


def batch_of(labeled: torch.Tensor) -> dict[str, Any]:
    """Four images with two boxes each; the boxes of those without labels are there, and must not be read."""
    rows = DETECTION.rows(4).rows
    images = torch.stack([row["pixel_values"] for row in rows])
    return {"pixel_values": images, "labels": [row["labels"] for row in rows], "labeled": labeled}


def alone(batch: dict[str, Any]) -> dict[str, Any]:
    kept = batch["labeled"].nonzero().flatten().tolist()
    return {"pixel_values": batch["pixel_values"][kept], "labels": [batch["labels"][i] for i in kept]}


# One of each set loss; the others are classes of the same kinds.
FEW = ("yolos", "deformable_detr", "rt_detr", "lw_detr")
LONG = [pytest.param(arch, marks=pytest.mark.long) for arch in DETECTION_ARCHITECTURES if arch not in FEW]


@pytest.mark.parametrize("arch", [*FEW, *LONG])
def test_a_mixed_batch_has_the_loss_of_its_labelled_images(arch: str) -> None:
    """Else the student learns that images without labels are empty."""
    model = tiny_detector(arch, num_labels=NUM_LABELS)
    task = DetectionTask(model.config)
    batch = batch_of(LABELED)
    with torch.no_grad():
        losses = [
            task.task_loss(task.student_forward(model, one, None).output, one)
            for one in (batch, alone(batch))
        ]
    assert losses[0] == pytest.approx(losses[1].item() / 2, rel=1e-4)


@pytest.mark.parametrize("arch", DENOISING)
def test_images_without_labels_get_no_gradient_of_the_set_loss(arch: str) -> None:
    """Denoising queries and groups of queries, which are there in training alone, have images too."""
    model = freeze_batch_norm(tiny_detector(arch, num_labels=NUM_LABELS)).train()
    task = DetectionTask(model.config)
    batch = batch_of(LABELED)
    batch["pixel_values"].requires_grad_()
    task.task_loss(task.student_forward(model, batch, None).output, batch).backward()
    gradient = batch["pixel_values"].grad.flatten(1).abs().amax(1)
    assert (gradient > 0).tolist() == LABELED.tolist()


def test_a_batch_without_any_label_costs_nothing_and_keeps_its_graph() -> None:
    model = tiny_detector("yolos", num_labels=NUM_LABELS)
    task = DetectionTask(model.config)
    batch = batch_of(torch.zeros(4, dtype=torch.bool))
    loss = task.task_loss(task.student_forward(model, batch, None).output, batch)
    assert loss.item() == 0
    loss.backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def queries(*boxes: tuple[int, float, tuple[float, float, float, float]]) -> DetectionQueries:
    """One image of queries with a class, its probability and its box."""
    logits = torch.full((1, len(boxes), NUM_LABELS), -20.0)
    for query, (label, score, _) in enumerate(boxes):
        logits[0, query, label] = torch.tensor(score).logit()
    return DetectionQueries(logits, torch.tensor([[box for *_, box in boxes]]))


def test_sure_boxes_are_kept_once() -> None:
    """Two of one object would teach to find it twice; a box of another class is another object."""
    found = confident_boxes(
        queries(
            (1, 0.9, (0.5, 0.5, 0.4, 0.4)),
            (1, 0.8, (0.5, 0.5, 0.4, 0.36)),  # IoU 0.9 with the first
            (2, 0.7, (0.5, 0.5, 0.4, 0.4)),
            (1, 0.6, (0.1, 0.5, 0.4, 0.2)),  # beyond the left edge
            (0, 0.4, (0.8, 0.8, 0.1, 0.1)),
        ),
        "sigmoid",
        0.5,
    )[0]
    assert found["class_labels"].tolist() == [1, 2, 1]
    expected = [[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.4], [0.15, 0.5, 0.3, 0.2]]
    assert torch.allclose(found["boxes"], torch.tensor(expected), atol=1e-6)


def test_pseudo_labels_stand_in_where_there_are_none() -> None:
    """An image in which nothing is sure stays without one: nothing says that it is empty."""
    teacher = DETECTION.teacher(1)
    task = DetectionTask(copy.deepcopy(teacher.config), teacher.config, pseudo_label_threshold=0.5)
    batch = batch_of(torch.tensor([True, False, False, False]))
    given = batch["labels"][0]["boxes"]
    sure, unsure = queries((1, 0.9, (0.5, 0.5, 0.4, 0.4))), queries((1, 0.3, (0.5, 0.5, 0.4, 0.4)))
    output = type("Output", (), {})()
    output.logits = torch.cat([sure.logits, sure.logits, unsure.logits, unsure.logits])
    output.pred_boxes = sure.boxes.repeat(4, 1, 1)
    filled = task.filled_in(batch, output)
    assert filled["labeled"].tolist() == [True, True, False, False]
    assert torch.equal(filled["labels"][0]["boxes"], given)
    assert filled["labels"][1]["class_labels"].tolist() == [1]
    assert batch["labeled"].tolist() == [True, False, False, False]


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    config = DETECTION.student(0).config
    with pytest.raises(ValueError, match=r"`pseudo_label_threshold` must lie in \(0, 1\], got"):
        DetectionTask(config, config, pseudo_label_threshold=threshold)
