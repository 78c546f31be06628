"""What is refused before the first step: a batch or a student from which no training can follow."""

from __future__ import annotations

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from transformers import PreTrainedModel

from ..features.forward import Batch, run_model
from ..features.probe import probing
from ..models.restoring import refuse_what_adapters_lack
from ..models.sharding import local
from ..tasks import Task


def refuse_first_batch(task: Task, student: PreTrainedModel, batch: Batch) -> None:
    """Look at the first batch and at the student's weights.

    Raises:
        ValueError: If images or weights are not finite, adapters lack what is trained, or the student takes
            no images of this size.
    """
    _refuse_non_finite_images(batch["pixel_values"])
    _refuse_non_finite_student(student)
    refuse_what_adapters_lack(student)
    _refuse_size_of_images(task, student, batch)


def _refuse_non_finite_student(student: PreTrainedModel) -> None:
    tensors = {name: local(one) for name, one in student.state_dict().items() if one.is_floating_point()}
    spoilt = [name for name, one in tensors.items() if not bool(one.isfinite().all())]
    if spoilt:
        raise ValueError(
            f"`model` must start with finite weights, and {len(spoilt)} of its tensors hold NaN or infinity "
            f"({spoilt[0]} is the first); load or initialise the student anew."
        )


def _refuse_size_of_images(task: Task, student: PreTrainedModel, batch: Batch) -> None:
    """Say in one sentence that the student takes no images of this size; one image is shown to it."""
    one = {name: value[:1] for name, value in batch.items()}
    try:
        with probing(student):
            run_model(student, task.model_inputs(one), None)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error):
            raise  # as it is: `auto_find_batch_size` knows it by its type and message
        height, width = batch["pixel_values"].shape[-2:]
        raise ValueError(
            f"`model` refused images of {height} × {width} ({' '.join(str(error).split())}); resize them to "
            "a height and width that it takes, with a loader's `image_size` or in the data."
        ) from error


def _refuse_non_finite_images(pixel_values: Tensor) -> None:
    bad = int((~torch.isfinite(pixel_values)).flatten(1).any(dim=1).sum())
    if bad:
        raise ValueError(
            f"`pixel_values` must be finite, and {bad} of the {len(pixel_values)} images of the first batch "
            "hold NaN or infinity; check how they are read and normalised (is a standard deviation 0?)."
        )
