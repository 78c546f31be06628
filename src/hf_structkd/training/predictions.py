"""Predictions in the task's own form, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..tasks import Task


class Predicted(NamedTuple):
    """What was predicted for some images, in the order of the dataset.

    Attributes:
        predictions: One for each image, as the task's `image_predictions` returns it.
        label_ids: The labels of each image, or None where the images have none.
    """

    predictions: list[Any]
    label_ids: list[Any] | None


def predicted(task: Task, output: Any, inputs: Mapping[str, Any], gather: Callable[[Any], Any]) -> Predicted:
    """Return what a batch's output predicts and the batch's labels, image by image, of all processes."""
    labels = inputs.get("labels")
    if "labeled" in inputs and not bool(inputs["labeled"].any()):
        labels = None
    given = None if labels is None else gather([_as_arrays(one) for one in labels])
    return Predicted(gather(task.image_predictions(output, inputs)), given)


def joined(batches: list[Predicted], *, concatenated: bool) -> tuple[Any, Any]:
    """Return the predictions and labels of all batches, as arrays wherever the images have one shape.

    Args:
        batches: What was predicted.
        concatenated: Whether the images of all batches are put together; otherwise there is one entry for
            each batch.
    """
    predictions = [batch.predictions for batch in batches]
    labels = [batch.label_ids for batch in batches if batch.label_ids is not None]
    return _put_together(predictions, concatenated), _put_together(labels, concatenated) if labels else None


def _put_together(batches: list[list[Any]], concatenated: bool) -> Any:
    if concatenated:
        return _stacked([one for batch in batches for one in batch])
    return [_stacked(batch) for batch in batches]


def _stacked(images: list[Any]) -> Any:
    are_arrays = all(isinstance(one, np.ndarray) for one in images)
    return np.stack(images) if are_arrays and len({one.shape for one in images}) == 1 else images


def _as_arrays(labels: Any) -> Any:
    if isinstance(labels, Mapping):
        return {name: _as_arrays(value) for name, value in labels.items()}
    return labels.cpu().numpy() if isinstance(labels, Tensor) else labels
