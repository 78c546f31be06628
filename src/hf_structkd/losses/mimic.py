"""Feature imitation: the student learns the patterns that the teacher's channels draw over the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._common import autocast_off, check_map, check_mask, full_precision

# A teacher's channel with a smaller variance, relative to its mean square, is constant: it draws no pattern.
_RELATIVE_VARIANCE_FLOOR = 1e-10


def feature_imitation_loss(
    student_features: Tensor, teacher_features: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    r"""One minus Pearson's correlation between the channels of the student and of the teacher.

    Each channel of each image is normalised over its pixels to zero mean and unit variance, and the mean
    squared difference of two such channels is twice what is returned:

    .. math:: r_{bc} = \frac{1}{|P|} \sum_{p \in P} \hat f^s_{bcp} \, \hat f^t_{bcp}, \qquad
        \ell = \operatorname{mean}_{bc} (1 - r_{bc})
        = \tfrac{1}{2} \operatorname{mean}_{bcp} (\hat f^s_{bcp} - \hat f^t_{bcp})^2

    The offset and the scale of a channel are free, which two architectures never share; its pattern is not. A
    constant student costs 1, an inverted one 2, the right one 0.

    What is ours: the paper normalises over the images of a batch together. Here each image is normalised by
    itself, so that how a batch is split over accumulation and processes changes nothing. Channels of the
    teacher that are constant over an image, as dead units are, draw no pattern and are not counted.

    Args:
        student_features: Feature map of the student, projected to the teacher's channels.
        teacher_features: Feature map of the teacher; gets no gradient.
        mask: True for the pixels that count. Others get exactly zero gradient, whatever they hold. None
            counts every pixel.

    Shape:
        student_features, teacher_features: (B, C, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar in [0, 2]; 0 if no channel of the teacher varies.

    Raises:
        TypeError: If features are not floating point, or the mask is not bool.
        ValueError: If the shapes differ, or the mask's does not fit.

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
    check_map("student_features", student_features)
    check_map("teacher_features", teacher_features)
    if student_features.shape != teacher_features.shape:
        raise ValueError(
            f"`student_features` must have the shape of `teacher_features`, got "
            f"{tuple(student_features.shape)} and {tuple(teacher_features.shape)}; project the student's "
            "channels and align the grids first."
        )
    check_mask(mask, student_features)
    with autocast_off(student_features):
        student, _ = _unit_channels(full_precision(student_features), mask)
        teacher, varies = _unit_channels(full_precision(teacher_features.detach()), mask)
        correlation = (student * teacher).sum(dim=2)
        per_channel = torch.where(varies, 1 - correlation, 0)
        return per_channel.sum() / varies.sum().clamp(min=1)


class FeatureImitationLoss(nn.Module):
    """Module form of :func:`feature_imitation_loss`: it has no settings and computes nothing itself.

    Example:
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> FeatureImitationLoss()(2 * maps, maps).item() < 1e-6
        True
    """

    def forward(
        self, student_features: Tensor, teacher_features: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Call :func:`feature_imitation_loss`."""
        return feature_imitation_loss(student_features, teacher_features, mask=mask)


def _unit_channels(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return each channel centred and of unit length over its counted pixels, and which channels vary.

    Shape:
        features: (B, C, h, w). Returns: (B, C, h * w), 0 where the mask is False, and (B, C) bool.
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
    # A constant channel has no direction: it becomes 0, not the rounding of its mean.
    return F.normalize(torch.where(varies.unsqueeze(2), centred, 0), dim=2), varies
