"""Streaming metrics: constant memory, no files, no downloads."""

from hf_structkd.metrics.segmentation import MeanIoU, confusion_matrices, scores_from_confusion

__all__ = ["MeanIoU", "confusion_matrices", "scores_from_confusion"]
