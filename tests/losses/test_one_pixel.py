"""A map of one pixel has nothing to compare over the image, and a loss of 0 would teach nothing silently."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hf_structkd.losses import pairwise_distillation_loss
from hf_structkd.losses.attention import attention_transfer_loss
from hf_structkd.losses.channel import channel_distillation_loss
from hf_structkd.losses.mimic import feature_imitation_loss

LOSSES = (
    attention_transfer_loss,
    channel_distillation_loss,
    feature_imitation_loss,
    pairwise_distillation_loss,
)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_a_map_of_one_pixel_is_refused(loss: Callable[..., Tensor]) -> None:
    maps = torch.randn(2, 2, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="at least 2"):
        loss(*maps)
