"""Structured knowledge distillation for dense prediction on Hugging Face Transformers."""

from __future__ import annotations

from importlib.metadata import version

from .critic import Critic
from .data import load_segmentation_data
from .losses import (
    PairwiseDistillationLoss,
    PixelDistillationLoss,
    adversarial_loss,
    critic_loss,
    gradient_penalty,
    pairwise_distillation_loss,
    pixel_distillation_loss,
)
from .metrics import MeanIoU
from .tasks import SegmentationTask
from .trainer import StructKDTrainer
from .training_args import StructKDTrainingArguments

__version__ = version("hf_structkd")

__all__ = [
    "Critic",
    "MeanIoU",
    "PairwiseDistillationLoss",
    "PixelDistillationLoss",
    "SegmentationTask",
    "StructKDTrainer",
    "StructKDTrainingArguments",
    "__version__",
    "adversarial_loss",
    "critic_loss",
    "gradient_penalty",
    "load_segmentation_data",
    "pairwise_distillation_loss",
    "pixel_distillation_loss",
]
