"""The tasks that can be distilled; a new one is a new file here and a line in `TASKS`."""

from __future__ import annotations

from .base import Batch, Capture, FeaturePair, Forward, ScoreMaps, StreamingMetric, Task, run_model
from .depth import DepthTask
from .detection import DetectionTask
from .segmentation import SegmentationTask

TASKS: tuple[type[Task], ...] = (SegmentationTask, DepthTask, DetectionTask)

__all__ = [
    "TASKS",
    "Batch",
    "Capture",
    "DepthTask",
    "DetectionTask",
    "FeaturePair",
    "Forward",
    "ScoreMaps",
    "SegmentationTask",
    "StreamingMetric",
    "Task",
    "find_task",
    "run_model",
]


def find_task(model_class: str) -> type[Task]:
    """The task that a model class, named as in a configuration's `architectures`, solves.

    Raises:
        ValueError: If no task knows the class.
    """
    for task in TASKS:
        if model_class in task.model_classes:
            return task
    known = ", ".join(task.name for task in TASKS)
    raise ValueError(
        f"`model` must be a model for one of the tasks {known}, got {model_class}; load it with that task's "
        f"auto class, for example {TASKS[0].auto_model.__name__}."
    )
