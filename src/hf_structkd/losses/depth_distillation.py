"""The pixel-wise term of depth: how far the student's map is from the teacher's."""

from __future__ import annotations

from torch import Tensor

from ._common import autocast_off
from ._depth_maps import batch_mean, both, check_depth_pair, filled, image_mean
from .depth import scale_shift_invariant_loss


def depth_distillation_loss(
    student_maps: Tensor, teacher_maps: Tensor, *, relative: bool = False, mask: Tensor | None = None
) -> Tensor:
    r"""Return the mean absolute difference, :math:`\frac{1}{n} \sum_i |s_i - t_i|` for each image.

    With `relative` the scale and the shift of a map have no meaning, and the loss is
    :func:`scale_shift_invariant_loss`. That loss normalises each map by its own median and spread. A fit to
    the other map would not do, because a constant or inverted student fits as well as the right one. The loss
    is the mean over the images that have a counted pixel. It is ours: the paper leaves out the pixel-wise
    term for depth, because it helped little.

    Args:
        student_maps: The student's depth or inverse depth.
        teacher_maps: The teacher's map on the same grid; it gets no gradient. Pixels where it is not finite
            never count.
        relative: Whether the scale and the shift of one of the two maps are unknown.
        mask: True for the pixels that count. The others contribute nothing and get exactly zero gradient,
            whatever they hold. None counts all.

    Shape:
        student_maps, teacher_maps: (B, h, w). mask: (B, h, w) bool. Returns: ().

    Returns:
        The loss as a scalar, in the unit of the maps, or without a unit if `relative`; 0 if no pixel counts.

    Raises:
        TypeError: If maps are not floating point or the mask is not bool.
        ValueError: If shapes do not fit.

    Example:
        >>> teacher = torch.rand(2, 16, 16)
        >>> depth_distillation_loss(3 * teacher + 1, teacher, relative=True).item() < 1e-5
        True
        >>> depth_distillation_loss(-teacher, teacher, relative=True).item() > 0.5
        True
    """
    if relative:
        return scale_shift_invariant_loss(student_maps, teacher_maps, mask=mask)
    check_depth_pair(student_maps, teacher_maps, mask)
    with autocast_off(student_maps):
        counted = both(teacher_maps.isfinite(), mask)
        student, teacher = filled(student_maps, counted, 0), filled(teacher_maps.detach(), counted, 0)
        return batch_mean(image_mean((student - teacher).abs(), counted), counted)
