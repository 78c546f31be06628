"""The Hungarian matching, which says which student query learns from which teacher query."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ._common import autocast_off, check_number
from .boxes import box_corners, check_query_boxes, pairwise_generalized_iou
from .detection_heads import DetectionHead, check_class_logits, foreground_probabilities, num_classes


class QueryMatch(NamedTuple):
    """Pairs of queries: in image b, student query `student[b, m]` learns from teacher query `teacher[b, m]`.

    Attributes:
        student: (B, M) int64 indices, no two equal within an image.
        teacher: (B, M) int64 indices, no two equal within an image.
    """

    student: Tensor
    teacher: Tensor


@torch.no_grad()
def match_queries(
    student_logits: Tensor,
    student_boxes: Tensor,
    teacher_logits: Tensor,
    teacher_boxes: Tensor,
    *,
    student_head: DetectionHead,
    teacher_head: DetectionHead,
    class_cost: float = 1.0,
    l1_cost: float = 5.0,
    giou_cost: float = 2.0,
) -> QueryMatch:
    r"""Match teacher to student queries, one to one, at the lowest total cost.

    Teacher query i has the class probabilities :math:`p^t_{ik}` and the box :math:`b^t_i`. To match it with
    student query j costs

    .. math:: c_i \Big( - \lambda_{cls} \sum_k \frac{p^t_{ik}}{\sum_l p^t_{il}} p^s_{jk}
              + \lambda_{L1} \| b^t_i - b^s_j \|_1 - \lambda_{giou} \mathrm{GIoU}(b^t_i, b^s_j) \Big),
              \qquad c_i = \max_k p^t_{ik}

    This is DETR's matching with its weights, but with the teacher's queries instead of the labelled objects.
    Two things are ours. In place of one class, the student's probability is a mean over the classes, weighted
    by the teacher's probabilities. And each teacher query counts with its confidence c, as in the loss: few
    of hundreds of queries show objects, and without c the others would compete for the same students.

    All costs of a batch are computed at once in float32 on the tensors' device, and moved to the CPU in one
    transfer. Then scipy solves one assignment per image, as many at once as PyTorch has threads.

    Args:
        student_logits: The raw class scores of the student, for the shared classes only.
        student_boxes: The student's boxes cx, cy, w, h, normalised to 0..1.
        teacher_logits: The raw class scores of the teacher, for the same classes in the same order.
        teacher_boxes: The teacher's boxes in the same form.
        student_head: ``"softmax"`` if the student's last score means "no object", else ``"sigmoid"``.
        teacher_head: The kind of the teacher's head.
        class_cost: The weight of the class cost.
        l1_cost: The weight of the distance of boxes.
        giou_cost: The weight of the overlap of boxes.

    Shape:
        logits: (B, Q, K + 1) for softmax, (B, Q, K) for sigmoid heads. boxes: (B, Q, 4). Student and teacher
        may differ in Q.

    Returns:
        M pairs per image; M is the smaller of the two numbers of queries. If the teacher has more queries,
        only its most confident queries take part. If the student has more, the others have no teacher.

    Raises:
        TypeError: If a tensor is not floating point or a weight is no number.
        ValueError: If shapes or class counts do not fit, a head is unknown, a weight is negative, or a cost
            is not finite.

    Example:
        >>> boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]])
        >>> logits = torch.tensor([[[3.0, 0.0], [3.0, 0.0]]])
        >>> match_queries(
        ...     logits, boxes, logits, boxes.flip(1), student_head="softmax", teacher_head="softmax"
        ... ).student
        tensor([[1, 0]])

    References:
        Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv:2005.12872.
    """
    check_number("class_cost", class_cost)
    check_number("l1_cost", l1_cost)
    check_number("giou_cost", giou_cost)
    check_class_logits("student_logits", student_logits, student_head)
    check_class_logits("teacher_logits", teacher_logits, teacher_head)
    check_query_boxes("student_boxes", student_boxes, student_logits)
    check_query_boxes("teacher_boxes", teacher_boxes, teacher_logits)
    _check_pair(student_logits, teacher_logits, student_head, teacher_head)
    with autocast_off(student_logits):
        student = foreground_probabilities(student_logits.float(), student_head)
        teacher = foreground_probabilities(teacher_logits.float(), teacher_head)
        confidence, taught = teacher.amax(dim=-1).topk(min(student.shape[1], teacher.shape[1]), dim=1)
        teacher = torch.take_along_dim(teacher, taught[..., None], dim=1)
        teacher = teacher / teacher.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(teacher.dtype).tiny)
        student_boxes = student_boxes.float()
        teacher_boxes = torch.take_along_dim(teacher_boxes.float(), taught[..., None], dim=1)
        overlap = pairwise_generalized_iou(box_corners(teacher_boxes), box_corners(student_boxes))
        cost = l1_cost * torch.cdist(teacher_boxes, student_boxes, p=1) - giou_cost * overlap
        cost = confidence[..., None] * (cost - class_cost * teacher @ student.mT)
    return QueryMatch(_assign(cost).to(taught.device), taught)


def _assign(cost: Tensor) -> Tensor:
    """Return the column of each row, (B, M), in the cheapest assignment for costs (B, M, Q), M <= Q."""
    cost = cost.cpu()
    finite = cost.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise ValueError(
            "the logits and boxes to match must be finite, got NaN or inf in image "
            f"{int(finite.logical_not().nonzero()[0])} of the batch; look at the outputs of student and "
            "teacher: the learning rate may be too high, or float16 may overflow where bfloat16 would not."
        )
    # scipy releases Python's lock, so that threads can solve images at the same time. With no more rows than
    # columns, scipy assigns every row, and returns the rows in order.
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        assignments = pool.map(linear_sum_assignment, cost.numpy())
        return torch.stack([torch.from_numpy(columns) for _, columns in assignments])


def _check_pair(
    student_logits: Tensor, teacher_logits: Tensor, student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    if student_logits.shape[0] != teacher_logits.shape[0]:
        raise ValueError(
            "`student_logits` and `teacher_logits` must come from the same images, got "
            f"{student_logits.shape[0]} and {teacher_logits.shape[0]}; give both models the same batch."
        )
    classes = num_classes(student_logits, student_head)
    teacher_classes = num_classes(teacher_logits, teacher_head)
    if classes != teacher_classes:
        raise ValueError(
            f"`student_logits` ({student_head}) and `teacher_logits` ({teacher_head}) must hold the same "
            f'classes, got {classes} and {teacher_classes} without "no object"; pick the shared classes and '
            "check the heads."
        )
