"""The pixel-wise term: the student learns the teacher's class probabilities at every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._common import autocast_off, check_mask, check_pair, check_temperature, full_precision, masked_mean


def pixel_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the mean over valid pixels of KL(teacher || student), times the squared temperature.

    Pixel *i* has the class probabilities :math:`q_i = \mathrm{softmax}(z_i / T)` (T = 1 in the paper), and R
    is the set of valid pixels of the whole batch:

    .. math:: \ell_{pi} = T^2 \frac{1}{|R|} \sum_{i \in R} \sum_k q^t_{ik} \log \frac{q^t_{ik}}{q^s_{ik}}

    The loss is a sum over classes and a mean over pixels, so that its size does not depend on the batch size
    and the resolution. Because of the factor T², the size of the gradient does not depend on the temperature.
    The loss is 0 exactly when both models give the same probabilities. Everything is computed in float32
    (float64 for float64 input), also under autocast. The teacher gets no gradient.

    Args:
        student_logits: The raw class scores of the student, before any softmax.
        teacher_logits: The raw class scores of the teacher, for the same classes in the same order.
        temperature: The number above 0 that divides both logits before the softmax.
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever their logits hold, inf and NaN included. None counts every pixel.

    Shape:
        student_logits, teacher_logits: (B, K, h, w), K >= 2. mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar; 0 if no pixel counts.

    Raises:
        TypeError: If logits are not floating point, the mask is not bool, or the temperature is no number.
        ValueError: If shapes do not fit, fewer than two classes came, or the temperature is out of range.

    Example:
        >>> teacher_logits = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)
        >>> student_logits = torch.zeros(1, 2, 1, 1)
        >>> round(pixel_distillation_loss(student_logits, teacher_logits).item(), 4)
        0.3278

    References:
        Liu et al., Structured Knowledge Distillation for Dense Prediction, TPAMI 2020, arXiv:1903.04197.
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531 (the factor T²).
    """
    check_temperature(temperature)
    hint = "resize one to the other, and configure the student with the teacher's labels"
    check_pair("(B, C, h, w)", hint, student_logits=student_logits, teacher_logits=teacher_logits)
    if student_logits.shape[1] < 2:
        raise ValueError(
            "`student_logits` must hold at least 2 classes, got 1; a softmax over one class is constant, so "
            "the gradient would be zero: use a regression loss for single-channel maps."
        )
    check_mask(mask, student_logits)
    with autocast_off(student_logits):
        teacher_logits = full_precision(teacher_logits.detach())
        student_logits = full_precision(student_logits)
        if mask is not None:
            # After the softmax, an ignored NaN would come back as NaN * 0 in the backward pass.
            student_logits = torch.where(mask[:, None], student_logits, 0)
            teacher_logits = torch.where(mask[:, None], teacher_logits, 0)
        student_log_probs = F.log_softmax(student_logits / temperature, dim=1)
        teacher_log_probs = F.log_softmax(teacher_logits / temperature, dim=1)
        per_pixel = (teacher_log_probs.exp() * (teacher_log_probs - student_log_probs)).sum(dim=1)
        return masked_mean(per_pixel, mask) * temperature**2


class PixelDistillationLoss(nn.Module):
    """Hold the temperature of :func:`pixel_distillation_loss`, and call the function.

    Example:
        >>> criterion = PixelDistillationLoss(temperature=2.0)
        >>> logits = torch.randn(2, 5, 8, 8)
        >>> criterion(logits, logits).item()
        0.0
    """

    def __init__(self, temperature: float = 1.0) -> None:
        """Check and store the temperature."""
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return :func:`pixel_distillation_loss` with the stored temperature."""
        return pixel_distillation_loss(
            student_logits, teacher_logits, temperature=self.temperature, mask=mask
        )

    def extra_repr(self) -> str:
        """Return the setting for the module's repr."""
        return f"temperature={self.temperature}"
