"""The tasks that can be distilled; a new one is a new file here and a line in `TASKS`."""

from __future__ import annotations

from pathlib import Path

from transformers import PretrainedConfig, PreTrainedModel

from ..adversary.score_maps import ScoreMaps
from ..features.forward import Batch, Capture, Forward, run_model
from ..models.reading import readable
from ._shown import StreamingMetric
from .base import MapPair, Task
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
    "Forward",
    "MapPair",
    "ScoreMaps",
    "SegmentationTask",
    "StreamingMetric",
    "Task",
    "find_task",
    "run_model",
    "task_of",
]


def find_task(model_class: str) -> type[Task]:
    """Return the task that a model class solves, by its name in a configuration's `architectures`.

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


def task_of(model: PreTrainedModel | str | Path, *, revision: str | None = None) -> type[Task]:
    """Return the task that a model solves, read off its class or off its configuration's `architectures`.

    Raises:
        ValueError: If no task knows the class, or a configuration names none.
    """
    if isinstance(model, PreTrainedModel):
        return find_task(type(model).__name__)
    with readable("`model`", model, revision=revision):
        # As it stands in the file: the class of a configuration may be code beside it.
        config, _ = PretrainedConfig.get_config_dict(model, revision=revision)
    if not config.get("architectures"):
        raise ValueError(f"`model` {model} has a configuration that names no architecture; pass `task`.")
    return find_task(config["architectures"][0])
