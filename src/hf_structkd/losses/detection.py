"""The output term of detection: the student's queries learn the teacher's classes and boxes.

The paper distils FCOS, and its detection code was never released. This loss is ours; similar methods are
DETRDistill (arXiv:2211.10156), KD-DETR (arXiv:2211.08071) and D3ETR (arXiv:2211.09768).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import autocast_off, check_number, check_temperature, full_precision
from .boxes import box_corners, generalized_iou
from .detection_heads import (
    DetectionHead,
    binary_log_probabilities,
    categorical_log_probabilities,
    foreground_probabilities,
)
from .query_matching import match_queries

# This is the weight of one sure object. An image in which the teacher sees less than that counts less.
_MIN_TOTAL_CONFIDENCE = 1.0


def query_distillation_loss(
    student_logits: Tensor,
    student_boxes: Tensor,
    teacher_logits: Tensor,
    teacher_boxes: Tensor,
    *,
    student_head: DetectionHead,
    teacher_head: DetectionHead,
    temperature: float = 1.0,
    class_weight: float = 1.0,
    l1_weight: float = 5.0,
    giou_weight: float = 2.0,
) -> Tensor:
    r"""Return the distance in classes and boxes between each student query and its teacher query.

    :func:`match_queries` gives the pairs (i, j). The teacher has the class probabilities :math:`p^t_i`, the
    boxes :math:`b^t_i`, and the confidence :math:`c_i = \max_k p^t_{ik}`. The loss of an image is

    .. math:: \ell = \frac{1}{\max(1, \sum_i c_i)} \sum_{(i, j)} c_i \big(
              \lambda_{cls} T^2 \mathrm{KL}(p^t_i \| p^s_j) + \lambda_{L1} \| b^t_i - b^s_j \|_1
              + \lambda_{giou} (1 - \mathrm{GIoU}(b^t_i, b^s_j)) \big)

    and the result is the mean over the images, so that splitting a batch changes nothing. For a softmax
    student, the KL is over its classes and "no object"; for a sigmoid student, it is the sum of K binary KLs.
    The teacher may have the other head (`detection_heads` explains the conversions). The temperature T
    divides all logits before softmax and sigmoid, but not for matching and confidence. Because of the
    maximum, an image in which the teacher sees nothing counts little.

    The loss and its gradient are 0 if both models give the same, and the boxes have an area. Everything is
    computed in float32 (float64 for float64 input, except for the matching), also under autocast. The teacher
    gets no gradient.

    Args:
        student_logits: As in :func:`match_queries`, like the following five arguments.
        student_boxes: The student's boxes.
        teacher_logits: The teacher's class scores.
        teacher_boxes: The teacher's boxes.
        student_head: The kind of the student's head.
        teacher_head: The kind of the teacher's head.
        temperature: The number above 0 that divides all logits.
        class_weight: The weight of the KL; 1, as DETR's weight of classes.
        l1_weight: The weight of the distance of boxes; 5, as in DETR.
        giou_weight: The weight of the missing overlap of boxes; 2, as in DETR.

    Returns:
        The loss as a scalar; 0, with zero gradient, where the teacher has no confidence in anything.

    Raises:
        TypeError: If a tensor is not floating point, or a setting is no number.
        ValueError: If a setting is out of range, or :func:`match_queries` refuses the inputs.

    Example:
        >>> logits, boxes = torch.tensor([[[20.0]]]), torch.tensor([[[0.5, 0.5, 0.2, 0.2]]])
        >>> heads = {"student_head": "sigmoid", "teacher_head": "sigmoid"}
        >>> query_distillation_loss(logits, boxes, logits, boxes, **heads).item()
        0.0
        >>> wide = torch.tensor([[[0.5, 0.5, 0.4, 0.2]]])  # L1 costs 5 * 0.2, and GIoU 2 * (1 - 1/2)
        >>> round(query_distillation_loss(logits, wide, logits, boxes, **heads).item(), 4)
        2.0
    """
    check_temperature(temperature)
    check_number("class_weight", class_weight)
    check_number("l1_weight", l1_weight)
    check_number("giou_weight", giou_weight)
    teacher_logits, teacher_boxes = teacher_logits.detach(), teacher_boxes.detach()
    match = match_queries(
        student_logits,
        student_boxes,
        teacher_logits,
        teacher_boxes,
        student_head=student_head,
        teacher_head=teacher_head,
    )
    with autocast_off(student_logits):
        student_logits, student_boxes = (_matched(v, match.student) for v in (student_logits, student_boxes))
        teacher_logits, teacher_boxes = (_matched(v, match.teacher) for v in (teacher_logits, teacher_boxes))
        divergence = _class_divergence(
            student_logits / temperature, teacher_logits / temperature, student_head, teacher_head
        )
        distance = (student_boxes - teacher_boxes).abs().sum(dim=-1)
        overlap = generalized_iou(box_corners(student_boxes), box_corners(teacher_boxes))
        per_pair = class_weight * temperature**2 * divergence
        per_pair = per_pair + l1_weight * distance + giou_weight * (1 - overlap)
        confidence = foreground_probabilities(teacher_logits, teacher_head).amax(dim=-1)
        total = confidence.sum(dim=1).clamp(min=_MIN_TOTAL_CONFIDENCE)
        return ((confidence * per_pair).sum(dim=1) / total).mean()


def _matched(values: Tensor, indices: Tensor) -> Tensor:
    """Return the values (B, M, ...) of the queries (B, M), in full precision."""
    return torch.take_along_dim(full_precision(values), indices[..., None], dim=1)


def _class_divergence(
    student_logits: Tensor, teacher_logits: Tensor, student_head: DetectionHead, teacher_head: DetectionHead
) -> Tensor:
    """Return KL(teacher || student) of each pair (B, M), over the outcomes of the student's head."""
    if student_head == "softmax":
        target = categorical_log_probabilities(teacher_logits, teacher_head)
        return (target.exp() * (target - F.log_softmax(student_logits, dim=-1))).sum(dim=-1)
    present, absent = binary_log_probabilities(teacher_logits, teacher_head)
    divergence = present.exp() * (present - F.logsigmoid(student_logits))
    return (divergence + absent.exp() * (absent - F.logsigmoid(-student_logits))).sum(dim=-1)
