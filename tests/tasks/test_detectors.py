"""Every detector's output becomes Q queries with logits and boxes; what cannot learn or teach is refused."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import DetrConfig, PreTrainedModel
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd.tasks.detectors import check_can_learn, check_can_teach, detection_head, final_queries
from tests.tiny_detectors import (
    DETECTION_ARCHITECTURES,
    SOFTMAX_ARCHITECTURES,
    TEACHER_ARCHITECTURES,
    WITHOUT_CLASSES,
    WITHOUT_TRAINING,
    detector_images,
    detector_labels,
    shared,
)

WITH_DENOISING = ("d_fine", "deimv2", "rt_detr", "rt_detr_v2")
WITH_GROUPS = ("lw_detr", "rf_detr")


def for_training(arch: str) -> PreTrainedModel:
    """In train mode but for BatchNorm, which alone would make it compute something else than in eval mode."""
    model = copy.deepcopy(shared(arch)).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
def test_the_head_is_read_off_the_number_of_channels(arch: str) -> None:
    """A softmax taken for sigmoids would teach "no object" as a class; the other way round, lose one."""
    logits = shared(arch)(detector_images(batch=1)).logits
    expected = "softmax" if arch in SOFTMAX_ARCHITECTURES else "sigmoid"
    assert detection_head(shared(arch).config, logits) == expected


def test_logits_that_fit_no_head_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 7 classes must have 7 .* 8 .*, got 9; correct `id2label`"):
        detection_head(shared("detr").config, torch.zeros(2, 10, 9))


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
def test_in_eval_mode_the_queries_are_the_output_s(arch: str) -> None:
    output = shared(arch)(detector_images())
    logits, boxes = final_queries(output, shared(arch).config)
    assert torch.equal(logits, output.logits)
    assert boxes.shape == (2, 10, 4)
    if arch != "pp_doclayout_v4":
        assert torch.equal(boxes, output.pred_boxes)


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
def test_training_on_labels_leaves_the_queries_of_evaluation(arch: str) -> None:
    """Denoising queries start from the labels: distilled, they would pass for predictions."""
    model = for_training(arch)
    output = model(detector_images(), labels=detector_labels(3, 1))
    queries = final_queries(output, model.config)
    with torch.no_grad():
        evaluated = shared(arch)(detector_images())
    assert queries.logits.shape == evaluated.logits.shape == (2, 10, evaluated.logits.shape[2])
    torch.testing.assert_close(queries.logits, evaluated.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(queries.boxes, evaluated.pred_boxes, atol=1e-4, rtol=1e-4)
    assert (output.logits.shape[1] > 10) == (arch in WITH_DENOISING + WITH_GROUPS)
    queries.logits.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("arch", WITH_DENOISING)
def test_a_batch_without_boxes_has_no_denoising_queries(arch: str) -> None:
    model = for_training(arch)
    output = model(detector_images(), labels=detector_labels(0, 0))
    assert torch.equal(final_queries(output, model.config).logits, output.logits)


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
def test_a_pixel_mask_is_accepted(arch: str) -> None:
    """YOLOS and the RT-DETR family have no use for it, and a batch of one size must run through all."""
    model = shared(arch)
    images = detector_images(size=(64, 96))
    mask = torch.ones(2, 64, 96, dtype=torch.long)
    mask[1, :, 64:] = 0
    logits, _ = final_queries(model(pixel_values=images, pixel_mask=mask), model.config)
    plain, _ = final_queries(model(pixel_values=images), model.config)
    assert torch.equal(logits[0], plain[0])
    reads_mask = (
        "conditional_detr",
        "dab-detr",
        "deformable_detr",
        "detr",
        "table-transformer",
        *WITH_GROUPS,
    )
    assert torch.equal(logits[1], plain[1]) == (arch not in reads_mask)


def _box_around(quad: list[float]) -> list[float]:
    xs = [quad[0] + offset - 0.5 for offset in quad[2::2]]
    ys = [quad[1] + offset - 0.5 for offset in quad[3::2]]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def test_a_quadrilateral_becomes_the_box_around_its_corners() -> None:
    output = shared("pp_doclayout_v4")(detector_images())
    boxes = final_queries(output, shared("pp_doclayout_v4").config).boxes
    assert output.pred_boxes.shape == (2, 10, 10)
    expected = [[_box_around(quad) for quad in image] for image in output.pred_boxes.tolist()]
    torch.testing.assert_close(boxes, torch.tensor(expected))


def test_the_box_around_a_lopsided_quadrilateral_is_not_centred_on_its_point() -> None:
    """By hand: corners (0.3, 0.3), (0.6, 0.4), (0.6, 0.6), (0.4, 0.5) around the point (0.4, 0.4)."""
    quad = torch.tensor([[[0.4, 0.4, 0.4, 0.4, 0.7, 0.5, 0.7, 0.7, 0.5, 0.6]]])
    output = DetrObjectDetectionOutput(logits=torch.zeros(1, 1, 3), pred_boxes=quad)
    boxes = final_queries(output, DetrConfig(backbone_config=shared("detr").config.backbone_config)).boxes
    torch.testing.assert_close(boxes, torch.tensor([[[0.45, 0.45, 0.3, 0.3]]]))


def test_boxes_of_another_kind_are_refused() -> None:
    output = SimpleNamespace(logits=torch.zeros(1, 2, 3), pred_boxes=torch.zeros(1, 2, 5))
    with pytest.raises(ValueError, match=r"`pred_boxes` must have 4 values .* got 5; choose another"):
        final_queries(output, shared("detr").config)


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
def test_what_can_learn_can_also_teach(arch: str) -> None:
    check_can_learn(shared(arch))
    check_can_teach(shared(arch))


@pytest.mark.parametrize("arch", WITHOUT_TRAINING)
def test_what_refuses_labels_can_only_teach(arch: str) -> None:
    check_can_teach(shared(arch))
    with pytest.raises(
        ValueError, match=r"`model` must .* PPDocLayoutV.* training\); .* only be the `teacher_"
    ):
        check_can_learn(shared(arch))


@pytest.mark.parametrize("arch", WITHOUT_CLASSES)
def test_what_has_no_classes_can_do_neither(arch: str) -> None:
    with pytest.raises(
        ValueError, match=r"`teacher_model` must .*, got PPOCRV.* map .*choose another teacher"
    ):
        check_can_teach(shared(arch))
    with pytest.raises(
        ValueError, match=r"`model` must .*, got PPOCRV.* no boxes .*; choose another student\."
    ):
        check_can_learn(shared(arch))


def test_the_queries_keep_their_graph_and_their_precision() -> None:
    logits = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    boxes: Tensor = torch.rand(1, 4, 4, dtype=torch.float64)
    config = SimpleNamespace(group_detr=2, num_queries=2)
    queries = final_queries(SimpleNamespace(logits=logits, pred_boxes=boxes), config)  # type: ignore[arg-type]
    assert torch.equal(queries.boxes, boxes[:, :2])
    queries.logits.sum().backward()
    assert logits.grad is not None
    assert logits.grad.sum(dim=2).tolist() == [[3, 3, 0, 0]]
