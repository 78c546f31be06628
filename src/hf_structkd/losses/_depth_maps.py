"""Checks and per-image statistics of depth maps (B, h, w) that the depth losses are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._common import check_mask, check_number, full_precision, masked_mean

# One millimetre: below it the logarithm is continued, so that its slope stays below 1000 per metre.
_LOG_FLOOR = 1e-3
# A spread of fewer float steps of the location is what rounding leaves of a constant map.
_ROUNDING_STEPS = 64
# Keeps 1 / spread far from overflow in float32 where the location is 0.
_SPREAD_FLOOR = 1e-12


def check_depth_map(name: str, value: Tensor) -> None:
    """Reject a tensor that is not a non-empty floating-point depth map (B, h, w).

    Raises TypeError if the dtype is not floating point, ValueError for other axes or an empty one.
    """
    if value.ndim != 3 or value.numel() == 0:
        raise ValueError(
            f"`{name}` must be a non-empty depth map with axes (B, h, w), got shape {tuple(value.shape)}; "
            "drop a channel axis with `.squeeze(1)` and add a batch axis if it is missing."
        )
    if not value.is_floating_point():
        raise TypeError(
            f"`{name}` must be floating point, got {value.dtype}; convert stored depth to float metres."
        )


def check_depth_pair(prediction: Tensor, target: Tensor, mask: Tensor | None) -> None:
    """Reject two depth maps and a mask that do not lie on one grid.

    Raises TypeError for wrong dtypes, ValueError for shapes that do not fit.
    """
    check_depth_map("prediction", prediction)
    check_depth_map("target", target)
    if prediction.shape != target.shape:
        raise ValueError(
            "`prediction` and `target` must have the same shape (B, h, w), got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}; resize the prediction to the target."
        )
    check_mask(mask, prediction[:, None])


def check_share(name: str, value: float, *, zero_allowed: bool) -> None:
    """Reject a setting that is not a number from 0 to 1, or 0 itself unless it is allowed.

    Raises TypeError if it is no number, ValueError if it is out of range.
    """
    check_number(name, value)
    if not 0 <= value <= 1 or (value == 0 and not zero_allowed):
        start = "from 0" if zero_allowed else "above 0 and up"
        raise ValueError(
            f"`{name}` must be {start} to 1, got {value}; see the equation for what the ends mean."
        )


def check_scales(scales: int) -> None:
    """Raise TypeError for a number of scales that is no int, ValueError for one below 1."""
    if type(scales) is not int:
        raise TypeError(f"`scales` must be an int, got {scales!r}; the paper uses 4.")
    if scales < 1:
        raise ValueError(
            f"`scales` must be at least 1, got {scales}; use gradient_weight=0 to leave the gradients out."
        )


def both(valid: Tensor, mask: Tensor | None) -> Tensor:
    """Return the valid pixels that the mask counts too; None counts all."""
    return valid if mask is None else valid & mask


def filled(maps: Tensor, counted: Tensor, value: float) -> Tensor:
    """Return the maps in full precision with `value` where nothing counts, which also stops the gradient.

    It has to come before any other arithmetic: past it, an ignored NaN would come back in the backward pass.
    """
    return torch.where(counted, full_precision(maps), value)


def image_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Average (B, h, w) over the counted pixels of each image; 0 where an image has none."""
    return torch.where(counted, values, 0).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)


def batch_mean(per_image: Tensor, counted: Tensor) -> Tensor:
    """Average (B,) over the images that have a counted pixel; 0 where none has."""
    return masked_mean(per_image, counted.flatten(1).any(dim=1))


def image_median(maps: Tensor, counted: Tensor) -> Tensor:
    """Return the median (B,) of the counted pixels, the lower middle one of an even number of them.

    Where no pixel counts it is the fill. `Tensor.median` along an axis has no deterministic form on CUDA.
    """
    flat, flat_counted = maps.flatten(1), counted.flatten(1)
    order = torch.where(flat_counted, flat.detach(), math.inf).argsort(dim=1)
    middle = (flat_counted.sum(dim=1, keepdim=True) - 1).clamp(min=0) // 2
    return flat.gather(1, order.gather(1, middle)).squeeze(1)


def image_spread(maps: Tensor, location: Tensor, counted: Tensor) -> Tensor:
    """Return the mean absolute deviation (B,) from a location, and 1 where it is nothing but rounding.

    A small floor in place of the 1 would blow up rounding, and the gradient of a collapsed map.
    """
    deviation = image_mean((maps - location[:, None, None]).abs(), counted)
    return torch.where(deviation > spread_floor(location), deviation, 1)


def spread_floor(location: Tensor) -> Tensor:
    """Return the largest spread (B,) that counts as none, next to values of the size of the location."""
    return _ROUNDING_STEPS * torch.finfo(location.dtype).eps * location.abs() + _SPREAD_FLOOR


def robustly_normalised(maps: Tensor, counted: Tensor) -> Tensor:
    """Subtract each image's median and divide by the mean absolute deviation from it."""
    median = image_median(maps, counted)
    return (maps - median[:, None, None]) / image_spread(maps, median, counted)[:, None, None]


def extended_log(depth: Tensor) -> Tensor:
    """Return the logarithm, point-mirrored at the floor to reach below it; see `silog_loss`."""
    below = depth < _LOG_FLOOR
    log = torch.where(below, 2 * _LOG_FLOOR - depth, depth).log()
    return torch.where(below, 2 * math.log(_LOG_FLOOR) - log, log)


def root(values: Tensor) -> Tensor:
    """Return the square root whose gradient at 0 is 0 and not inf; NaN stays NaN."""
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
