"""The nodes of the pair-wise graph: patches of a feature map that are pooled into vectors."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import autocast_off, check_mask, check_tensor, full_precision

Granularity = int | tuple[int, int]
Pooling = Literal["mean", "max"]

# A node with a smaller squared norm has no direction, and counts as the zero vector.
_SQUARED_NORM_FLOOR = 1e-24


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
        return masked_nodes(full_precision(features), check_granularity(granularity), pooling, mask)[0]


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


def check_pooling(pooling: str) -> None:
    """Raise ValueError for an unknown pooling."""
    if pooling not in get_args(Pooling):
        raise ValueError(
            f"`pooling` must be one of {get_args(Pooling)}, got {pooling!r}; choose one of them."
        )


def masked_nodes(
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


def unit_nodes(nodes: Tensor) -> Tensor:
    """Scale nodes to length 1; one of length 0 stays."""
    squared_norm = nodes.square().sum(dim=1, keepdim=True)
    # With the floor alone, a dead node would get a gradient of 1 / its root, far above all others.
    alive = squared_norm > _SQUARED_NORM_FLOOR
    return nodes * torch.where(alive, squared_norm.clamp_min(_SQUARED_NORM_FLOOR).rsqrt(), 0)


def _pool(features: Tensor, side: tuple[int, int], pooling: Pooling) -> Tensor:
    # Without padding, the mean of a window that crosses the border is over the pixels that exist.
    return (F.avg_pool2d if pooling == "mean" else F.max_pool2d)(features, side, ceil_mode=True)
