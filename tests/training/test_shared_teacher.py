"""What happens to, or in, a teacher that is not this trainer's alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ..cases import SEGMENTATION, Rows, arguments, make_trainer
from .test_trainer import over_tasks


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@over_tasks
def test_no_hook_stays_behind_a_training(case: Any, tmp_path: Path) -> None:
    """Two more for each trainer that shared a teacher, each of which keeps maps alive."""
    teacher = case.teacher(1)
    before = hooks(teacher)
    for run in ("first", "second"):
        trainer = make_trainer(case, arguments(tmp_path / run, max_steps=1), teacher=teacher)
        student = hooks(trainer.model)
        trainer.train()
        assert (hooks(teacher), hooks(trainer.model)) == (before, student)


def test_a_teacher_out_of_memory_halves_the_batch(tmp_path: Path) -> None:
    """It was rewritten into advice on the image size, which `auto_find_batch_size` does not know."""
    teacher = SEGMENTATION.teacher(1)

    def need_room(module: nn.Module, args: Any, kwargs: dict[str, torch.Tensor]) -> None:
        if "pixel_values" in kwargs and len(kwargs["pixel_values"]) > 2:
            torch.empty(2**62, dtype=torch.uint8)  # torch's CPU allocator refuses

    teacher.register_forward_pre_hook(need_room, with_kwargs=True)
    args = arguments(tmp_path, max_steps=1, auto_find_batch_size=True, per_device_train_batch_size=8)
    trainer = make_trainer(SEGMENTATION, args, teacher=teacher)
    trainer.train()
    assert trainer._train_batch_size == 2


@over_tasks
@pytest.mark.parametrize(
    "weights", [{}, {"pixel_weight": 0.0, "pairwise_weight": 0.0, "holistic_weight": 0.0}]
)
def test_images_that_are_not_finite_are_named(case: Any, weights: dict[str, float], tmp_path: Path) -> None:
    """The teacher was blamed, and its weights were to be checked."""
    rows = case.rows(4).rows
    rows[0]["pixel_values"] = rows[0]["pixel_values"] * math.nan
    trainer = make_trainer(case, arguments(tmp_path, **weights), train_dataset=Rows(rows))
    with pytest.raises(ValueError, match=r"`pixel_values` must be finite, and 1 of the 4 images"):
        trainer.train()
