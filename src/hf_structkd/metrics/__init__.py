"""Streaming metrics: constant memory, no files, no downloads."""

from hf_structkd.metrics._depth_image import DEPTH_SCORES, counted_pixels
from hf_structkd.metrics.depth import DepthErrors, check_depth_settings, depth_statistics
from hf_structkd.metrics.segmentation import MeanIoU, confusion_matrices, scores_from_confusion

__all__ = [
    "DEPTH_SCORES",
    "DepthErrors",
    "MeanIoU",
    "check_depth_settings",
    "confusion_matrices",
    "counted_pixels",
    "depth_statistics",
    "scores_from_confusion",
]
