"""Checks and statistics of depth maps (B, h, w) for the depth losses; all statistics are per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._common import check_mask, check_pair, full_precision, masked_mean

# Below one millimetre the logarithm is continued, so that its slope stays below 1000 per metre.
_LOG_FLOOR = 1e-3
# Rounding leaves of a constant map a spread of fewer than this many float steps of its location.
_ROUNDING_STEPS = 64
# This keeps 1 / spread far from overflow in float32 where the location is 0.
_SPREAD_FLOOR = 1e-12


def check_depth_pair(prediction: Tensor, target: Tensor, mask: Tensor | None) -> None:
    """Reject two depth maps and a mask that do not lie on one grid.

    Raises TypeError for wrong dtypes, and ValueError for shapes that do not fit.
    """
    check_pair("(B, h, w)", "resize the prediction to the target", prediction=prediction, target=target)
    check_mask(mask, prediction[:, None])


def both(valid: Tensor, mask: Tensor | None) -> Tensor:
    """Return which valid pixels the mask counts too; None counts all."""
    return valid if mask is None else valid & mask


def filled(maps: Tensor, counted: Tensor, value: float) -> Tensor:
    """Return the maps in full precision with `value` where nothing counts, which also stops the gradient.

    Call this before any other arithmetic; otherwise an ignored NaN comes back in the backward pass.
    """
    return torch.where(counted, full_precision(maps), value)


def image_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean (B,) of the counted pixels; 0 where an image has none."""
    return torch.where(counted, values, 0).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)


def batch_mean(per_image: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of (B,) over the images that have a counted pixel; 0 where none has."""
    return masked_mean(per_image, counted.flatten(1).any(dim=1))


def image_median(maps: Tensor, counted: Tensor) -> Tensor:
    """Return the median (B,) of the counted pixels; of an even number, the lower middle pixel is taken.

    Where no pixel counts, the median is the fill.
    """
    # `Tensor.median` along an axis has no deterministic form on CUDA.
    flat, flat_counted = maps.flatten(1), counted.flatten(1)
    order = torch.where(flat_counted, flat.detach(), math.inf).argsort(dim=1)
    middle = (flat_counted.sum(dim=1, keepdim=True) - 1).clamp(min=0) // 2
    return flat.gather(1, order.gather(1, middle)).squeeze(1)


def image_spread(maps: Tensor, location: Tensor, counted: Tensor) -> Tensor:
    """Return the mean absolute deviation (B,) from a location, and 1 where it is only rounding.

    With a small floor instead of the 1, rounding and the gradient of a collapsed map would become huge.
    """
    deviation = image_mean((maps - location[:, None, None]).abs(), counted)
    return torch.where(deviation > spread_floor(location), deviation, 1)


def spread_floor(location: Tensor) -> Tensor:
    """Return the largest spread (B,) that is only rounding for values near the location."""
    return _ROUNDING_STEPS * torch.finfo(location.dtype).eps * location.abs() + _SPREAD_FLOOR


def robustly_normalised(maps: Tensor, counted: Tensor) -> Tensor:
    """Subtract each image's median, and divide by the mean absolute deviation from the median."""
    median = image_median(maps, counted)
    return (maps - median[:, None, None]) / image_spread(maps, median, counted)[:, None, None]


def extended_log(depth: Tensor) -> Tensor:
    """Return the logarithm, continued below the floor by its mirror image; see `silog_loss`."""
    below = depth < _LOG_FLOOR
    log = torch.where(below, 2 * _LOG_FLOOR - depth, depth).log()
    return torch.where(below, 2 * math.log(_LOG_FLOOR) - log, log)


def root(values: Tensor) -> Tensor:
    """Return the square root, with gradient 0 instead of inf at 0; NaN stays NaN."""
    zero = values == 0
    return torch.where(zero, 0, torch.where(zero, 1, values).sqrt())


def gradient_matching(residual: Tensor, valid: Tensor, scales: int) -> Tensor:
    """Return the second sum of `scale_shift_invariant_loss`, per image (B,)."""
    total = residual.new_zeros(residual.shape[0])
    for step in (2**scale for scale in range(scales)):
        coarse, counted = residual[:, ::step, ::step], valid[:, ::step, ::step]
        count = counted.sum(dim=(1, 2)).clamp(min=1)
        for axis in (1, 2):
            pairs = coarse.shape[axis] - 1
            pair = counted.narrow(axis, 0, pairs) & counted.narrow(axis, 1, pairs)
            total = total + torch.where(pair, coarse.diff(dim=axis).abs(), 0).sum(dim=(1, 2)) / count
    return total
