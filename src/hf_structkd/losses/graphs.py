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

# Rows of the teacher's Gram matrix at a time; what lies left of their diagonal mirrors earlier rows.
_STRIP = 128

# Below this share of the squared affinities, float32 products leave too few digits of their difference.
_CANCELLATION = 1e-3

# What else takes time, in multiplications, as measured on a CPU: the linear form's many small calls and its
# arithmetic on an entry of a Gram matrix, and the direct form's on an affinity.
_CALLS, _ENTRY, _AFFINITY = 20_000_000, 450, 200


def full_graph(student: Tensor, teacher: Tensor, teacher_squares: Tensor | None = None) -> Tensor:
    """Sum the squared affinity differences over all ordered node pairs, from unit nodes (B, C, N).

    Args:
        student: The student's nodes.
        teacher: The teacher's nodes.
        teacher_squares: What `squared_gram` returns of the teacher's nodes, where it is known.
    """
    if linear_is_cheaper(student.shape[2], student.shape[1], teacher.shape[1]):
        return full_graph_linear(student, teacher, teacher_squares)
    return full_graph_direct(student, teacher)


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


def full_graph_linear(student: Tensor, teacher: Tensor, teacher_squares: Tensor | None = None) -> Tensor:
    """Return the sum as ``||S S^T||^2 + ||T T^T||^2 - 2 ||S T^T||^2``, from C x C matrices, not N x N.

    This is ``||S^T S - T^T T||^2``, expanded, with the factors inside each trace in another order. The sums
    are in float64 (float32 on MPS), the products in the precision of the nodes. Where the result of float32
    products is so small that they cancel, a CPU computes them again in float64; other devices do not, because
    looking at the result would wait for them.

    The gradient, ``4 (S S^T S - S T^T T)``, is computed here, so that nothing but itself is kept for the
    backward pass.
    """
    nodes, dtype = student.detach(), student.dtype
    with exact_products():
        total, scale, own, across = _total(nodes, teacher, dtype, teacher_squares)
        if dtype != torch.float64 and nodes.device.type == "cpu" and bool(total < _CANCELLATION * scale):
            dtype = torch.float64
            total, _, own, across = _total(nodes, teacher, dtype)
        if not (student.requires_grad and torch.is_grad_enabled()):
            return total
        return with_gradient(total, student, _gradient(nodes, teacher, own.to(dtype), across.to(dtype)))


def _total(
    student: Tensor, teacher: Tensor, dtype: torch.dtype, teacher_squares: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sum from products of `dtype`, the sum of the squared affinities, S S^T and S T^T."""
    own, across = _product(student, student, dtype), _product(student, teacher, dtype)
    theirs = squared_gram(teacher, dtype) if teacher_squares is None else teacher_squares
    scale = _squares(own).sum()
    scale = scale + theirs.sum().to(scale)  # what is known may lie on the CPU
    return scale - 2 * _squares(across).sum(), scale, own, across


def squared_gram(nodes: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``||X X^T||^2`` of each image (B,) from products of `dtype`, strip by strip.

    What a strip mirrors counts twice.
    """
    total = nodes.new_zeros(len(nodes), dtype=_sum_dtype(nodes))
    for start in range(0, nodes.shape[1], _STRIP):
        strip = _product(nodes[:, start : start + _STRIP], nodes[:, start:], dtype)
        total = total + 2 * _squares(strip) - _squares(strip[:, :, :_STRIP])
    return total


def _product(first: Tensor, second: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``X Y^T``, the blocks of nodes added up in float64."""
    total: Tensor | None = None
    for one, other in _blocks(first, second, dtype):
        product = one @ other.mT
        total = product if total is None else total.to(_sum_dtype(first)) + product
    assert total is not None
    return total


def _squares(matrix: Tensor) -> Tensor:
    return matrix.square().flatten(1).sum(dim=1, dtype=_sum_dtype(matrix))


def _sum_dtype(values: Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "mps" else torch.float64


def _gradient(student: Tensor, teacher: Tensor, own: Tensor, across: Tensor) -> Tensor:
    """Return the gradient (B, C, N) of the sum with respect to the student's nodes."""
    gradient = torch.empty_like(student)
    places = torch.split(gradient, _BLOCK, dim=2)
    for place, (first, second) in zip(places, _blocks(student, teacher, own.dtype), strict=True):
        place.copy_(torch.baddbmm(across @ second, own, first, beta=-4, alpha=4))
    return gradient


def _blocks(first: Tensor, second: Tensor, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    parts = (torch.split(nodes, _BLOCK, dim=2) for nodes in (first, second))
    for one, other in zip(*parts, strict=True):
        yield one.to(dtype), other.to(dtype)


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
