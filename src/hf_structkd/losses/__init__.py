"""The loss terms as pure functions of tensors; two of them also have a module that holds the settings."""

from ._common import check_temperature
from .boxes import box_corners, boxes_from_corners, generalized_iou, pairwise_generalized_iou, pairwise_iou
from .depth import DepthLoss, berhu_loss, l1_depth_loss, scale_shift_invariant_loss, silog_loss, valid_depth
from .depth_fits import affine_statistics, align_scale_shift
from .detection import query_distillation_loss
from .detection_heads import DetectionHead, foreground_probabilities
from .holistic import CriticLossKind, adversarial_loss, critic_loss, gradient_penalty
from .nodes import Granularity, Pooling, node_grid_size, pool_nodes
from .pairwise import PairwiseDistillationLoss, pairwise_distillation_loss
from .pixel import PixelDistillationLoss, pixel_distillation_loss
from .query_matching import QueryMatch, match_queries
from .rendering import render_detections

__all__ = [
    "CriticLossKind",
    "DepthLoss",
    "DetectionHead",
    "Granularity",
    "PairwiseDistillationLoss",
    "PixelDistillationLoss",
    "Pooling",
    "QueryMatch",
    "adversarial_loss",
    "affine_statistics",
    "align_scale_shift",
    "berhu_loss",
    "box_corners",
    "boxes_from_corners",
    "check_temperature",
    "critic_loss",
    "foreground_probabilities",
    "generalized_iou",
    "gradient_penalty",
    "l1_depth_loss",
    "match_queries",
    "node_grid_size",
    "pairwise_distillation_loss",
    "pairwise_generalized_iou",
    "pairwise_iou",
    "pixel_distillation_loss",
    "pool_nodes",
    "query_distillation_loss",
    "render_detections",
    "scale_shift_invariant_loss",
    "silog_loss",
    "valid_depth",
]
