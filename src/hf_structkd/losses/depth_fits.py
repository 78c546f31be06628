"""The best affine fit of one depth map to another, and the mean and the spread of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from ._common import autocast_off, check_mask, check_tensor, full_precision
from ._depth_maps import both, check_depth_pair, filled, image_mean, image_spread, spread_floor


def align_scale_shift(
    prediction: Tensor, target: Tensor, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Return for each image the scale a and the shift b with which a · prediction + b fits the target best.

    The fit is the closed-form least-squares solution over the valid pixels, :math:`a = \mathrm{cov}(d, d^*) /
    \mathrm{var}(d)` and :math:`b = \bar d^* - a \bar d`. It is computed from centred values and in float64
    (float32 on MPS, which has no float64), and is differentiable in both maps. The scale is never negative,
    because a prediction that falls where the target rises is wrong. Such a prediction and a constant one get
    scale 0 and the target's mean as the shift. An image without a valid pixel gets scale 1 and shift 0.

    Args:
        prediction: The maps to be fitted, for example those of a relative teacher.
        target: The maps to fit them to; pixels that are not finite never count.
        mask: True for the pixels that count, for example ``valid_depth(target)``; None counts all.

    Shape:
        prediction, target: (B, h, w). mask: (B, h, w) bool. Returns: two tensors (B,).

    Returns:
        The scale and the shift, in float32 (float64 for a float64 prediction).

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
    r"""Return each image's mean and mean absolute deviation, with which maps are normalised for a critic.

    For two metric maps, take the statistics of the teacher's map and apply ``(map - mean) / spread`` to both.
    If each map were normalised by its own, the critic would not see a wrong scale or shift of the student.
    Where scale and shift have no meaning, normalise each map by its own statistics. A map without spread or
    without a counted pixel gets spread 1, so that the division does no harm.

    Args:
        maps: Depth maps in any unit.
        mask: True for the pixels that count; the others get exactly zero gradient. None counts all.

    Shape:
        maps: (B, h, w). mask: (B, h, w) bool. Returns: two tensors (B,).

    Returns:
        The mean (0 if no pixel counts) and the spread (above 0), in float32 (float64 for float64 maps).

    Raises:
        TypeError: If maps are not floating point or the mask is not bool.
        ValueError: If shapes do not fit.

    Example:
        >>> affine_statistics(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]))
        (tensor([2., 2.]), tensor([1., 1.]))
    """
    check_tensor("maps", maps, "(B, h, w)")
    check_mask(mask, maps[:, None])
    with autocast_off(maps):
        valid = torch.ones_like(maps, dtype=torch.bool) if mask is None else mask
        maps = filled(maps, valid, 0)
        mean = image_mean(maps, valid)
        return mean, image_spread(maps, mean, valid)
