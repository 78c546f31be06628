"""How much an evaluation holds at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hf_structkd.tasks import DepthTask, SegmentationTask

from ..cases import DEPTH, SEGMENTATION, TaskCase


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize(
    ("case", "task"), [(SEGMENTATION, SegmentationTask), (DEPTH, DepthTask)], ids=["segmentation", "depth"]
)
def test_evaluation_enlarges_one_image_at_a_time(case: TaskCase, task: Any) -> None:
    """Else eight images of 600 x 800 and 150 classes take 7 GB, eleven times what one takes."""
    solved, largest, losses = task(case.student(0).config), {}, {}
    # Small logits of many images beside large labels, as at stride 4 or 8.
    generator = torch.Generator().manual_seed(0)
    maps = 1 + torch.rand(4, 5, 4, 4, generator=generator)
    prediction = {"logits": maps} if case is SEGMENTATION else {"predicted_depth": maps[:, 0]}
    labels = torch.stack([row["labels"].repeat(2, 2) for row in case.rows(4).rows])
    for count in (1, 4):
        output = type("Output", (), {name: value[:count] for name, value in prediction.items()})
        batch = {"pixel_values": torch.zeros(count, 3, 4, 4), "labels": labels[:count]}
        with torch.no_grad(), LargestTensor() as mode:
            losses[count] = solved.task_loss(output, batch)
            solved.evaluation_statistics(output, batch)
            solved.image_predictions(output, batch)
        largest[count] = mode.elements
    assert largest[4] == largest[1]
    # The number is the one of training, where the whole batch is enlarged.
    with torch.enable_grad():
        torch.testing.assert_close(losses[4], solved.task_loss(output, batch))
