"""Channel-wise distillation: for each channel, the student learns where in the image it is strong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._common import autocast_off, check_map, check_mask, check_temperature, full_precision


def channel_distillation_loss(
    student_maps: Tensor, teacher_maps: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None
) -> Tensor:
    r"""KL(teacher || student) of each channel's softmax over space, times the square of the temperature.

    .. math:: \phi(y_{c})_p = \frac{\exp(y_{cp} / T)}{\sum_q \exp(y_{cq} / T)}, \qquad
        \ell = \frac{T^2}{B C} \sum_{b,c} \sum_p \phi(y^t_{bc})_p
        \log \frac{\phi(y^t_{bc})_p}{\phi(y^s_{bc})_p}

    A channel becomes a distribution over the pixels of an image, so that what it answers to counts and its
    background does not. Adding a constant to a channel changes nothing.

    Args:
        student_maps: Logits or features of the student.
        teacher_maps: The teacher's, of the same channels; gets no gradient.
        temperature: Divides both maps, above 0. The paper's is 4.
        mask: True for the pixels that count; a distribution is over those alone. Others get exactly zero
            gradient, whatever they hold. An image without any is left out. None counts every pixel.

    Shape:
        student_maps, teacher_maps: (B, C, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar, the mean over channels and images; 0 if no pixel counts.

    Raises:
        TypeError: If the maps are not floating point, the mask is not bool, or the temperature is no number.
        ValueError: If the shapes differ, the mask's does not fit, or the temperature is not above 0.

    Example:
        >>> maps = torch.tensor([[[[0.0, 1.0, 2.0]]]])
        >>> channel_distillation_loss(maps + 5, maps).item() < 1e-6
        True

    References:
        Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021, arXiv:2011.13256,
        eq. (4) and (5).
    """
    check_temperature(temperature)
    check_map("student_maps", student_maps)
    check_map("teacher_maps", teacher_maps)
    if student_maps.shape != teacher_maps.shape:
        raise ValueError(
            f"`student_maps` must have the shape of `teacher_maps`, got {tuple(student_maps.shape)} and "
            f"{tuple(teacher_maps.shape)}; pick the shared channels and align the grids first."
        )
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


class ChannelDistillationLoss(nn.Module):
    """Module form of :func:`channel_distillation_loss`: holds the temperature, computes nothing itself.

    Example:
        >>> criterion = ChannelDistillationLoss(temperature=4.0)
        >>> maps = torch.rand(2, 5, 4, 4)
        >>> criterion(maps, maps).item()
        0.0
    """

    def __init__(self, temperature: float = 1.0) -> None:
        """Check and store the temperature."""
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student_maps: Tensor, teacher_maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Call :func:`channel_distillation_loss`."""
        return channel_distillation_loss(student_maps, teacher_maps, temperature=self.temperature, mask=mask)


def _log_softmax(maps: Tensor, counted: Tensor) -> Tensor:
    """Return the log-softmax over the counted pixels; finite, and 0 where a pixel does not count.

    Shape:
        maps: (B, C, N). counted: (B, 1, N) bool. Returns: (B, C, N).
    """
    kept = torch.where(counted, maps, torch.finfo(maps.dtype).min)
    return torch.where(counted, F.log_softmax(kept, dim=2), 0)
