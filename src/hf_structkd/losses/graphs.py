"""Sums over the connections of two graphs of nodes, for all pairs or for the pairs within a window."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

import torch
from torch import Tensor

from ._common import exact_products, with_gradient

_Index = tuple[EllipsisType, slice, slice]

# Nodes that are copied, multiplied and added up at a time. Short products round less, too.
_BLOCK = 2048

# Rows of a Gram matrix that are computed at a time; what lies left of their diagonal is known by then.
_STRIP = 128

# Below this share of the squared affinities, float32 products leave too few digits of their difference.
_CANCELLATION = 1e-3

# What else takes time, in multiplications, as measured on a CPU: the linear form's many small calls and its
# arithmetic on an entry of a Gram matrix, and the direct form's on an affinity.
_CALLS, _ENTRY, _AFFINITY = 20_000_000, 450, 200


def full_graph(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum the squared affinity differences over all ordered node pairs, from unit nodes (B, C, N)."""
    linear = linear_is_cheaper(student.shape[2], student.shape[1], teacher.shape[1])
    return full_graph_linear(student, teacher) if linear else full_graph_direct(student, teacher)


def linear_is_cheaper(nodes: int, student_channels: int, teacher_channels: int) -> bool:
    """Return whether the linear form takes less time than the direct one, forward and backward."""
    own, theirs = student_channels, teacher_channels
    direct = nodes**2 * (3 * own + theirs + _AFFINITY)
    linear = nodes * (2 * own**2 + 2 * own * theirs + theirs * (theirs + _STRIP) // 2)
    return direct > linear + _ENTRY * (own**2 + theirs**2 + own * theirs) + _CALLS


def full_graph_direct(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the sum from the two N x N matrices of affinities."""
    with exact_products():
        return (student.mT @ student - teacher.mT @ teacher).square().sum()


def full_graph_linear(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the sum as ``||S S^T||^2 + ||T T^T||^2 - 2 ||S T^T||^2``, from C x C matrices, not N x N.

    This is ``||S^T S - T^T T||^2``, expanded, with the factors inside each trace in another order. The sums
    are in float64 (float32 on MPS), the products in the precision of the nodes. Where the result of float32
    products is so small that they cancel, a CPU computes them again in float64; other devices do not, because
    looking at the result would wait for them.

    The gradient, ``4 (S S^T S - S T^T T)``, is computed here, so that nothing but itself is kept for the
    backward pass.
    """
    own, theirs, across = _grams(student.detach(), teacher, student.dtype)
    scale = _squares(own, symmetric=True) + _squares(theirs, symmetric=True)
    total = scale - 2 * _squares(across)
    dtype = student.dtype
    if dtype != torch.float64 and student.device.type == "cpu" and bool(total < _CANCELLATION * scale):
        dtype = torch.float64
        own, theirs, across = _grams(student.detach(), teacher, dtype)
        squares = _squares(own, symmetric=True) + _squares(theirs, symmetric=True)
        total = squares - 2 * _squares(across)
    if not (student.requires_grad and torch.is_grad_enabled()):
        return total
    return with_gradient(total, student, _gradient(student.detach(), teacher, own, across, dtype))


def _grams(student: Tensor, teacher: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``S S^T`` and ``T T^T``, without what lies left of the diagonal strips, and ``S T^T``.

    The products are of `dtype`; blocks of nodes are added up in float64.
    """
    batch, own, theirs = student.shape[0], student.shape[1], teacher.shape[1]
    total = torch.float32 if student.device.type == "mps" else torch.float64
    sums = [
        student.new_zeros((batch, *size), dtype=total)
        for size in ((own, own), (theirs, theirs), (own, theirs))
    ]
    with exact_products():
        for first, second in _blocks(student, teacher, dtype):
            _add_gram(sums[0], first)
            _add_gram(sums[1], second)
            sums[2] += first @ second.mT
    return sums[0], sums[1], sums[2]


def _add_gram(total: Tensor, nodes: Tensor) -> None:
    """Add the Gram matrix (B, C, C) of nodes (B, C, N) in place, without what lies left of its strips."""
    for start in range(0, nodes.shape[1], _STRIP):
        rows = slice(start, start + _STRIP)
        total[:, rows, start:] += nodes[:, rows] @ nodes[:, start:].mT


def _squares(matrix: Tensor, *, symmetric: bool = False) -> Tensor:
    """Sum the squares of a matrix; of a symmetric one in strips, each place right of them counts twice."""
    total = matrix.square().sum()
    if not symmetric:
        return total
    strips = range(0, matrix.shape[1], _STRIP)
    squares = [matrix[:, start : start + _STRIP, start : start + _STRIP].square().sum() for start in strips]
    return 2 * total - torch.stack(squares).sum()


def _gradient(student: Tensor, teacher: Tensor, own: Tensor, across: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the gradient (B, C, N) of the sum with respect to the student's nodes."""
    gradient = torch.empty_like(student)
    own = own.triu() + own.triu(1).mT
    own, across = (4 * own).to(dtype), (4 * across).to(dtype)
    places = torch.split(gradient, _BLOCK, dim=2)
    with exact_products():
        for place, (first, second) in zip(places, _blocks(student, teacher, dtype), strict=True):
            place.copy_(torch.baddbmm(across @ second, own, first, beta=-1))
    return gradient


def _blocks(student: Tensor, teacher: Tensor, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    parts = (torch.split(nodes, _BLOCK, dim=2) for nodes in (student, teacher))
    for first, second in zip(*parts, strict=True):
        yield first.to(dtype), second.to(dtype)


def count_full_graph(valid: Tensor) -> Tensor:
    """Count the ordered pairs of valid nodes (B, rows, columns)."""
    return valid.flatten(1).sum(dim=1).square().sum()


def window(student: Tensor, teacher: Tensor, radius: int) -> Tensor:
    """Sum the squared affinity differences over each node's window, from unit nodes (B, C, rows, columns)."""
    total = student.new_zeros(())
    for here, there, weight in window_shifts(student.shape[2], student.shape[3], radius):
        student_affinity = (student[here] * student[there]).sum(dim=1)
        teacher_affinity = (teacher[here] * teacher[there]).sum(dim=1)
        total = total + weight * (student_affinity - teacher_affinity).square().sum()
    return total


def count_window(valid: Tensor, radius: int) -> Tensor:
    """Count the ordered pairs of valid nodes (B, rows, columns) that lie in each other's window."""
    shifts = window_shifts(valid.shape[1], valid.shape[2], radius)
    return torch.stack([weight * (valid[here] & valid[there]).sum() for here, there, weight in shifts]).sum()


def window_shifts(rows: int, columns: int, radius: int) -> Iterator[tuple[_Index, _Index, int]]:
    """Yield index pairs that pair each node with one neighbour, and how often that connection counts.

    Connections are symmetric, so that only one of two opposite shifts is needed, and counts twice.
    """
    for down in range(min(radius, rows - 1) + 1):
        reach = min(radius, columns - 1)
        for right in range(0 if down == 0 else -reach, reach + 1):
            here = (..., slice(0, rows - down), slice(max(0, -right), columns - max(0, right)))
            there = (..., slice(down, rows), slice(max(0, right), columns - max(0, -right)))
            yield here, there, 1 if down == right == 0 else 2
