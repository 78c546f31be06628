"""From a command line to a trained, compared and saved student: what the example scripts run."""

from __future__ import annotations

from .base import Workflow
from .depth import DEPTH, DepthTaskArguments
from .detection import DETECTION
from .distil import distil, train_teacher
from .label_map import LabelMapArguments
from .segmentation import SEGMENTATION

WORKFLOWS = {"segmentation": SEGMENTATION, "depth": DEPTH, "detection": DETECTION}
"""Every task's workflow, by the name a command line gives it."""

__all__ = [
    "DEPTH",
    "DETECTION",
    "SEGMENTATION",
    "WORKFLOWS",
    "DepthTaskArguments",
    "LabelMapArguments",
    "Workflow",
    "distil",
    "train_teacher",
]
