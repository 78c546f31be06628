"""Feature imitation: the student learns the patterns of the teacher's channels over the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import autocast_off, check_mask, check_pair, check_places, full_precision

# A channel whose variance is a smaller share of its mean square is constant and has no pattern.
_RELATIVE_VARIANCE_FLOOR = 1e-10


def feature_imitation_loss(
    student_features: Tensor, teacher_features: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    r"""Return one minus Pearson's correlation between the channels of the student and of the teacher.

    Each channel of each image is normalised over its pixels to zero mean and unit variance. The loss is half
    of the mean squared difference of two such channels:

    .. math:: r_{bc} = \frac{1}{|P|} \sum_{p \in P} \hat f^s_{bcp} \, \hat f^t_{bcp}, \qquad
        \ell = \operatorname{mean}_{bc} (1 - r_{bc})
        = \tfrac{1}{2} \operatorname{mean}_{bcp} (\hat f^s_{bcp} - \hat f^t_{bcp})^2

    The pattern of a channel counts. Its offset and its scale do not, because they differ between
    architectures. A perfect student costs 0, a constant student 1, and an inverted student 2.

    Two things are ours. The paper normalises over all images of a batch; here each image is normalised by
    itself, so that the split of a batch over accumulation and processes changes nothing. Channels of the
    teacher that are constant over an image, such as dead units, have no pattern and are not counted.

    Args:
        student_features: The feature map of the student, projected to the teacher's channels.
        teacher_features: The feature map of the teacher; it gets no gradient.
        mask: True for the pixels that count. The others get exactly zero gradient, whatever they hold. None
            counts every pixel.

    Shape:
        student_features, teacher_features: (B, C, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar in [0, 2]; 0 if no channel of the teacher varies.

    Raises:
        TypeError: If features are not floating point, or the mask is not bool.
        ValueError: If the shapes do not fit, or the maps are of one pixel.

    Example:
        >>> pattern = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> feature_imitation_loss(5 * pattern - 3, pattern).item() < 1e-6
        True
        >>> round(feature_imitation_loss(-pattern, pattern).item(), 6)
        2.0

    References:
        Cao et al., PKD: General Distillation Framework for Object Detectors via Pearson Correlation
        Coefficient, NeurIPS 2022, arXiv:2207.02039, eq. (4) and (5).
    """
    hint = "project the student's channels and align the grids first"
    check_pair("(B, C, h, w)", hint, student_features=student_features, teacher_features=teacher_features)
    check_places("student_features", student_features)
    check_mask(mask, student_features)
    with autocast_off(student_features):
        student, _ = _unit_channels(full_precision(student_features), mask)
        teacher, varies = _unit_channels(full_precision(teacher_features.detach()), mask)
        correlation = (student * teacher).sum(dim=2)
        per_channel = torch.where(varies, 1 - correlation, 0)
        return per_channel.sum() / varies.sum().clamp(min=1)


def _unit_channels(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the channels of (B, C, h, w), centred and of unit length, and which of them vary.

    The channels are (B, C, h * w), with 0 where the mask is False; the second tensor is (B, C) bool.
    """
    flat = features.flatten(2)
    if mask is None:
        centred = flat - flat.mean(dim=2, keepdim=True)
    else:
        counted = mask.flatten(1).unsqueeze(1)
        flat = torch.where(counted, flat, 0)
        mean = flat.sum(dim=2, keepdim=True) / counted.sum(dim=2, keepdim=True).clamp(min=1)
        centred = torch.where(counted, flat - mean, 0)
    energy, variation = flat.square().sum(dim=2), centred.square().sum(dim=2)
    varies = variation > _RELATIVE_VARIANCE_FLOOR * energy
    # A constant channel has no direction. It becomes 0, and not the rounding error of its mean.
    return F.normalize(torch.where(varies.unsqueeze(2), centred, 0), dim=2), varies
