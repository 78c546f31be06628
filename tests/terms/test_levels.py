"""A level of one pixel has no part in the mean over levels, which it would halve."""

from __future__ import annotations

import torch

from hf_structkd.tasks import MapPair
from hf_structkd.terms.levels import of_several_places


def _level(*size: int) -> tuple[torch.Tensor, MapPair]:
    maps = torch.zeros(1, 2, *size)
    return maps, MapPair(maps, maps, None)


def test_a_level_of_one_pixel_is_left_out_unless_there_is_no_other() -> None:
    fine, coarse = _level(2, 3), _level(1, 1)
    assert of_several_places([fine, coarse]) == [fine]
    assert of_several_places([coarse]) == [coarse]  # the loss refuses it
