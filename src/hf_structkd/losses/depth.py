"""Losses between depth maps: for metric depth, and for depth known up to scale and shift.

Every loss is a mean over the images that have a counted pixel of a mean over that image's counted pixels.
Pooling the pixels instead would tie an image's weight to how many measurements its neighbours in the batch
have; so, where every image has one, gradient accumulation over 8 batches of 1 equals one over 2 of 4.
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
    check_scales,
    check_share,
    extended_log,
    filled,
    gradient_matching,
    image_mean,
    robustly_normalised,
    root,
)


class DepthLoss(Protocol):
    """What every entry of :data:`DEPTH_LOSSES` can be called with; settings are bound by the caller."""

    def __call__(self, prediction: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return the loss of depth maps (B, h, w) as a scalar."""


def valid_depth(depth: Tensor) -> Tensor:
    """Tell which pixels hold a measured depth: finite and above 0.

    Args:
        depth: Depth in metres of any shape; 0, negative values, NaN and inf stand for "no measurement".

    Returns:
        A bool tensor of the same shape.

    Example:
        >>> valid_depth(torch.tensor([2.5, 0.0, -1.0, float("nan"), float("inf")])).tolist()
        [True, False, False, False, False]
    """
    return depth.isfinite() & (depth > 0)


def silog_loss(
    prediction: Tensor, target: Tensor, *, variance_focus: float = 0.5, mask: Tensor | None = None
) -> Tensor:
    r"""Scale-invariant logarithmic error, for metric depth: the root of a partly centred mean square.

    With :math:`g_i = \log d_i - \log d^*_i` over the valid pixels of an image and λ the variance focus:

    .. math:: \ell = \sqrt{\frac{1}{n} \sum_i g_i^2 - \frac{\lambda}{n^2} \Big(\sum_i g_i\Big)^2}

    Eigen et al. train with λ = 0.5 and without the root, which is the later custom; with λ = 1 the loss does
    not see the overall scale of the prediction. Computed from the variance of g, which cannot turn negative.
    A perfect prediction gives 0 and zero gradient. See the module for the mean over images.

    A prediction may be 0 or negative, where the logarithm ends. Below ε = 1 mm, log d is therefore continued
    by its mirror image, 2 log ε - log(2ε - d): smooth, with a slope that falls as 1 / |d|. A model that ends
    in a linear layer is so pushed up from any negative depth, where clamping would leave it without gradient,
    and one far-off pixel cannot drown the others, as with a straight continuation. Behind a ReLU, an output
    of exactly 0 passes no gradient on whatever the loss: there, too, value and gradient stay finite.

    Args:
        prediction: Depth in metres as the student gives it.
        target: Depth in metres; gets no gradient. Pixels that are no :func:`valid_depth` never count.
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
    check_share("variance_focus", variance_focus, zero_allowed=True)
    check_depth_pair(prediction, target, mask)
    with autocast_off(prediction):
        valid = both(valid_depth(target), mask)
        prediction, target = filled(prediction, valid, 1), filled(target.detach(), valid, 1)
        error = extended_log(prediction) - extended_log(target)
        mean = image_mean(error, valid)
        variance = image_mean((error - mean[:, None, None]).square(), valid)
        return batch_mean(root(variance + (1 - variance_focus) * mean.square()), valid)


def l1_depth_loss(prediction: Tensor, target: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Mean absolute error in metres, :math:`\frac{1}{n} \sum_i |d_i - d^*_i|` per image.

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
    r"""Reverse Huber loss: absolute for small errors, squared for large ones.

    With an image's errors :math:`e_i = d_i - d^*_i` in metres and c the threshold times :math:`\max_i |e_i|`:

    .. math:: \ell = \frac{1}{n} \sum_i \begin{cases} |e_i| & |e_i| \le c \\
        (e_i^2 + c^2) / (2c) & \text{otherwise} \end{cases}

    What is ours: c is taken per image and not per batch, so that the loss of an image does not depend on the
    others, and it carries no gradient. Arguments not named here, shapes, reduction and errors are those of
    :func:`silog_loss`.

    Args:
        prediction: Depth in metres as the student gives it.
        target: Depth in metres; gets no gradient.
        threshold: c as a share of the largest error, above 0 and up to 1 (the plain absolute error).
        mask: True for the pixels that count.

    References:
        Laina et al., Deeper Depth Prediction with Fully Convolutional Residual Networks, 3DV 2016,
        arXiv:1606.00373.
    """
    check_share("threshold", threshold, zero_allowed=False)
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
    r"""Absolute difference of robustly normalised maps plus gradient matching, for relative depth (MiDaS).

    Each map is normalised per image over its M valid pixels (equations 5 and 6 of the paper); R is the
    difference of the two, and R^k holds every 2^k-th of its rows and columns, with M_k valid pixels:

    .. math:: \hat d = \frac{d - t}{s}, \quad t = \mathrm{median}(d), \quad
        s = \frac{1}{M} \sum_i |d_i - t|, \qquad R = \hat d - \hat d^*

    .. math:: \ell = \frac{1}{2M} \sum_i |R_i| + w \sum_{k=0}^{K-1} \frac{1}{M_k}
        \sum_i |\nabla_x R_i^k| + |\nabla_y R_i^k|

    The loss does not change when the prediction becomes a · prediction + b with a > 0, nor for the target.
    Both may hold any affine function of depth or inverse depth, of any sign, but the *same* of the two.

    What is ours where sources differ: nothing is trimmed, since the targets are another model's maps or
    synthetic and the paper's 20 % are there for errors of stereo matching; a difference counts only where
    both its pixels are valid; of an even number of pixels the lower middle one is the median; a map without
    spread becomes 0 everywhere and is divided by 1, so a collapsed student gets a gradient of ordinary size.

    Args:
        prediction: Map of the student.
        target: Map to match; gets no gradient. Pixels that are not finite never count, all others may.
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever they hold. Zeros that mean "no measurement" must be masked here by the caller.
        gradient_weight: w in the equation, 0.5 in the paper; 0 leaves the matching of gradients out.
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
    check_scales(scales)
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
    """Error in metres, 0 where nothing counts, and which pixels count."""
    valid = both(valid_depth(target), mask)
    return filled(prediction, valid, 0) - filled(target.detach(), valid, 0), valid
