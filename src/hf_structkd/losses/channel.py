"""Channel-wise distillation: the student learns where in the image each channel is strong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import autocast_off, check_mask, check_pair, check_places, check_temperature, full_precision


def channel_distillation_loss(
    student_maps: Tensor, teacher_maps: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    r"""Return KL(teacher || student) of each channel's softmax over space, times the squared temperature.

    .. math:: \phi(y_{c})_p = \frac{\exp(y_{cp} / T)}{\sum_q \exp(y_{cq} / T)}, \qquad
        \ell = \frac{T^2}{B C} \sum_{b,c} \sum_p \phi(y^t_{bc})_p
        \log \frac{\phi(y^t_{bc})_p}{\phi(y^s_{bc})_p}

    A channel becomes a distribution over the pixels of an image. The places where the channel is strong
    count, and its background does not. A constant that is added to a channel changes nothing.

    Args:
        student_maps: The logits or features of the student.
        teacher_maps: The same channels of the teacher; they get no gradient.
        temperature: The number above 0 that divides both maps. The paper uses 4.
        mask: True for the pixels that count; a distribution is over those pixels alone. The others get
            exactly zero gradient, whatever they hold. An image without a counted pixel is left out. None
            counts every pixel.

    Shape:
        student_maps, teacher_maps: (B, C, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar, the mean over channels and images; 0 if no pixel counts.

    Raises:
        TypeError: If the maps are not floating point, the mask is not bool, or the temperature is no number.
        ValueError: If the shapes do not fit, the maps are of one pixel, or the temperature is not above 0.

    Example:
        >>> maps = torch.tensor([[[[0.0, 1.0, 2.0]]]])
        >>> channel_distillation_loss(maps + 5, maps).item() < 1e-6
        True

    References:
        Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021, arXiv:2011.13256,
        eq. (4) and (5).
    """
    check_temperature(temperature)
    hint = "pick the shared channels and align the grids first"
    check_pair("(B, C, h, w)", hint, student_maps=student_maps, teacher_maps=teacher_maps)
    check_places("student_maps", student_maps)
    check_mask(mask, student_maps)
    with autocast_off(student_maps):
        student = full_precision(student_maps).flatten(2) / temperature
        teacher = full_precision(teacher_maps.detach()).flatten(2) / temperature
        if mask is None:
            counted = student.new_ones(student.shape[0], 1, student.shape[2], dtype=torch.bool)
        else:
            counted = mask.flatten(1).unsqueeze(1)
        log_student, log_teacher = _log_softmax(student, counted), _log_softmax(teacher, counted)
        divergence = (log_teacher.exp() * (log_teacher - log_student)).masked_fill(~counted, 0).sum(dim=2)
        images = counted.any(dim=2).sum().clamp(min=1)
        return divergence.sum() / (images * student.shape[1]) * temperature**2


def _log_softmax(maps: Tensor, counted: Tensor) -> Tensor:
    """Return the log-softmax (B, C, N) over the counted pixels (B, 1, N), and 0 for the other pixels."""
    kept = torch.where(counted, maps, torch.finfo(maps.dtype).min)
    return torch.where(counted, F.log_softmax(kept, dim=2), 0)
