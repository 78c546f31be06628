"""Streaming metrics, which need little memory, no files and no downloads."""

from ._decoding import Detections, decode_detections
from ._depth_image import DEPTH_SCORES, counted_pixels
from ._detections import DETECTION_SCORES
from ._streaming import AGREEMENT, PADDING
from ._targets import canvas_size
from .depth import DepthErrors, depth_statistics
from .detection import MeanAveragePrecision, detection_statistics
from .segmentation import MeanIoU, confusion_matrices, scores_from_confusion

__all__ = [
    "AGREEMENT",
    "DEPTH_SCORES",
    "DETECTION_SCORES",
    "PADDING",
    "DepthErrors",
    "Detections",
    "MeanAveragePrecision",
    "MeanIoU",
    "canvas_size",
    "confusion_matrices",
    "counted_pixels",
    "decode_detections",
    "depth_statistics",
    "detection_statistics",
    "scores_from_confusion",
]
