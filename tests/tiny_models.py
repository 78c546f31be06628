"""Tiny, offline, seeded models of every architecture that the library claims to support."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForDepthEstimation,
    AutoModelForSemanticSegmentation,
    PretrainedConfig,
    PreTrainedModel,
)

from .tiny_configs import DEPTH_VARIANTS, SEGMENTATION

SEGMENTATION_ARCHITECTURES: tuple[str, ...] = tuple(SEGMENTATION)
# With a DPT on a backbone of maps instead of tokens: no architecture of its own, yet other code.
DEPTH_MODELS: tuple[str, ...] = tuple(DEPTH_VARIANTS)

# The convolution in front of a last ReLU.
_BEFORE_RELU = {
    "depth_anything": "head.conv3",
    "depth_pro": "head.layers.4",
    "dpt": "head.head.4",
    "dpt_hierarchical": "head.head.4",
    "prompt_depth_anything": "head.conv3",
}


def smallest_image(arch: str) -> tuple[int, int]:
    """Height and width that the tiny model takes, in train mode too if the batch has two images."""
    return (32, 32) if arch in ("data2vec-vision", "eomt", "eomt_dinov3") else (64, 64)


def tiny_segmentation_model(
    arch: str,
    *,
    num_labels: int = 7,
    id2label: dict[int, str] | None = None,
    seed: int = 0,
    dropout: float | None = 0.0,
) -> PreTrainedModel:
    """Build the architecture from its config, a few thousand weights, in eval mode.

    Args:
        arch: One of `SEGMENTATION_ARCHITECTURES`.
        num_labels: Number of classes, when `id2label` is not given.
        id2label: Names of the classes.
        seed: Same seed, same weights; the global random state is left alone.
        dropout: Probability of every dropout and drop path; `None` keeps the architecture's own.
    """
    config = SEGMENTATION[arch]()
    config.id2label = id2label or {index: f"LABEL_{index}" for index in range(num_labels)}
    config.label2id = {name: index for index, name in config.id2label.items()}
    if dropout is not None:
        set_dropout(config, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSemanticSegmentation.from_config(config)
        randomise(model, random_images(arch, batch=4, seed=1))
    for module in model.modules():  # some auxiliary heads do not read their dropout from the config
        if dropout is not None and isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = dropout
    return model.eval()


def tiny_depth_model(arch: str, *, seed: int = 0, **config_overrides: Any) -> PreTrainedModel:
    """Build the depth architecture from its config, a few thousand weights, without dropout, in eval mode.

    Args:
        arch: One of `DEPTH_MODELS`.
        seed: Same seed, same weights; the global random state is left alone.
        **config_overrides: Options of the architecture's configuration, such as `max_depth`.
    """
    config = DEPTH_VARIANTS[arch]()
    set_dropout(config, 0.0)
    for name, value in config_overrides.items():
        assert hasattr(config, name), f"{type(config).__name__} has no option {name}"
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForDepthEstimation.from_config(config)
        images = random_images(arch, batch=4, seed=1)
        randomise(model, images)
    if arch in _BEFORE_RELU and getattr(config, "depth_estimation_type", "relative") == "relative":
        _raise_above_relu(model, model.get_submodule(_BEFORE_RELU[arch]), images)
    return model.eval()


@torch.no_grad()
def _raise_above_relu(model: nn.Module, last: nn.Module, pixel_values: torch.Tensor) -> None:
    """Shift the last layer's bias until the smallest depth of these images is 1.

    Else the ReLU makes up to two thirds of a random map exactly 0, which losses take for "no measurement" and
    through which no gradient flows.
    """
    raw: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda module, args, output: raw.append(output.clone()))
    model(pixel_values)
    handle.remove()
    last.bias += 1 - raw[-1].min()


def set_dropout(config: PretrainedConfig, probability: float) -> None:
    """Give every dropout and drop-path option, also those of nested configs, this probability."""
    for name, value in vars(config).copy().items():
        if isinstance(value, PretrainedConfig):
            set_dropout(value, probability)
        elif "drop" in name and isinstance(value, int | float):
            setattr(config, name, float(probability))


@torch.no_grad()
def randomise(model: nn.Module, pixel_values: torch.Tensor) -> None:
    """Redraw the weights and fill the BatchNorm statistics, so that outputs vary over space and classes.

    The libraries' default (std 0.02) makes the outputs of such narrow models nearly constant: every
    distillation loss is then about zero, and a test of it passes whatever the code does.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
        elif "bias" in name:
            parameter.normal_(std=0.2)
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.7, 1.3)
        norm.train()
        norm.momentum = 1.0
    model(pixel_values)
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


def random_images(arch: str, *, batch: int = 2, seed: int = 0, **options: Any) -> torch.Tensor:
    """Normally distributed `pixel_values` (batch, 3, H, W) of the architecture's smallest size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, *smallest_image(arch), generator=generator, **options)
