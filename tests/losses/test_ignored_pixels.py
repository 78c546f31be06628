"""What a mask leaves out has no part in a loss on maps, whatever a model wrote there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hf_structkd.losses.attention import attention_transfer_loss
from hf_structkd.losses.channel import channel_distillation_loss
from hf_structkd.losses.mimic import feature_imitation_loss

LOSSES = (attention_transfer_loss, channel_distillation_loss, feature_imitation_loss)


@pytest.mark.parametrize("held", [float("nan"), float("inf")])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_ignored_pixels_get_no_gradient_whatever_they_hold(loss: Callable[..., Tensor], held: float) -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[:, 0] = False
    student[:, :, 0] = held
    student.requires_grad_()
    loss(student, teacher, mask=mask).backward()
    assert not student.grad[:, :, 0].any()
    assert student.grad[:, :, 1:].isfinite().all()
    assert loss(student, teacher, mask=torch.zeros_like(mask)).item() == 0
