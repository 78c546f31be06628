"""True boxes as batches hold them: of this library's readers, or of Transformers' image processors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def canvas_size(labels: Mapping[str, Any], pixel_mask: Tensor | None = None) -> Tensor:
    """Return height and width (2,) float32 of one image's canvas, in pixels of the original image.

    They are `canvas_size` where the labels have it. Image processors write `orig_size`, the size of the
    original, and `pixel_mask`, 1 on the image: the canvas is the original with its share of padding. Without
    a mask the image fills the canvas. Without `orig_size` the canvas is `size`, that of the resized image.

    Args:
        labels: The labels of the image.
        pixel_mask: Its mask (H, W), of any type, or None.

    Raises:
        ValueError: If the labels have none of the three sizes, or the mask is empty.
    """
    if "canvas_size" in labels:
        return torch.as_tensor(labels["canvas_size"])
    if "orig_size" not in labels:
        if "size" not in labels:
            raise ValueError(
                "each of `targets` must have orig_size or size, as image processors write them, or "
                f"canvas_size, got {', '.join(labels)}; see `detection_statistics`."
            )
        return torch.as_tensor(labels["size"]).float()
    original = torch.as_tensor(labels["orig_size"]).float()
    if pixel_mask is None:
        return original
    shown = pixel_mask.bool()
    filled = torch.stack([shown.any(dim=1).sum(), shown.any(dim=0).sum()]).to(original)
    if not filled.all():
        raise ValueError("`pixel_mask` must be 1 on the image, got a mask without any; see `canvas_size`.")
    return original * original.new_tensor(shown.shape) / filled


def crowds(labels: Mapping[str, Any]) -> Tensor | None:
    """Return which objects of one image are crowds, (N,) bool, or None if nothing says so."""
    flags = labels.get("crowd", labels.get("iscrowd"))
    return None if flags is None else torch.as_tensor(flags).bool()
