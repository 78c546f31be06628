"""The pair-wise term: the student learns which places of the feature map are alike for the teacher."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ._common import autocast_off, check_mask, check_tensor, exact_products, full_precision
from .graphs import count_full_graph, count_window, full_graph, squared_gram, window
from .nodes import (
    Granularity,
    Pooling,
    check_granularity,
    check_pooling,
    masked_nodes,
    node_grid_size,
    unit_nodes,
)


def pairwise_distillation_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    granularity: Granularity = 1,
    connection_range: int | None = None,
    pooling: Pooling = "mean",
    mask: Tensor | None = None,
    teacher_is_pooled: bool = False,
    teacher_squares: Tensor | None = None,
) -> Tensor:
    r"""Return the mean squared difference between the affinities of the student and of the teacher.

    Patches of the feature map are pooled into nodes :math:`f_i`. The affinity of two nodes is their cosine,
    and the loss is the mean over all connections E of the batch:

    .. math:: a_{ij} = \frac{f_i^\top f_j}{\lVert f_i \rVert \lVert f_j \rVert}, \qquad
        \ell_{pa} = \frac{1}{|E|} \sum_{(i, j) \in E} (a^s_{ij} - a^t_{ij})^2

    Only affinities are compared, so that student and teacher may differ in channels and need no projection
    layer; the feature maps must agree in size. A scale or rotation of the teacher's channels changes nothing.

    Sources differ, and these choices are ours. Every ordered pair counts, also a node with itself. Windows
    are cut at the border, and smaller patches at the border are kept. The norm carries gradient. A zero node
    has affinity 0 to every node and gets zero gradient, because the cosine has no gradient there.

    The full graph has two forms with the same value, and the faster form is chosen. The direct form holds B
    matrices of N x N. The linear form holds C x C matrices and adds up blocks of nodes. Its three sums nearly
    cancel when the loss is small: float32 products leave a relative error of the value of about 1e-7 times
    the mean squared affinity over the loss. On a CPU, a loss below 1e-3 of the mean squared affinity is
    therefore computed again with float64 products, which leaves 1e-4 at most above that limit and 1e-6 below
    it. Other devices keep float32 products, where a loss below 1e-7 of the mean squared affinity is noise;
    its gradient has an error of 1e-2 at most even there. A finite range compares shifted maps
    instead, with memory O(N (α + C)) and time O(N α C).

    Args:
        student_features: The feature map of the student.
        teacher_features: The feature map of the teacher on the same grid; it gets no gradient.
        granularity: The side of a node in feature pixels, or (rows, columns). The paper's 2x2 is 2.
        connection_range: The number of nearest nodes that each node is compared with, itself included. It is
            the square of an odd number, such as 9 for a 3x3 window. None compares all nodes.
        pooling: The way a patch becomes a node: ``"mean"`` as in the paper, ``"max"`` as in its code.
        mask: True for the pixels that count. A node is pooled from these alone, and a node without a counted
            pixel is left out. Ignored pixels get exactly zero gradient, whatever they hold. None counts
            every pixel.
        teacher_is_pooled: Whether `teacher_features` are what `pool_nodes` returns of them, which changes
            nothing but the work.
        teacher_squares: What `squared_affinities` returns of the pooled teacher, which again changes nothing
            but the work; None computes it.

    Shape:
        student_features: (B, C_s, h, w). teacher_features: (B, C_t, h, w), or (B, C_t, rows, columns) pooled.
        mask: (B, h, w) bool. teacher_squares: (B,) float64. Returns: ().

    Returns:
        The loss as a scalar; 0 if no node is valid.

    Raises:
        TypeError: If features are not floating point, the mask is not bool, or a setting has the wrong type.
        ValueError: If shapes do not fit, a setting is out of range, or the map has fewer than two nodes.

    Example:
        >>> alike = torch.ones(1, 4, 1, 2)
        >>> unlike = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
        >>> pairwise_distillation_loss(alike, unlike).item()  # 2 of the 4 connections differ by 1
        0.5

    References:
        Liu et al., Structured Knowledge Distillation for Dense Prediction, TPAMI 2020, arXiv:1903.04197.
    """
    check_connection_range(connection_range)
    check_pooling(pooling)
    check_tensor("student_features", student_features, "(B, C, h, w)")
    grid = node_grid_size(student_features.shape[2], student_features.shape[3], granularity)
    _check_teacher(teacher_features, student_features, grid if teacher_is_pooled else None)
    check_mask(mask, student_features)
    _check_squares(teacher_squares, student_features)
    if math.prod(grid) < 2:
        raise ValueError(
            f"`granularity` must leave at least 2 nodes per map, got granularity={granularity} for features "
            f"of shape {tuple(student_features.shape)}, so the loss would be zero; lower it."
        )
    side = check_granularity(granularity)
    with autocast_off(student_features):
        nodes, valid = masked_nodes(full_precision(student_features), side, pooling, mask)
        student, teacher = unit_nodes(nodes), full_precision(teacher_features.detach())
        if not teacher_is_pooled:
            teacher = masked_nodes(teacher, side, pooling, mask)[0]
        elif mask is not None:
            teacher = teacher.masked_fill(~valid[:, None], 0)  # a product would let a NaN there survive
        teacher = unit_nodes(teacher)
        radius = max(grid) if connection_range is None else math.isqrt(connection_range) // 2
        if radius >= max(grid) - 1:
            total = full_graph(student.flatten(2), teacher.flatten(2), teacher_squares)
            count = count_full_graph(valid)
        else:
            total, count = window(student, teacher, radius), count_window(valid, radius)
        return (total / count.clamp(min=1)).to(student.dtype)


def squared_affinities(nodes: Tensor) -> Tensor:
    """Return the sum of the squared affinities of all pairs of nodes, (B, C, rows, columns) to (B,) float64.

    It is the part of the loss that depends on the teacher alone, and does not change from step to step.
    """
    with autocast_off(nodes), exact_products():
        return squared_gram(unit_nodes(full_precision(nodes)).flatten(2), torch.float32)


class PairwiseDistillationLoss(nn.Module):
    """Hold the settings of :func:`pairwise_distillation_loss`, and call the function.

    Example:
        >>> criterion = PairwiseDistillationLoss(granularity=2, connection_range=9)
        >>> criterion(torch.ones(2, 8, 16, 16), torch.ones(2, 32, 16, 16)).item() < 1e-12
        True
    """

    def __init__(
        self, granularity: Granularity = 1, connection_range: int | None = None, pooling: Pooling = "mean"
    ) -> None:
        """Check and store the settings."""
        super().__init__()
        check_granularity(granularity)
        check_connection_range(connection_range)
        check_pooling(pooling)
        self.granularity = granularity
        self.connection_range = connection_range
        self.pooling: Pooling = pooling

    def forward(
        self, student_features: Tensor, teacher_features: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Return :func:`pairwise_distillation_loss` with the stored settings."""
        return pairwise_distillation_loss(
            student_features,
            teacher_features,
            granularity=self.granularity,
            connection_range=self.connection_range,
            pooling=self.pooling,
            mask=mask,
        )

    def extra_repr(self) -> str:
        """Return the settings for the module's repr."""
        names = ("granularity", "connection_range", "pooling")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def check_connection_range(connection_range: int | None) -> None:
    """Reject a connection range that is neither None (the full graph) nor 9, 25, 49 and so on.

    Raises TypeError for anything but an int or None, and ValueError for other numbers.
    """
    if connection_range is None:
        return
    if type(connection_range) is not int:
        raise TypeError(
            f"`connection_range` must be an int or None, got {connection_range!r}; use 9 for a 3x3 window."
        )
    if (
        connection_range < 9
        or connection_range % 2 == 0
        or math.isqrt(connection_range) ** 2 != connection_range
    ):
        raise ValueError(
            "`connection_range` must be the square of an odd number from 3 up (9, 25, 49, ...), got "
            f"{connection_range}; use None for the full graph."
        )


def _check_teacher(teacher: Tensor, student: Tensor, node_grid: tuple[int, int] | None) -> None:
    check_tensor("teacher_features", teacher, "(B, C, h, w)")
    wanted = (student.shape[0], *(node_grid or student.shape[2:]))
    if (teacher.shape[0], *teacher.shape[2:]) != wanted:
        raise ValueError(
            "`student_features` and `teacher_features` must agree in B, h and w (channels may differ), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}{' in nodes' if node_grid else ''}; "
            "pick levels of the same stride or resize one."
        )


def _check_squares(squares: Any, features: Tensor) -> None:
    if squares is None:
        return
    if (
        not isinstance(squares, Tensor)
        or not squares.is_floating_point()
        or squares.shape != features.shape[:1]
    ):
        found = f"{squares.dtype} of shape {tuple(squares.shape)}" if isinstance(squares, Tensor) else squares
        raise ValueError(
            f"`teacher_squares` must be {len(features)} floating-point sums, one an image, got {found}; pass "
            "what `squared_affinities` returns."
        )
