"""Structured knowledge distillation for dense prediction on Hugging Face Transformers."""

from __future__ import annotations

from importlib.metadata import version

from .critic import Critic
from .data import load_depth_data, load_detection_data, load_segmentation_data
from .losses import (
    PairwiseDistillationLoss,
    PixelDistillationLoss,
    adversarial_loss,
    critic_loss,
    gradient_penalty,
    pairwise_distillation_loss,
    pixel_distillation_loss,
    query_distillation_loss,
    render_detections,
)
from .metrics import DepthErrors, MeanAveragePrecision, MeanIoU
from .pushing import PushError
from .tasks import DepthTask, DetectionTask, SegmentationTask
from .trainer import StructKDTrainer
from .training_args import StructKDTrainingArguments

__version__ = version("hf_structkd")

__all__ = [
    "Critic",
    "DepthErrors",
    "DepthTask",
    "DetectionTask",
    "MeanAveragePrecision",
    "MeanIoU",
    "PairwiseDistillationLoss",
    "PixelDistillationLoss",
    "PushError",
    "SegmentationTask",
    "StructKDTrainer",
    "StructKDTrainingArguments",
    "__version__",
    "adversarial_loss",
    "critic_loss",
    "gradient_penalty",
    "load_depth_data",
    "load_detection_data",
    "load_segmentation_data",
    "pairwise_distillation_loss",
    "pixel_distillation_loss",
    "query_distillation_loss",
    "render_detections",
]
