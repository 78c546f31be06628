"""The depth that Prompt Depth Anything is shown beside an image: what a sensor measured of the same scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..matching.alignment import resize_ids
from .targets import DepthMap


def read_prompt(prompt: DepthMap, row: Mapping[str, Any], size: tuple[int, int], *, where: str) -> Tensor:
    """Return the measured depth of a row in metres, (H, W) float32, at the size of its image.

    A sensor's map may be smaller than the image. Where it holds nothing, the nearest depth stands: the model
    scales its answer by the smallest and the largest of the prompt, and 0 is no depth.

    Raises:
        ValueError: If the map is no depth, or holds fewer than two depths, so that it has no range.
    """
    place = f"{where}, column {prompt.column!r}"
    depth = prompt.decode(row[prompt.column], where=place)
    measured = depth > 0
    count = torch.unique(depth[measured]).numel()
    if count < 2:
        raise ValueError(f"A prompt must hold at least two depths, got {count} in {place}; correct the row.")
    rows, columns = distance_transform_edt(~measured.numpy(), return_distances=False, return_indices=True)
    return resize_ids(depth[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()], size)
