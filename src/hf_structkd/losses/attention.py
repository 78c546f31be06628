"""Attention transfer: the student learns where the teacher's features are large."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import autocast_off, check_mask, check_places, check_tensor, full_precision

_EPSILON = 1e-12


def attention_transfer_loss(
    student_features: Tensor, teacher_features: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    r"""Return half of the squared distance between the two models' maps of attention.

    The attention at a pixel is the sum of its squared features, and the map of an image has unit length:

    .. math:: q_{bp} = \sum_c f_{bcp}^2, \qquad
        \ell = \tfrac{1}{2} \operatorname{mean}_b \sum_{p \in P}
        \left( \frac{q^s_{bp}}{\lVert q^s_b \rVert_2} - \frac{q^t_{bp}}{\lVert q^t_b \rVert_2} \right)^2
        = \operatorname{mean}_b \left( 1 - \cos(q^s_b, q^t_b) \right)

    The widths of the two maps may differ, because channels are summed; so the term needs no projection.
    Where features are large counts; which they are, and their sign, do not: a student of inverted features
    costs 0, and a constant one 0 only where the teacher's attention is the same everywhere.

    The paper sums over the levels and weights the sum by 1000 / 2 over the number of pixels; here every image
    counts alike, whatever the size of its map.

    Args:
        student_features: The feature map of the student.
        teacher_features: The feature map of the teacher; it gets no gradient.
        mask: True for the pixels that count. The others get exactly zero gradient, whatever they hold. None
            counts every pixel.

    Shape:
        student_features: (B, C, h, w). teacher_features: (B, D, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar in [0, 1]; images whose teacher has no attention anywhere are not counted.

    Raises:
        TypeError: If features are not floating point, or the mask is not bool.
        ValueError: If the numbers of images or the grids differ, or the maps are of one pixel.

    Example:
        >>> pattern = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> attention_transfer_loss(torch.cat([pattern, -2 * pattern], dim=1), pattern).item() < 1e-6
        True

    References:
        Zagoruyko and Komodakis, Paying More Attention to Attention: Improving the Performance of
        Convolutional Neural Networks via Attention Transfer, ICLR 2017, arXiv:1612.03928, eq. (2).
    """
    for name, features in (("student_features", student_features), ("teacher_features", teacher_features)):
        check_tensor(name, features, "(B, C, h, w)")
    one, other = _images_and_grid(student_features), _images_and_grid(teacher_features)
    if one != other:
        raise ValueError(
            "`student_features` and `teacher_features` must have as many images on one grid, got (B, h, w) "
            f"= {one} and {other}; align the grids first."
        )
    check_places("student_features", student_features)
    check_mask(mask, student_features)
    with autocast_off(student_features):
        student = _attention(full_precision(student_features), mask)
        teacher = _attention(full_precision(teacher_features.detach()), mask)
        counts = teacher.any(dim=1)
        per_image = torch.where(counts, (student - teacher).square().sum(dim=1) / 2, 0)
        return per_image.sum() / counts.sum().clamp(min=1)


def _images_and_grid(features: Tensor) -> tuple[int, ...]:
    return features.shape[0], *features.shape[2:]


def _attention(features: Tensor, mask: Tensor | None) -> Tensor:
    """Return the map of attention of (B, C, h, w) as rows (B, h * w) of unit length; 0 where masked."""
    if mask is not None:
        features = torch.where(mask.unsqueeze(1), features, 0)
    # Squares of half-precision features near their limit would overflow, and the length cancels a factor.
    largest = features.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=_EPSILON)
    return F.normalize((features / largest).square().sum(dim=1).flatten(1), dim=1, eps=_EPSILON)
