"""Tiny, offline, seeded models of every architecture that the library claims to support."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModelForSemanticSegmentation, PretrainedConfig, PreTrainedModel

_VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
_PATCHES = {"image_size": 32, "patch_size": 8}
_STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 12, 16]}


def _beit() -> PretrainedConfig:
    return transformers.BeitConfig(
        **_VIT,
        **_PATCHES,
        out_indices=[1, 2, 3, 4],
        auxiliary_channels=8,
        use_absolute_position_embeddings=True,
    )


def _data2vec_vision() -> PretrainedConfig:
    return transformers.Data2VecVisionConfig(
        **_VIT, **_PATCHES, out_indices=[1, 2, 3, 4], auxiliary_channels=8
    )


def _dpt() -> PretrainedConfig:
    return transformers.DPTConfig(
        **_VIT,
        **_PATCHES,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
    )


def _mobilenet_v2() -> PretrainedConfig:
    return transformers.MobileNetV2Config(
        depth_multiplier=0.1, min_depth=8, finegrained_output=False, output_stride=8, tf_padding=False
    )


def _mobilevit() -> PretrainedConfig:
    return transformers.MobileViTConfig(
        hidden_sizes=[8, 12, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 12, 16, 16],
        num_attention_heads=2,
        output_stride=8,
        aspp_out_channels=12,
        expand_ratio=1.0,
    )


def _mobilevitv2() -> PretrainedConfig:
    return transformers.MobileViTV2Config(
        width_multiplier=0.125,
        base_attn_unit_dims=[64, 96, 128],
        n_attn_blocks=[1, 1, 1],
        output_stride=8,
        aspp_out_channels=12,
        expand_ratio=1.0,
    )


def _sapiens2() -> PretrainedConfig:
    return transformers.Sapiens2Config(
        **(_VIT | {"num_hidden_layers": 2}),
        **_PATCHES,
        num_key_value_attention_heads=1,
        num_first_full_attention_layers=1,
        num_last_full_attention_layers=1,
        pos_embed_rescale=None,  # a random rescaling of the positions in train mode
        head_config={
            "upsample_out_channels": [12],
            "upsample_kernel_sizes": [4],
            "conv_out_channels": [10],
            "conv_kernel_sizes": [1],
        },
    )


def _segformer() -> PretrainedConfig:
    return transformers.SegformerConfig(
        **_STAGES, num_attention_heads=[1, 1, 2, 2], mlp_ratios=[2] * 4, decoder_hidden_size=12
    )


def _tipsv2_dpt() -> PretrainedConfig:
    backbone = transformers.Tipsv2VisionConfig(
        **_VIT, **_PATCHES, out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False
    )
    return transformers.Tipsv2DptConfig(
        backbone_config=backbone, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8
    )


def _upernet() -> PretrainedConfig:
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return transformers.UperNetConfig(backbone_config=backbone, hidden_size=12, auxiliary_channels=8)


_SEGMENTATION = {
    "beit": _beit,
    "data2vec-vision": _data2vec_vision,
    "dpt": _dpt,
    "mobilenet_v2": _mobilenet_v2,
    "mobilevit": _mobilevit,
    "mobilevitv2": _mobilevitv2,
    "sapiens2": _sapiens2,
    "segformer": _segformer,
    "tipsv2_dpt": _tipsv2_dpt,
    "upernet": _upernet,
}
SEGMENTATION_ARCHITECTURES: tuple[str, ...] = tuple(_SEGMENTATION)


def smallest_image(arch: str) -> tuple[int, int]:
    """Height and width that the tiny model takes, in train mode too if the batch has two images."""
    return (32, 32) if arch == "data2vec-vision" else (64, 64)


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
    config = _SEGMENTATION[arch]()
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
