"""The paper's loss terms as pure functions of tensors, each with a thin module where it has settings."""

from hf_structkd.losses.depth import (
    DepthLoss,
    affine_statistics,
    align_scale_shift,
    berhu_loss,
    l1_depth_loss,
    scale_shift_invariant_loss,
    silog_loss,
    valid_depth,
)
from hf_structkd.losses.holistic import CriticLossKind, adversarial_loss, critic_loss, gradient_penalty
from hf_structkd.losses.pairwise import (
    Granularity,
    PairwiseDistillationLoss,
    Pooling,
    node_grid_size,
    pairwise_distillation_loss,
)
from hf_structkd.losses.pixel import PixelDistillationLoss, pixel_distillation_loss

__all__ = [
    "CriticLossKind",
    "DepthLoss",
    "Granularity",
    "PairwiseDistillationLoss",
    "PixelDistillationLoss",
    "Pooling",
    "adversarial_loss",
    "affine_statistics",
    "align_scale_shift",
    "berhu_loss",
    "critic_loss",
    "gradient_penalty",
    "l1_depth_loss",
    "node_grid_size",
    "pairwise_distillation_loss",
    "pixel_distillation_loss",
    "scale_shift_invariant_loss",
    "silog_loss",
    "valid_depth",
]
