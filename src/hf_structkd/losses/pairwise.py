"""The pair-wise term: the student learns which places of the feature map are alike for the teacher."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._common import autocast_off, check_mask, check_tensor, full_precision
from .graphs import count_full_graph, count_window, full_graph, window

Granularity = int | tuple[int, int]
Pooling = Literal["mean", "max"]

# A node with a smaller squared norm has no direction, and counts as the zero vector.
_SQUARED_NORM_FLOOR = 1e-24


def pairwise_distillation_loss(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    granularity: Granularity = 1,
    connection_range: int | None = None,
    pooling: Pooling = "mean",
    mask: Tensor | None = None,
    teacher_is_pooled: bool = False,
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

    Shape:
        student_features: (B, C_s, h, w). teacher_features: (B, C_t, h, w), or (B, C_t, rows, columns) pooled.
        mask: (B, h, w) bool. Returns: ().

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
    if math.prod(grid) < 2:
        raise ValueError(
            f"`granularity` must leave at least 2 nodes per map, got granularity={granularity} for features "
            f"of shape {tuple(student_features.shape)}, so the loss would be zero; lower it."
        )
    side = check_granularity(granularity)
    with autocast_off(student_features):
        nodes, valid = _nodes(full_precision(student_features), side, pooling, mask)
        student, teacher = _unit(nodes), full_precision(teacher_features.detach())
        if not teacher_is_pooled:
            teacher = _nodes(teacher, side, pooling, mask)[0]
        elif mask is not None:
            teacher = teacher.masked_fill(~valid[:, None], 0)  # a product would let a NaN there survive
        teacher = _unit(teacher)
        radius = max(grid) if connection_range is None else math.isqrt(connection_range) // 2
        if radius >= max(grid) - 1:
            total, count = full_graph(student.flatten(2), teacher.flatten(2)), count_full_graph(valid)
        else:
            total, count = window(student, teacher, radius), count_window(valid, radius)
        return (total / count.clamp(min=1)).to(student.dtype)


def pool_nodes(
    features: Tensor, granularity: Granularity, *, pooling: Pooling = "mean", mask: Tensor | None = None
) -> Tensor:
    """Return the nodes of a feature map as `pairwise_distillation_loss` pools them, before they are scaled.

    Shape:
        features: (B, C, h, w). mask: (B, h, w) bool. Returns: (B, C, rows, columns) float32, 0 for a node
        without a counted pixel.

    Raises:
        TypeError: If the features are not floating point, or the mask is not bool.
        ValueError: If a shape does not fit, or a setting is none of those.
    """
    check_tensor("features", features, "(B, C, h, w)")
    check_mask(mask, features)
    check_pooling(pooling)
    with autocast_off(features):
        return _nodes(full_precision(features), check_granularity(granularity), pooling, mask)[0]


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


def node_grid_size(height: int, width: int, granularity: Granularity) -> tuple[int, int]:
    """Return the rows and columns of a feature map's node grid; smaller patches at the border are kept.

    Raises TypeError or ValueError for a granularity that is no size, or that is larger than the map.

    Example:
        >>> node_grid_size(65, 65, 2)
        (33, 33)
    """
    rows, columns = check_granularity(granularity)
    if rows > height or columns > width:
        raise ValueError(
            f"`granularity` must fit into the map, got granularity={granularity} for a {height}x{width} map; "
            "lower it or pick an earlier feature map."
        )
    return math.ceil(height / rows), math.ceil(width / columns)


def check_granularity(granularity: Granularity) -> tuple[int, int]:
    """Return the granularity as (rows, columns).

    Raises TypeError for anything but an int or a pair of ints, and ValueError for a side below 1.
    """
    sides = granularity if isinstance(granularity, tuple | list) else (granularity, granularity)
    if len(sides) != 2 or not all(type(side) is int for side in sides):
        raise TypeError(
            f"`granularity` must be an int or a pair (rows, columns) of ints, got {granularity!r}; "
            "use 2 for nodes of 2x2 feature pixels."
        )
    if min(sides) < 1:
        raise ValueError(
            f"`granularity` must be at least 1, got {granularity}; use 1 for a node per feature pixel."
        )
    return sides[0], sides[1]


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


def check_pooling(pooling: str) -> None:
    """Raise ValueError for an unknown pooling."""
    if pooling not in get_args(Pooling):
        raise ValueError(
            f"`pooling` must be one of {get_args(Pooling)}, got {pooling!r}; choose one of them."
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


def _nodes(
    features: Tensor, side: tuple[int, int], pooling: Pooling, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return nodes (B, C, rows, columns), 0 where invalid, and which nodes are valid."""
    if mask is None:
        nodes = features if side == (1, 1) else _pool(features, side, pooling)
        return nodes, torch.ones_like(nodes[:, 0], dtype=torch.bool)
    # The fill comes before pooling, so that an ignored NaN reaches neither a node nor its gradient.
    fill = 0.0 if pooling == "mean" else -math.inf
    nodes = _pool(torch.where(mask[:, None], features, fill), side, pooling)
    share = _pool(mask[:, None].to(features.dtype), side, "mean")
    valid = share[:, 0] > 0
    if pooling == "mean":
        nodes = nodes / torch.where(share > 0, share, 1)
    return torch.where(valid[:, None], nodes, 0), valid


def _unit(nodes: Tensor) -> Tensor:
    """Scale nodes to length 1; one of length 0 stays."""
    squared_norm = nodes.square().sum(dim=1, keepdim=True)
    # With the floor alone, a dead node would get a gradient of 1 / its root, far above all others.
    alive = squared_norm > _SQUARED_NORM_FLOOR
    return nodes * torch.where(alive, squared_norm.clamp_min(_SQUARED_NORM_FLOOR).rsqrt(), 0)


def _pool(features: Tensor, side: tuple[int, int], pooling: Pooling) -> Tensor:
    # Without padding, the mean of a window that crosses the border is over the pixels that exist.
    return (F.avg_pool2d if pooling == "mean" else F.max_pool2d)(features, side, ceil_mode=True)
