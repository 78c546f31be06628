"""The two forms of the full graph: precision from large to tiny losses, blocks, and what a process allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_structkd.losses import graphs


def unit_nodes(distance: float, *, batch: int = 1, nodes: int = 300) -> tuple[Tensor, Tensor]:
    """Return two graphs of nodes that are alike within a graph, and differ by the distance."""
    teacher = torch.randn(batch, 48, nodes) + torch.randn(batch, 48, 1)
    return F.normalize(teacher + distance * torch.randn_like(teacher), dim=1), F.normalize(teacher, dim=1)


def value_and_gradient(
    form: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    value = form(student, teacher)
    return value.detach(), torch.autograd.grad(value, student)[0]


def test_linear_form_is_precise_for_losses_from_1e_1_to_1e_9() -> None:
    """Its three sums cancel: with float32 products alone, a loss of 1e-8 is noise, and may be below zero."""
    losses = []
    for distance in (10.0, 2.0, 0.5, 0.1, 0.05, 0.02, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5):
        student, teacher = unit_nodes(distance)
        exact = value_and_gradient(graphs.full_graph_direct, student.double(), teacher.double())
        value, gradient = value_and_gradient(graphs.full_graph_linear, student, teacher)
        losses.append(exact[0].item() / 300**2)
        assert value.item() == pytest.approx(exact[0].item(), rel=1e-4)
        assert (gradient - exact[1]).norm() < 5e-5 * exact[1].norm()
    assert losses[0] > 1e-1
    assert losses[-1] < 1e-9


def test_blocks_of_nodes_and_strips_of_channels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block or a strip that is left out or counted twice would be another loss at some sizes alone."""
    monkeypatch.setattr(graphs, "_BLOCK", 64)
    monkeypatch.setattr(graphs, "_STRIP", 20)
    student, teacher = (nodes.double() for nodes in unit_nodes(0.5, batch=2))
    student = F.normalize(student[:, :30], dim=1)
    expected = value_and_gradient(graphs.full_graph_direct, student, teacher)
    torch.testing.assert_close(value_and_gradient(graphs.full_graph_linear, student, teacher), expected)


@pytest.mark.parametrize("form", [graphs.full_graph_linear, graphs.full_graph_direct])
def test_products_stay_in_float32_where_the_process_allows_less(form: Callable[..., Tensor]) -> None:
    """`tf32` and the like are for the models: three digits of a product leave none of a small loss."""
    nodes = unit_nodes(0.5, nodes=512)
    expected = form(*nodes)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(form(*nodes), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_linear_form_keeps_its_gradient_alone_for_the_backward_pass() -> None:
    """The teacher's nodes would otherwise stay in memory through the student's whole backward pass."""
    student, teacher = unit_nodes(0.5)
    student.requires_grad_()
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.shape) or one, lambda one: one):
        graphs.full_graph_linear(student, teacher)
        with torch.no_grad():
            graphs.full_graph_linear(student, teacher)
    assert kept == [student.shape]
