"""From a command line to a trained, compared and saved student: what the example scripts run."""

from __future__ import annotations

from .base import Workflow
from .depth import DEPTH, DepthTaskArguments
from .distil import distil, train_teacher
from .segmentation import SEGMENTATION, SegmentationTaskArguments

WORKFLOWS = {"segmentation": SEGMENTATION, "depth": DEPTH}
"""Every task's workflow, by the name a command line gives it."""

__all__ = [
    "DEPTH",
    "SEGMENTATION",
    "WORKFLOWS",
    "DepthTaskArguments",
    "SegmentationTaskArguments",
    "Workflow",
    "distil",
    "train_teacher",
]
