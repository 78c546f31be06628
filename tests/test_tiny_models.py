"""The models that the other tests lean on cover what the library claims, and are worth testing with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tiny_models import (
    DEPTH_MODELS,
    SEGMENTATION_ARCHITECTURES,
    random_images,
    smallest_image,
    tiny_depth_model,
    tiny_segmentation_model,
)


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_logits_vary_over_space_and_classes(arch: str) -> None:
    """Constant logits make every distillation loss zero, and its test blind."""
    with torch.no_grad():
        logits = tiny_segmentation_model(arch)(random_images(arch)).logits
    assert logits.std(dim=(2, 3)).mean() > 0.2
    assert logits.mean(dim=(0, 2, 3)).std() > 0.2
    assert logits.abs().max() < 30
    assert logits.argmax(dim=1).unique().numel() >= 3


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_the_smallest_image_trains(arch: str) -> None:
    model = tiny_segmentation_model(arch).train()
    images = random_images(arch)
    assert images.shape == (2, 3, *smallest_image(arch))
    model(images).logits.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_random_state() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (tiny_segmentation_model("segformer", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    images = random_images("segformer")
    assert torch.equal(one(images).logits, same(images).logits)
    assert not torch.equal(one(images).logits, other(images).logits)


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_without_dropout_train_mode_is_deterministic(arch: str) -> None:
    model = tiny_segmentation_model(arch).train()
    images = random_images(arch)
    assert torch.equal(model(images).logits, model(images).logits)


def test_dropout_is_set_or_kept_as_asked() -> None:
    def probabilities(dropout: float | None) -> set[float]:
        model = tiny_segmentation_model("mobilenet_v2", dropout=dropout)
        return {module.p for module in model.modules() if isinstance(module, nn.Dropout2d)}

    assert probabilities(0.0) == {0.0}
    assert probabilities(0.3) == {0.3}
    assert probabilities(None) == {0.8}


def test_class_names_are_taken_over() -> None:
    model = tiny_segmentation_model("segformer", id2label={0: "road", 1: "sky"})
    assert model.config.id2label == {0: "road", 1: "sky"}
    assert model(random_images("segformer")).logits.shape[1] == 2
    assert tiny_segmentation_model("upernet", num_labels=5).config.num_labels == 5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("arch", DEPTH_MODELS)
def test_depth_is_positive_and_varies_over_space(arch: str, seed: int) -> None:
    """A last ReLU makes most of a random map 0, "no measurement": every loss and its gradient would be 0."""
    with torch.no_grad():
        depth = tiny_depth_model(arch, seed=seed)(random_images(arch, seed=2)).predicted_depth
    assert depth.dim() == 3
    assert (depth > 0).float().mean() > 0.9
    assert depth.max() < 100
    assert (depth.std(dim=(1, 2)) / depth.mean(dim=(1, 2))).mean() > 0.02


@pytest.mark.parametrize("arch", DEPTH_MODELS)
def test_a_depth_model_trains_and_is_deterministic(arch: str) -> None:
    model = tiny_depth_model(arch).train()
    images = random_images(arch)
    depth = model(images).predicted_depth
    assert torch.equal(depth, model(images).predicted_depth)
    depth.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_depth_model_is_seeded_and_leaves_the_global_random_state() -> None:
    state = torch.random.get_rng_state()
    one, same, other = (tiny_depth_model("glpn", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    images = random_images("glpn")
    assert torch.equal(one(images).predicted_depth, same(images).predicted_depth)
    assert not torch.equal(one(images).predicted_depth, other(images).predicted_depth)


def test_options_of_a_depth_configuration_are_taken_over() -> None:
    model = tiny_depth_model("depth_anything", depth_estimation_type="metric", max_depth=2)
    assert 0.5 < model(random_images("depth_anything")).predicted_depth.max() <= 2
    with pytest.raises(AssertionError, match="GLPNConfig has no option depth_max"):
        tiny_depth_model("glpn", depth_max=1.0)
