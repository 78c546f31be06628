"""Affine maps between depth maps: the best fit of one to another, and the statistics of one."""

from __future__ import annotations

import torch
from torch import Tensor

from ._common import autocast_off, check_mask, full_precision
from ._depth_maps import (
    both,
    check_depth_map,
    check_depth_pair,
    filled,
    image_mean,
    image_spread,
    spread_floor,
)


def align_scale_shift(
    prediction: Tensor, target: Tensor, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Per-image scale a and shift b with which a · prediction + b fits the target best.

    The closed-form least-squares solution over the valid pixels, :math:`a = \mathrm{cov}(d, d^*) /
    \mathrm{var}(d)` and :math:`b = \bar d^* - a \bar d`, from centred values and in float64 (float32 on MPS,
    which has no float64). The scale is never negative: a prediction that runs against the target is wrong.
    Like a constant one it gets scale 0 and the target's mean as the shift, which is then its best fit. An
    image without a valid pixel gets scale 1 and shift 0. The fit is differentiable in both maps.

    Args:
        prediction: Maps to be fitted, for example a relative teacher's.
        target: Maps to fit them to; pixels that are not finite never count, all others may.
        mask: True for the pixels that count, for example ``valid_depth(target)``; None counts all.

    Shape:
        prediction, target: (B, h, w). mask: (B, h, w) bool. Returns: two tensors (B,).

    Returns:
        Scale and shift, in float32 (float64 for a float64 prediction).

    Raises:
        TypeError: If maps are not floating point or the mask is not bool.
        ValueError: If shapes do not fit.

    Example:
        >>> relative = torch.tensor([[[0.0, 1.0, 2.0]]])
        >>> align_scale_shift(relative, 3 * relative + 5)
        (tensor([3.]), tensor([5.]))
    """
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        dtype = full_precision(prediction).dtype
        wide = dtype if prediction.device.type == "mps" else torch.float64
        valid = both(target.isfinite(), mask)
        prediction, target = (filled(maps, valid, 0).to(wide) for maps in (prediction, target))
        mean, target_mean = image_mean(prediction, valid), image_mean(target, valid)
        centred = prediction - mean[:, None, None]
        variance = image_mean(centred.square(), valid)
        covariance = image_mean(centred * (target - target_mean[:, None, None]), valid)
        varies = variance > spread_floor(mean).square()
        scale = torch.where(varies, covariance / torch.where(varies, variance, 1), 0).clamp(min=0)
        scale = torch.where(valid.flatten(1).any(dim=1), scale, 1)
        return scale.to(dtype), (target_mean - scale * mean).to(dtype)


def affine_statistics(maps: Tensor, *, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Per-image mean and mean absolute deviation, to bring maps into a range that a critic can read.

    For two metric maps, take them from the teacher's and apply the same ``(map - mean) / spread`` to both:
    normalising each by its own would hide a wrong scale or shift of the student from the critic. Where the
    scale and the shift mean nothing, normalise each map by its own.
    A map without spread, or without a valid pixel, gets spread 1, so the division is always harmless.

    Args:
        maps: Depth maps of any unit.
        mask: True for the pixels that count; the others get exactly zero gradient. None counts all.

    Shape:
        maps: (B, h, w). mask: (B, h, w) bool. Returns: two tensors (B,).

    Returns:
        Mean (0 if no pixel counts) and spread (above 0), in float32 (float64 for float64 maps).

    Raises:
        TypeError: If maps are not floating point or the mask is not bool.
        ValueError: If shapes do not fit.

    Example:
        >>> affine_statistics(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]))
        (tensor([2., 2.]), tensor([1., 1.]))
    """
    check_depth_map("maps", maps)
    check_mask(mask, maps[:, None])
    with autocast_off(maps):
        valid = torch.ones_like(maps, dtype=torch.bool) if mask is None else mask
        maps = filled(maps, valid, 0)
        mean = image_mean(maps, valid)
        return mean, image_spread(maps, mean, valid)
