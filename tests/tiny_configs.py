"""Configurations of the tiny models: every architecture that the library claims to support, by task."""

from __future__ import annotations

import transformers
from transformers import PretrainedConfig

_VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
_PATCHES = {"image_size": 32, "patch_size": 8}
ALL_STAGES = ("stage1", "stage2", "stage3", "stage4")
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


def resnet(*stages: str) -> PretrainedConfig:
    """A backbone whose stages have 8, 12, 16 and 20 channels at strides 4 to 32."""
    return transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=list(stages or ALL_STAGES),
    )


def swin(*stages: str) -> PretrainedConfig:
    """A backbone whose stages have 8, 16, 32 and 64 channels at strides 4 to 32."""
    return transformers.SwinConfig(
        image_size=32,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=list(stages or ALL_STAGES),
    )


def _upernet() -> PretrainedConfig:
    backbone = resnet()
    return transformers.UperNetConfig(backbone_config=backbone, hidden_size=12, auxiliary_channels=8)


SEGMENTATION = {
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


def _chmv2() -> PretrainedConfig:
    backbone = transformers.DINOv3ViTConfig(
        **_VIT,
        **_PATCHES,
        num_register_tokens=1,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=True,
        apply_layernorm=True,
        return_class_token=True,
        pos_embed_rescale=None,  # a random rescaling of the positions in train mode
    )
    return transformers.CHMv2Config(
        backbone_config=backbone,
        patch_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
        post_process_channels=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=6,
        number_output_channels=16,
    )


def _dinov2(image_size: int = 32) -> PretrainedConfig:
    return transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=image_size,
        patch_size=8,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )


_DEPTH_ANYTHING = {
    "patch_size": 8,
    "reassemble_hidden_size": 16,
    "neck_hidden_sizes": [8] * 4,
    "fusion_hidden_size": 8,
    "head_hidden_size": 6,
}


def _depth_anything() -> PretrainedConfig:
    return transformers.DepthAnythingConfig(backbone_config=_dinov2(), **_DEPTH_ANYTHING)


def _prompt_depth_anything() -> PretrainedConfig:
    return transformers.PromptDepthAnythingConfig(backbone_config=_dinov2(), **_DEPTH_ANYTHING)


def _depth_pro() -> PretrainedConfig:
    return transformers.DepthProConfig(
        patch_size=16,
        fusion_hidden_size=16,
        intermediate_hook_ids=[2, 1],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[12, 8],
        merge_padding_value=0,
        **{f"{part}_model_config": _dinov2(image_size=16) for part in ("image", "patch", "fov")},
    )


def _dpt_hierarchical() -> PretrainedConfig:
    """The only backbone that DPT takes as it is, maps at strides 4 to 32, is a Swin v2."""
    backbone = transformers.Swinv2Config(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return transformers.DPTConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 16, 32, 64], fusion_hidden_size=8
    )


def _glpn() -> PretrainedConfig:
    return transformers.GLPNConfig(
        **_STAGES, num_attention_heads=[1, 1, 2, 2], mlp_ratios=[2] * 4, decoder_hidden_size=8
    )


def _tipsv2_dpt_depth() -> PretrainedConfig:
    config = _tipsv2_dpt()
    config.num_depth_bins = 16
    return config


def _zoedepth() -> PretrainedConfig:
    backbone = transformers.BeitConfig(
        **_VIT,
        **_PATCHES,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    return transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        bottleneck_features=8,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=8,
        num_relative_features=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
    )


DEPTH_VARIANTS = {
    "chmv2": _chmv2,
    "depth_anything": _depth_anything,
    "depth_pro": _depth_pro,
    "dpt": _dpt,
    "dpt_hierarchical": _dpt_hierarchical,
    "glpn": _glpn,
    "prompt_depth_anything": _prompt_depth_anything,
    "tipsv2_dpt": _tipsv2_dpt_depth,
    "zoedepth": _zoedepth,
}
