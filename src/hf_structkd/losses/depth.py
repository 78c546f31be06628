"""Losses between depth maps: for metric depth, and for depth known up to scale and shift.

Every loss takes the mean over the counted pixels of an image, and then the mean over the images that have a
counted pixel. The weight of an image therefore does not depend on the other images of the batch, and where
every image has a counted pixel, accumulation over 8 batches of 1 equals accumulation over 2 batches of 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from ._common import autocast_off, check_number
from ._depth_maps import (
    batch_mean,
    both,
    check_depth_pair,
    extended_log,
    filled,
    gradient_matching,
    image_mean,
    robustly_normalised,
    root,
)


class DepthLoss(Protocol):
    """The call that every entry of :data:`DEPTH_LOSSES` supports; the other settings have defaults."""

    def __call__(self, prediction: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return the loss of depth maps (B, h, w) as a scalar."""


def valid_depth(depth: Tensor) -> Tensor:
    """Return which pixels hold a measured depth, as a bool tensor of the same shape.

    Args:
        depth: Depth in metres, of any shape; 0, negative values, NaN and inf mean "no measurement".

    Example:
        >>> valid_depth(torch.tensor([2.5, 0.0, -1.0, float("nan"), float("inf")])).tolist()
        [True, False, False, False, False]
    """
    return depth.isfinite() & (depth > 0)


def silog_loss(
    prediction: Tensor, target: Tensor, *, variance_focus: float = 0.5, mask: Tensor | None = None
) -> Tensor:
    r"""Return the scale-invariant logarithmic error for metric depth.

    For the valid pixels of an image, :math:`g_i = \log d_i - \log d^*_i`, and λ is the variance focus:

    .. math:: \ell = \sqrt{\frac{1}{n} \sum_i g_i^2 - \frac{\lambda}{n^2} \Big(\sum_i g_i\Big)^2}

    Eigen et al. use λ = 0.5 and no root; the root is usual today. With λ = 1 the loss ignores the overall
    scale of the prediction. The loss is computed from the variance of g, which is never negative. A perfect
    prediction gives 0 and zero gradient.

    A prediction may be 0 or negative, where the logarithm is not defined. Below ε = 1 mm, log d is therefore
    continued by its mirror image, 2 log ε - log(2ε - d), which is smooth and whose slope falls as 1 / |d|. A
    model that ends in a linear layer then gets a gradient at any negative depth, which clamping would not
    give, and one wrong pixel cannot outweigh all others, as it would with a straight continuation. Where a
    ReLU gives exactly 0, value and gradient stay finite too.

    Args:
        prediction: The student's depth in metres.
        target: The depth in metres; it gets no gradient. Only pixels of :func:`valid_depth` count.
        variance_focus: λ in the equation, from 0 (root mean square of g) to 1 (its standard deviation).
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever they hold, inf and NaN included. None counts every pixel with a valid target.

    Shape:
        prediction, target: (B, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar; 0 if no pixel counts.

    Raises:
        TypeError: If maps are not floating point, the mask is not bool, or the focus is no number.
        ValueError: If shapes do not fit or the focus is out of range.

    Example:
        >>> target = torch.tensor([[[1.0, 2.0, 0.0]]])  # the 0 is no measurement
        >>> round(silog_loss(2 * target, target, variance_focus=0).item(), 4)  # log 2
        0.6931
        >>> silog_loss(2 * target, target, variance_focus=1).item()
        0.0

    References:
        Eigen, Puhrsch, Fergus, Depth Map Prediction from a Single Image using a Multi-Scale Deep Network,
        NeurIPS 2014, arXiv:1406.2283.
    """
    check_number("variance_focus", variance_focus, at_most=1)
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        valid = both(valid_depth(target), mask)
        prediction, target = filled(prediction, valid, 1), filled(target.detach(), valid, 1)
        error = extended_log(prediction) - extended_log(target)
        mean = image_mean(error, valid)
        variance = image_mean((error - mean[:, None, None]).square(), valid)
        return batch_mean(root(variance + (1 - variance_focus) * mean.square()), valid)


def l1_depth_loss(prediction: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Return the mean absolute error in metres, :math:`\frac{1}{n} \sum_i |d_i - d^*_i|` for each image.

    Arguments, shapes, reduction and errors are those of :func:`silog_loss`.

    Example:
        >>> target = torch.tensor([[[1.0, 2.0, 0.0]]])
        >>> l1_depth_loss(torch.full((1, 1, 3), 4.0), target).item()  # |4 - 1| and |4 - 2|
        2.5
    """
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        error, valid = _metric_error(prediction, target, mask)
        return batch_mean(image_mean(error.abs(), valid), valid)


def berhu_loss(
    prediction: Tensor, target: Tensor, *, threshold: float = 0.2, mask: Tensor | None = None
) -> Tensor:
    r"""Return the reverse Huber loss, which is absolute for small errors and squared for large ones.

    :math:`e_i = d_i - d^*_i` are an image's errors in metres, and c is the threshold times
    :math:`\max_i |e_i|`:

    .. math:: \ell = \frac{1}{n} \sum_i \begin{cases} |e_i| & |e_i| \le c \\
        (e_i^2 + c^2) / (2c) & \text{otherwise} \end{cases}

    One thing is ours: c belongs to an image and not to the batch, so that the loss of an image does not
    depend on the others; c carries no gradient. The other arguments, the shapes, the reduction and the errors
    are those of :func:`silog_loss`.

    Args:
        prediction: The student's depth in metres.
        target: The depth in metres; it gets no gradient.
        threshold: c as a share of the largest error, above 0 and up to 1 (the plain absolute error).
        mask: True for the pixels that count.

    References:
        Laina et al., Deeper Depth Prediction with Fully Convolutional Residual Networks, 3DV 2016,
        arXiv:1606.00373.
    """
    check_number("threshold", threshold, above_zero=True, at_most=1)
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        error, valid = _metric_error(prediction, target, mask)
        error = error.abs()
        border = threshold * error.detach().amax(dim=(1, 2), keepdim=True)
        border = torch.where(border == 0, 1, border)
        per_pixel = torch.where(error <= border, error, (error.square() + border.square()) / (2 * border))
        return batch_mean(image_mean(per_pixel, valid), valid)


def scale_shift_invariant_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    gradient_weight: float = 0.5,
    scales: int = 4,
) -> Tensor:
    r"""Return the difference of robustly normalised maps and of their gradients, for relative depth (MiDaS).

    Each map is normalised over the M valid pixels of its image (equations 5 and 6 of the paper). R is the
    difference of the two maps, and R^k holds every 2^k-th row and column of R, with M_k valid pixels:

    .. math:: \hat d = \frac{d - t}{s}, \quad t = \mathrm{median}(d), \quad
        s = \frac{1}{M} \sum_i |d_i - t|, \qquad R = \hat d - \hat d^*

    .. math:: \ell = \frac{1}{2M} \sum_i |R_i| + w \sum_{k=0}^{K-1} \frac{1}{M_k}
        \sum_i |\nabla_x R_i^k| + |\nabla_y R_i^k|

    The loss does not change if one of the maps d becomes a · d + b with a > 0. Each map may be any affine
    function of depth or of inverse depth, of any sign, but both maps must be of the *same* kind.

    Sources differ, and these choices are ours. Nothing is trimmed, because the paper trims 20 % for errors of
    stereo matching, and these targets come from a model or are synthetic. A difference counts only where both
    of its pixels are valid. The median of an even number of pixels is the lower middle one. A map without
    spread is divided by 1, so that a collapsed student gets a gradient of ordinary size.

    Args:
        prediction: The student's map.
        target: The map to match; it gets no gradient. Pixels that are not finite never count.
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever they hold. The caller must mask zeros that mean "no measurement".
        gradient_weight: w in the equation, 0.5 in the paper; 0 leaves out the matching of gradients.
        scales: K in the equation, 4 in the paper; at least 1.

    Shape:
        prediction, target: (B, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar; 0 if no pixel counts.

    Raises:
        TypeError: If maps are not floating point, the mask is not bool, or a setting has the wrong type.
        ValueError: If shapes do not fit or a setting is out of range.

    Example:
        >>> target = torch.rand(2, 16, 16)
        >>> scale_shift_invariant_loss(3 * target - 7, target).item() < 1e-4
        True

    References:
        Ranftl et al., Towards Robust Monocular Depth Estimation, TPAMI 2020, arXiv:1907.01341.
    """
    check_number("gradient_weight", gradient_weight)
    if type(scales) is not int:
        raise TypeError(f"`scales` must be an int, got {scales!r}; the paper uses 4.")
    if scales < 1:
        raise ValueError(
            f"`scales` must be at least 1, got {scales}; use gradient_weight=0 to leave the gradients out."
        )
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        valid = both(target.isfinite(), mask)
        prediction, target = filled(prediction, valid, 0), filled(target.detach(), valid, 0)
        residual = robustly_normalised(prediction, valid) - robustly_normalised(target, valid)
        per_image = image_mean(residual.abs(), valid) / 2
        if gradient_weight > 0:
            per_image = per_image + gradient_weight * gradient_matching(residual, valid, scales)
        return batch_mean(per_image, valid)


DEPTH_LOSSES: Mapping[str, DepthLoss] = {
    "silog": silog_loss,
    "ssi": scale_shift_invariant_loss,
    "l1": l1_depth_loss,
    "berhu": berhu_loss,
}


def _metric_error(prediction: Tensor, target: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the error in metres, with 0 where nothing counts, and which pixels count."""
    valid = both(valid_depth(target), mask)
    return filled(prediction, valid, 0) - filled(target.detach(), valid, 0), valid
