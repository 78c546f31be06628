"""Configurations of the tiny detectors: every architecture of Transformers' object-detection mapping."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import PretrainedConfig

from .tiny_configs import resnet

_WIDTH = 16
_FFN = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
_HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
_DETR = {**_FFN, **_HEADS, "encoder_layers": 1, "decoder_layers": 2}
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1] * 4, "layer_type": "basic"}
_HYBRID = {
    **_DETR,
    "d_model": _WIDTH,
    "encoder_hidden_dim": _WIDTH,
    "feat_strides": [8, 16, 32],
    "decoder_in_channels": [_WIDTH] * 3,
    "num_feature_levels": 3,
    "decoder_n_points": 2,
    "num_denoising": 4,
}
_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_GROUPED = {
    "d_model": _WIDTH,
    "decoder_ffn_dim": 16,
    "decoder_n_points": 2,
    "decoder_layers": 2,
    "decoder_self_attention_heads": 2,
    "decoder_cross_attention_heads": 2,
    "group_detr": 2,
    "c2f_num_blocks": 1,
}


def _hgnet(*stages: str) -> PretrainedConfig:
    return transformers.HGNetV2Config(
        embedding_size=8,
        hidden_sizes=[16, 24, 32, 40],
        depths=[1] * 4,
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 24, 32],
        stage_mid_channels=[8] * 4,
        stage_out_channels=[16, 24, 32, 40],
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        out_features=list(stages),
    )


def _detr() -> PretrainedConfig:
    return transformers.DetrConfig(backbone_config=resnet("stage4"), d_model=_WIDTH, **_DETR)


def _conditional_detr() -> PretrainedConfig:
    return transformers.ConditionalDetrConfig(backbone_config=resnet("stage4"), d_model=_WIDTH, **_DETR)


def _dab_detr() -> PretrainedConfig:
    return transformers.DabDetrConfig(backbone_config=resnet("stage4"), hidden_size=_WIDTH, **_DETR)


def _table_transformer() -> PretrainedConfig:
    return transformers.TableTransformerConfig(backbone_config=resnet("stage4"), d_model=_WIDTH, **_DETR)


def _deformable_detr() -> PretrainedConfig:
    return transformers.DeformableDetrConfig(
        backbone_config=resnet("stage2", "stage3", "stage4"),
        d_model=64,  # of the 32 groups of its GroupNorm each needs two channels where a level is 1 x 1
        num_feature_levels=4,
        encoder_n_points=2,
        decoder_n_points=2,
        **_DETR,
    )


def _yolos() -> PretrainedConfig:
    return transformers.YolosConfig(**_VIT, intermediate_size=32, image_size=[64, 64], patch_size=8)


def _rt_detr_options() -> dict[str, Any]:
    backbone = transformers.RTDetrResNetConfig(**_RESNET, out_indices=[2, 3, 4])
    return {**_HYBRID, "encoder_in_channels": [12, 16, 20], "backbone_config": backbone}


def _rt_detr() -> PretrainedConfig:
    return transformers.RTDetrConfig(**_rt_detr_options())


def _rt_detr_v2() -> PretrainedConfig:
    return transformers.RTDetrV2Config(**_rt_detr_options(), decoder_n_levels=3)


def _hgnet_options(*stages: str) -> dict[str, Any]:
    return {**_HYBRID, "encoder_in_channels": [24, 32, 40], "backbone_config": _hgnet(*stages)}


def _d_fine() -> PretrainedConfig:
    return transformers.DFineConfig(
        **_hgnet_options("stage2", "stage3", "stage4"), hidden_size=16, max_num_bins=8, lqe_hidden_dim=8
    )


def _deimv2() -> PretrainedConfig:
    return transformers.Deimv2Config(
        **_hgnet_options("stage2", "stage3", "stage4"), hidden_size=16, max_num_bins=8, lqe_hidden_dim=8
    )


def _lw_detr() -> PretrainedConfig:
    backbone = transformers.LwDetrViTConfig(
        **_VIT,
        mlp_ratio=2,
        image_size=64,
        pretrain_image_size=64,
        patch_size=8,
        num_windows=4,
        window_block_indices=[0],
        out_indices=[1, 2],
    )
    return transformers.LwDetrConfig(**_GROUPED, backbone_config=backbone, projector_scale_factors=[1.0])


def _rf_detr() -> PretrainedConfig:
    backbone = transformers.RfDetrDinov2Config(
        **_VIT, mlp_ratio=2, image_size=64, patch_size=8, num_windows=2, out_indices=[1, 2]
    )
    return transformers.RfDetrConfig(**_GROUPED, backbone_config=backbone)


def _pp_doclayout_v2() -> PretrainedConfig:
    reading_order = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "global_pointer_head_size": 4,
        "relation_bias_embed_dim": 16,
    }
    return transformers.PPDocLayoutV2Config(
        **_hgnet_options("stage2", "stage3", "stage4"),
        class_thresholds=[0.5] * 7,
        class_order=list(range(7)),
        reading_order_config=reading_order,
    )


def _pp_doclayout_v3() -> PretrainedConfig:
    return transformers.PPDocLayoutV3Config(
        **_hgnet_options("stage1", "stage2", "stage3", "stage4"),
        mask_feature_channels=[8, 8],
        x4_feat_dim=16,
        num_prototypes=4,
        global_pointer_head_size=4,
    )


def _pp_doclayout_v4() -> PretrainedConfig:
    options = _hgnet_options("stage2", "stage3", "stage4")
    del options["d_model"]
    return transformers.PPDocLayoutV4Config(**options, hidden_size=_WIDTH, global_pointer_head_size=4)


def _lcnet_v4() -> PretrainedConfig:
    """Its own blocks are made for reading lines of text, and halve the height only."""
    widths = (16, 16, 24, 32, 40)
    return transformers.PPLCNetV4Config(
        stem_channels=[3, 8, 16],
        block_configs=[[[3, widths[i], widths[i + 1], 1 if i == 0 else 2, False]] for i in range(4)],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


_LIGHT_NECK = {"reduction": 2, "neck_out_channels": 16}


def _pp_ocrv5_mobile_det() -> PretrainedConfig:
    stages = ["stage2", "stage3", "stage4", "stage5"]
    backbone = transformers.PPLCNetV3Config(scale=0.25, divisor=4, out_features=stages)
    return transformers.PPOCRV5MobileDetConfig(
        backbone_config=backbone, layer_list_out_channels=[4] * 4, **_LIGHT_NECK
    )


def _pp_ocrv6_small_det() -> PretrainedConfig:
    return transformers.PPOCRV6SmallDetConfig(
        backbone_config=_lcnet_v4(), layer_list_out_channels=[16, 24, 32, 40], **_LIGHT_NECK
    )


def _heavy_neck() -> dict[str, Any]:
    convolutions: dict[str, Any] = {"reduce_channel": [1, 1, 0], "return_channel": [1, 1, 0]}
    for name, side in (("longratio", 7), ("midratio", 5), ("shortratio", 3)):
        pad = side // 2
        convolutions |= {
            f"vertical_long_to_small_conv_{name}": [[side, 1], [1, 1], [pad, 0]],
            f"horizontal_small_to_long_conv_{name}": [[1, side], [1, 1], [0, pad]],
            f"symmetric_conv_long_{name}": [[side, side], [1, 1], [pad, pad]],
        }
    return {
        "neck_out_channels": 16,
        "reduce_factor": 2,
        "intraclass_block_config": convolutions,
        "scale_factor_list": [1, 2, 4, 8],
        "kernel_list": [3, 2, 2],
    }


def _pp_ocrv5_server_det() -> PretrainedConfig:
    backbone = _hgnet("stage1", "stage2", "stage3", "stage4")
    return transformers.PPOCRV5ServerDetConfig(backbone_config=backbone, **_heavy_neck())


def _pp_ocrv6_medium_det() -> PretrainedConfig:
    return transformers.PPOCRV6MediumDetConfig(backbone_config=_lcnet_v4(), **_heavy_neck())


DETECTION = {
    "conditional_detr": _conditional_detr,
    "d_fine": _d_fine,
    "dab-detr": _dab_detr,
    "deformable_detr": _deformable_detr,
    "deimv2": _deimv2,
    "detr": _detr,
    "lw_detr": _lw_detr,
    "pp_doclayout_v2": _pp_doclayout_v2,
    "pp_doclayout_v3": _pp_doclayout_v3,
    "pp_doclayout_v4": _pp_doclayout_v4,
    "pp_ocrv5_mobile_det": _pp_ocrv5_mobile_det,
    "pp_ocrv5_server_det": _pp_ocrv5_server_det,
    "pp_ocrv6_medium_det": _pp_ocrv6_medium_det,
    "pp_ocrv6_small_det": _pp_ocrv6_small_det,
    "rf_detr": _rf_detr,
    "rt_detr": _rt_detr,
    "rt_detr_v2": _rt_detr_v2,
    "table-transformer": _table_transformer,
    "yolos": _yolos,
}
