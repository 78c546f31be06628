"""What a trained model is used for, task by task; a task that is not here is neither drawn nor exported."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PretrainedConfig

from .base import Use
from .depth import DepthUse
from .detection import DetectionUse
from .segmentation import SegmentationUse

USES: Mapping[str, type[Use]] = {
    "image-segmentation": SegmentationUse,
    "depth-estimation": DepthUse,
    "object-detection": DetectionUse,
}
"""By the task's name on the Hub."""

__all__ = ["USES", "Use", "use_of"]


def use_of(task: str, config: PretrainedConfig) -> Use:
    """Return the use of a model.

    Args:
        task: Name of its task on the Hub.
        config: Its configuration.

    Raises:
        ValueError: If nobody has said what a model of the task is used for.
    """
    if task not in USES:
        raise ValueError(f"a model for {task} can be neither drawn nor exported; add its use to `USES`.")
    return USES[task](config)
