"""Structured knowledge distillation for dense prediction on Hugging Face Transformers."""

from __future__ import annotations

from importlib.metadata import version

from .adversary.critic import Critic
from .data import load_depth_data, load_detection_data, load_segmentation_data
from .hub.pushing import PushError
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
from .models import wrap_model
from .tasks import DepthTask, DetectionTask, SegmentationTask
from .terms import (
    AttentionTerm,
    ChannelTerm,
    HolisticTerm,
    MimicTerm,
    PairwiseTerm,
    PixelTerm,
    TaskTerm,
    Term,
)
from .training.arguments import StructKDTrainingArguments
from .training.trainer import StructKDTrainer

__version__ = version("hf_structkd")

__all__ = [
    "AttentionTerm",
    "ChannelTerm",
    "Critic",
    "DepthErrors",
    "DepthTask",
    "DetectionTask",
    "HolisticTerm",
    "MeanAveragePrecision",
    "MeanIoU",
    "MimicTerm",
    "PairwiseDistillationLoss",
    "PairwiseTerm",
    "PixelDistillationLoss",
    "PixelTerm",
    "PushError",
    "SegmentationTask",
    "StructKDTrainer",
    "StructKDTrainingArguments",
    "TaskTerm",
    "Term",
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
    "wrap_model",
]
