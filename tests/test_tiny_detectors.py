"""The detectors that the other tests lean on cover what Transformers has, and are worth testing with."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.tiny_detectors import (
    DETECTION_ARCHITECTURES,
    FROZEN_BACKBONE_ARCHITECTURES,
    TEACHER_ARCHITECTURES,
    WITHOUT_CLASSES,
    WITHOUT_TRAINING,
    detector_images,
    detector_labels,
    shared,
    tiny_detector,
)

# What gets no gradient from the set loss although it could: with boxes, and also where there is none.
NEVER_TRAINED = {"rf_detr": {"model.backbone.backbone.embeddings.mask_token"}}
TRAINED_BY_BOXES = {
    arch: {"model.denoising_class_embed.weight"} for arch in ("d_fine", "deimv2", "rt_detr", "rt_detr_v2")
}


def for_training(arch: str) -> PreTrainedModel:
    return copy.deepcopy(shared(arch)).train()


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
def test_logits_and_boxes_vary_over_images_queries_and_classes(arch: str) -> None:
    """Constant outputs make every distillation loss zero or every matching arbitrary, and its test blind."""
    with torch.no_grad():
        output = shared(arch)(detector_images())
    logits, boxes = output.logits, output.pred_boxes
    assert logits.shape[:2] == boxes.shape[:2] == (2, 10)
    assert logits.std(dim=1).mean() > 0.2
    assert logits.std(dim=2).mean() > 0.5
    assert logits.std(dim=0).mean() > 0.2
    assert logits.abs().max() < 10
    assert logits.argmax(dim=2).unique().numel() >= 2
    assert boxes.std(dim=1).mean() > 0.05
    assert boxes[..., 2:].min() > 0


@pytest.mark.parametrize("arch", WITHOUT_CLASSES)
def test_those_listed_as_without_classes_have_none(arch: str) -> None:
    output = shared(arch)(detector_images())
    assert set(output) == {"last_hidden_state"}
    assert output.last_hidden_state.shape == (2, 1, 64, 64)


@pytest.mark.parametrize("arch", WITHOUT_TRAINING)
def test_those_listed_as_without_training_refuse_labels(arch: str) -> None:
    with pytest.raises(ValueError, match=WITHOUT_TRAINING[arch]):
        for_training(arch)(detector_images(), labels=detector_labels(1, 1))


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
@pytest.mark.parametrize("counts", [(3, 2), (3, 0), (0, 0)], ids=["boxes", "some empty", "all empty"])
def test_every_student_trains_on_images_with_and_without_boxes(arch: str, counts: tuple[int, int]) -> None:
    model = for_training(arch)
    mask = torch.ones(2, 64, 64, dtype=torch.long)
    mask[1, :, 48:] = 0
    loss = model(pixel_values=detector_images(), pixel_mask=mask, labels=detector_labels(*counts)).loss
    loss.backward()
    assert loss.isfinite()
    untrained = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert untrained == NEVER_TRAINED.get(arch, set()) | (
        TRAINED_BY_BOXES.get(arch, set()) if counts == (0, 0) else set()
    )
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
def test_a_loss_comes_in_eval_mode_too_and_further_keys_of_the_labels_do_no_harm(arch: str) -> None:
    labels = detector_labels(2, 1)
    more = [{**label, "canvas_size": torch.tensor([64, 64]), "crowd": torch.zeros(1, 4)} for label in labels]
    with torch.no_grad():
        loss, same = (shared(arch)(detector_images(), labels=kind).loss for kind in (labels, more))
    assert loss.isfinite()
    assert torch.equal(loss, same)


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
def test_the_backbones_that_stay_frozen_are_known(arch: str) -> None:
    frozen = [name for name, parameter in shared(arch).named_parameters() if not parameter.requires_grad]
    convolutions = [name for name in frozen if "backbone" in name]
    assert bool(convolutions) == (arch in FROZEN_BACKBONE_ARCHITECTURES)


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
def test_without_denoising_queries_train_mode_is_deterministic(arch: str) -> None:
    model = for_training(arch)
    images = detector_images()
    assert torch.equal(model(images).logits, model(images).logits)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_random_state() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (tiny_detector("detr", seed=seed) for seed in (1, 1, 2))
    labels = detector_labels(3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(labels[0]["boxes"], detector_labels(3)[0]["boxes"])
    images = detector_images()
    assert torch.equal(one(images).logits, same(images).logits)
    assert not torch.equal(one(images).logits, other(images).logits)


def test_classes_queries_and_options_are_taken_over() -> None:
    model = tiny_detector("rt_detr", id2label={0: "cat", 1: "dog"}, num_queries=5, num_denoising=0)
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.train()(detector_images(), labels=detector_labels(1, 1, num_labels=2)).logits.shape == (
        2,
        5,
        2,
    )
    assert tiny_detector("yolos", num_labels=3, num_queries=6)(detector_images()).logits.shape == (2, 6, 4)
    assert tiny_detector("pp_doclayout_v2", num_labels=3)(detector_images()).logits.shape == (2, 10, 3)
    with pytest.raises(AssertionError, match="DetrConfig has no option queries"):
        tiny_detector("detr", queries=3)


def test_boxes_of_the_labels_lie_inside_their_image() -> None:
    labels = detector_labels(50, 0)
    centres, sides = labels[0]["boxes"].split(2, dim=1)
    assert (centres - sides / 2).min() >= 0
    assert (centres + sides / 2).max() <= 1
    assert labels[0]["class_labels"].unique().numel() == 7
    assert labels[1]["boxes"].shape == (0, 4)


def test_images_have_detail_at_every_scale() -> None:
    """White noise averages out before it reaches the coarse levels of a pyramid."""
    images = detector_images(batch=8, size=(96, 64))

    def mean_variance(side: int) -> Tensor:
        return nn.functional.avg_pool2d(images, side).var()

    assert images.shape == (8, 3, 96, 64)
    assert 0.8 < mean_variance(1) < 1.2
    assert mean_variance(32) > 0.2
