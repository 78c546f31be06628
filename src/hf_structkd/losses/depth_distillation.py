"""The pixel-wise term of depth: how far the student's map is from the teacher's."""

from __future__ import annotations

from torch import Tensor

from ._common import autocast_off
from ._depth_maps import batch_mean, check_depth_pair, filled, image_mean
from .depth import align_scale_shift


def depth_distillation_loss(
    student_maps: Tensor, teacher_maps: Tensor, *, align: bool = False, mask: Tensor | None = None
) -> Tensor:
    r"""Mean absolute difference of two maps, :math:`\frac{1}{n} \sum_i |s_i - (a t_i + b)|` per image.

    With `align` a and b are the least-squares fit of the teacher's map to the student's, for each image and
    without gradient: a teacher whose scale means nothing then teaches none. Without it a = 1 and b = 0. The
    loss is the mean over the images that have a counted pixel. Ours: the paper drops the pixel-wise term for
    depth, where it barely helped.

    Args:
        student_maps: Depth, or inverse depth, as the student predicts it.
        teacher_maps: The teacher's, of the same kind and on the same grid; gets no gradient. Pixels where it
            is not finite never count.
        align: Whether the teacher's scale and shift are unknown.
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever they hold. None counts all.

    Shape:
        student_maps, teacher_maps: (B, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar, in the unit of the student's map; 0 if no pixel counts.

    Raises:
        TypeError: If maps are not floating point or the mask is not bool.
        ValueError: If shapes do not fit.

    Example:
        >>> teacher = torch.rand(2, 16, 16)
        >>> depth_distillation_loss(3 * teacher + 1, teacher, align=True).item() < 1e-5
        True
    """
    check_depth_pair(student_maps, teacher_maps, mask)
    with autocast_off(student_maps):
        counted = teacher_maps.isfinite()
        if mask is not None:
            counted = counted & mask
        student, teacher = filled(student_maps, counted, 0), filled(teacher_maps.detach(), counted, 0)
        if align:
            scale, shift = align_scale_shift(teacher, student.detach(), mask=counted)
            teacher = teacher * scale[:, None, None] + shift[:, None, None]
        return batch_mean(image_mean((student - teacher).abs(), counted), counted)
