"""Tiny, offline, seeded models of every class of Transformers' universal segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoModelForUniversalSegmentation, PretrainedConfig, PreTrainedModel

from .tiny_configs import resnet, swin

_VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_attention_heads": 2}
_EOMT: dict[str, Any] = {
    **_VIT,
    "num_hidden_layers": 2,
    "num_blocks": 1,
    "num_queries": 5,
    "num_upscale_blocks": 1,
}
# The pixel decoders normalise their channels in 32 groups.
_MASKS: dict[str, Any] = {
    "hidden_dim": 32,
    "mask_feature_size": 32,
    "encoder_feedforward_dim": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "dim_feedforward": 16,
    "num_queries": 5,
}
_DETR: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "num_queries": 5,
}


def _detr() -> PretrainedConfig:
    return transformers.DetrConfig(backbone_config=resnet(), **_DETR)


def _maskformer() -> PretrainedConfig:
    return transformers.MaskFormerConfig(
        backbone_config=swin(),
        decoder_config=transformers.DetrConfig(**_DETR),
        fpn_feature_size=32,
        mask_feature_size=8,
    )


def _mask2former() -> PretrainedConfig:
    return transformers.Mask2FormerConfig(backbone_config=swin(), feature_size=32, **_MASKS)


def _oneformer() -> PretrainedConfig:
    masks = {name: value for name, value in _MASKS.items() if name != "mask_feature_size"}
    return transformers.OneFormerConfig(
        backbone_config=swin(),
        conv_dim=32,
        mask_dim=32,
        text_encoder_width=8,
        text_encoder_num_layers=1,
        text_encoder_n_ctx=4,
        **masks,
    )


UNIVERSAL: dict[str, Callable[[], PretrainedConfig]] = {
    "detr": _detr,
    "eomt": lambda: transformers.EomtConfig(**_EOMT),
    "eomt_dinov3": lambda: transformers.EomtDinov3Config(**_EOMT, intermediate_size=32),
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "oneformer": _oneformer,
}


def tiny_universal_model(arch: str, names: list[str]) -> PreTrainedModel:
    """Build the architecture of some thousand weights, in eval mode.

    Its answers are spread by a hook, because without training all queries see the same class everywhere.

    Args:
        arch: One of `UNIVERSAL`.
        names: Names of the classes.
    """
    config = UNIVERSAL[arch]()
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForUniversalSegmentation.from_config(config)
    model.register_forward_hook(_spread)
    return model.eval()


def _spread(module: Any, args: Any, output: Any) -> None:
    """Give each query a class of its own, and let its mask vary over the image."""
    classes, masks = ("logits", "pred_masks")
    if "masks_queries_logits" in output:
        classes, masks = ("class_queries_logits", "masks_queries_logits")
    offsets = torch.randn(output[classes].shape[1:], generator=torch.Generator().manual_seed(1))
    output[classes] = output[classes] + 3 * offsets
    places = torch.randn(output[masks].shape[1:], generator=torch.Generator().manual_seed(2))
    output[masks] = output[masks] - output[masks].mean((-2, -1), keepdim=True) + 3 * places
