"""Tiny, offline, seeded detectors of every architecture of Transformers' object-detection mapping."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForObjectDetection, PreTrainedModel

from .tiny_detector_configs import DETECTION
from .tiny_models import randomise, set_dropout

# Those that predict no classes and boxes, and those that refuse labels, with Transformers' own reason.
WITHOUT_CLASSES = {
    "pp_ocrv5_mobile_det": "predicts a map of text",
    "pp_ocrv5_server_det": "predicts a map of text",
    "pp_ocrv6_medium_det": "predicts a map of text",
    "pp_ocrv6_small_det": "predicts a map of text",
}
WITHOUT_TRAINING = {
    "pp_doclayout_v2": "does not support training",
    "pp_doclayout_v3": "does not support training",
    "pp_doclayout_v4": "does not support training",
}
ALL_DETECTION_ARCHITECTURES: tuple[str, ...] = tuple(DETECTION)
# That predict class logits and boxes, and of these the ones that can train.
TEACHER_ARCHITECTURES: tuple[str, ...] = tuple(arch for arch in DETECTION if arch not in WITHOUT_CLASSES)
DETECTION_ARCHITECTURES: tuple[str, ...] = tuple(
    a for a in TEACHER_ARCHITECTURES if a not in WITHOUT_TRAINING
)
# A softmax over the classes and "no object"; all others have one sigmoid for each class.
SOFTMAX_ARCHITECTURES: tuple[str, ...] = ("detr", "table-transformer", "yolos")
# Every backbone weight is frozen by a filter on stage names that a ResNet of Transformers does not have.
FROZEN_BACKBONE_ARCHITECTURES: tuple[str, ...] = (
    "conditional_detr",
    "deformable_detr",
    "detr",
    "table-transformer",
)

_SPREAD = 2.0  # standard deviation of what tells one query from another
_LARGEST_GAIN = 10.0


def tiny_detector(
    arch: str,
    *,
    num_labels: int = 7,
    id2label: dict[int, str] | None = None,
    num_queries: int = 10,
    seed: int = 0,
    **config_overrides: Any,
) -> PreTrainedModel:
    """Build the architecture from its config, some ten thousand weights, without dropout, in eval mode.

    Args:
        arch: One of `ALL_DETECTION_ARCHITECTURES`.
        num_labels: Number of classes, when `id2label` is not given.
        id2label: Names of the classes.
        num_queries: Number of boxes predicted for each image, at most 84 (the tokens of 64 x 64 pixels).
        seed: Same seed, same weights; the global random state is left alone.
        **config_overrides: Options of the architecture's configuration, such as `num_denoising`.
    """
    config = DETECTION[arch]()
    config.id2label = id2label or {index: f"LABEL_{index}" for index in range(num_labels)}
    config.label2id = {name: index for index, name in config.id2label.items()}
    if arch == "pp_doclayout_v2":  # one threshold and one place in the reading order for each class
        config_overrides = {
            "class_thresholds": [0.5] * config.num_labels,
            "class_order": list(range(config.num_labels)),
            **config_overrides,
        }
    if arch not in WITHOUT_CLASSES:
        config_overrides["num_detection_tokens" if arch == "yolos" else "num_queries"] = num_queries
    for name, value in config_overrides.items():
        assert hasattr(config, name), f"{type(config).__name__} has no option {name}"
        setattr(config, name, value)
    set_dropout(config, 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForObjectDetection.from_config(config)
        images = detector_images(batch=4, seed=1)
        randomise(model, images)
        if arch not in WITHOUT_CLASSES:
            _spread(model, images)
    return model.eval()


@functools.cache
def shared(arch: str) -> PreTrainedModel:
    """Build the architecture's model once; no test may change it or leave hooks on it."""
    return tiny_detector(arch)


def detector_images(
    *, batch: int = 2, size: tuple[int, int] = (64, 64), seed: int = 0, **options: Any
) -> Tensor:
    """Normally distributed `pixel_values` (batch, 3, H, W), with as much detail at every scale up to 32."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(batch, 3, *size)
    for scale in (1, 8, 32):
        coarse = torch.randn(batch, 3, -(-size[0] // scale), -(-size[1] // scale), generator=generator)
        fine = coarse.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        images += fine[..., : size[0], : size[1]] / 3**0.5
    return images.to(**options)


def detector_labels(*counts: int, num_labels: int = 7, seed: int = 0) -> list[dict[str, Tensor]]:
    """Labels as the detectors take them: of each image this many boxes, (cx, cy, w, h) inside of it."""
    generator = torch.Generator().manual_seed(seed)
    labels = []
    for count in counts:
        sides = 0.1 + 0.3 * torch.rand(count, 2, generator=generator)
        centres = sides / 2 + (1 - sides) * torch.rand(count, 2, generator=generator)
        classes = torch.randint(num_labels, (count,), generator=generator)
        labels.append({"class_labels": classes, "boxes": torch.cat((centres, sides), dim=1)})
    return labels


@torch.no_grad()
def _spread(model: PreTrainedModel, images: Tensor) -> None:
    """Make images, queries and classes differ in the logits and boxes, which `randomise` alone does not.

    A post-norm decoder reads a query in no other way than where it attends to, and the frozen statistics of
    a backbone let the mean of its features outweigh them.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("query_position_embeddings.weight", "query_refpoint_embeddings.weight", "_tokens")):
            parameter.normal_(std=_SPREAD)
        elif name.endswith(("q_proj.weight", "k_proj.weight", "query.weight", "key.weight")):
            parameter.mul_(_SPREAD)
    frozen = [module for module in model.modules() if type(module).__name__.endswith("FrozenBatchNorm2d")]
    handles = [module.register_forward_pre_hook(_fill_statistics) for module in frozen]
    model(images)
    for handle in handles:
        handle.remove()
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    _standardise(model, [m for name, m in linear.items() if "class_" in name and "enc_" not in name], images)
    # Where there is none of this name, every query starts from a box of its own.
    _standardise(model, [m for name, m in linear.items() if "bbox_predictor" in name], images)


def _fill_statistics(module: Any, args: tuple[Tensor]) -> None:
    module.running_mean.copy_(args[0].mean((0, 2, 3)))
    module.running_var.copy_(args[0].var((0, 2, 3)))


def _standardise(model: nn.Module, layers: list[nn.Linear], images: Tensor) -> None:
    """Of linear layers rescale the one called last, so that each of its channels has mean 0, deviation 1."""
    calls: list[tuple[Any, Tensor]] = []
    handles = [
        layer.register_forward_hook(
            lambda module, args, output: calls.append((module, output.flatten(0, -2)))
        )
        for layer in layers
    ]
    model(images)
    for handle in handles:
        handle.remove()
    for layer, output in calls[-1:]:
        gain = (1 / output.std(0)).clamp(max=_LARGEST_GAIN)
        layer.weight.mul_(gain[:, None])
        layer.bias.copy_((layer.bias - output.mean(0)) * gain + 0.5 * torch.randn_like(gain))
