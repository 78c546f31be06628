"""Sums over the connections of two graphs of nodes, for all pairs or for the pairs within a window."""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType

import torch
from torch import Tensor

_Index = tuple[EllipsisType, slice, slice]


def full_graph(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum the squared affinity differences over all ordered node pairs, from unit nodes (B, C, N)."""
    linear = linear_is_cheaper(student.shape[2], student.shape[1], teacher.shape[1])
    return full_graph_linear(student, teacher) if linear else full_graph_direct(student, teacher)


def linear_is_cheaper(nodes: int, student_channels: int, teacher_channels: int) -> bool:
    """Return whether the linear form takes fewer multiplications than the direct one."""
    direct = nodes * (student_channels + teacher_channels)
    return direct > student_channels**2 + teacher_channels**2 + student_channels * teacher_channels


def full_graph_direct(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the sum from the two N x N matrices of affinities."""
    return (student.mT @ student - teacher.mT @ teacher).square().sum()


def full_graph_linear(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the sum as ``||S S^T||^2 + ||T T^T||^2 - 2 ||S T^T||^2``, from C x C matrices, not N x N.

    This is ``||S^T S - T^T T||^2``, expanded, with the factors inside each trace in another order.
    """
    if student.device.type != "mps":
        student, teacher = student.double(), teacher.double()
    across = (student @ teacher.mT).square().sum()
    return squared_gram(student) + squared_gram(teacher) - 2 * across


def squared_gram(nodes: Tensor) -> Tensor:
    """Return ``||X X^T||^2``; for many channels, blocks off the matrix' diagonal are computed only once."""
    half = nodes.shape[1] // 2
    if half < 128:
        return (nodes @ nodes.mT).square().sum()
    top, bottom = nodes[:, :half], nodes[:, half:]
    return squared_gram(top) + squared_gram(bottom) + 2 * (top @ bottom.mT).square().sum()


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
