"""The pixel-wise term of depth, against a loop, and what alignment takes out of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hf_structkd.losses import scale_shift_invariant_loss
from hf_structkd.losses.depth_distillation import depth_distillation_loss


def naive(student: Tensor, teacher: Tensor, counted: Tensor) -> float:
    per_image = []
    for s, t, c in zip(student.double(), teacher.double(), counted, strict=True):
        errors = [abs(s[i] - t[i]).item() for i in map(tuple, c.nonzero().tolist())]
        if errors:
            per_image.append(sum(errors) / len(errors))
    return sum(per_image) / len(per_image)


def test_it_is_the_mean_absolute_difference() -> None:
    student, teacher = 3 * torch.rand(3, 5, 6), 3 * torch.rand(3, 5, 6)
    counted = torch.rand(3, 5, 6) > 0.3
    counted[1] = False
    loss = depth_distillation_loss(student, teacher, mask=counted)
    assert loss.item() == pytest.approx(naive(student, teacher, counted), rel=1e-5)
    every = torch.ones_like(counted)
    assert depth_distillation_loss(student, teacher).item() == pytest.approx(
        naive(student, teacher, every), rel=1e-5
    )


def test_relative_it_does_not_see_the_teachers_scale_and_shift() -> None:
    """They differ from image to image in a relative teacher, and would be taught as depth."""
    student, teacher = 1 + torch.rand(2, 6, 6), torch.rand(2, 6, 6)
    scale, shift = torch.tensor([5.0, 0.1]).view(2, 1, 1), torch.tensor([-3.0, 9.0]).view(2, 1, 1)
    aligned = depth_distillation_loss(student, teacher, relative=True)
    moved = depth_distillation_loss(student, scale * teacher + shift, relative=True)
    torch.testing.assert_close(moved, aligned)
    assert aligned > 0.05
    assert abs(depth_distillation_loss(student, scale * teacher + shift) - aligned) > 0.1


def test_relative_it_is_the_invariant_loss_which_no_constant_and_no_inverted_student_satisfies() -> None:
    """Fitted to the student by least squares, any teacher agreed with a constant one at no cost."""
    teacher = torch.rand(2, 8, 8)
    student = torch.rand(2, 8, 8)
    loss = depth_distillation_loss(student, teacher, relative=True)
    torch.testing.assert_close(loss, scale_shift_invariant_loss(student, teacher))
    costs = [
        depth_distillation_loss(wrong, teacher, relative=True).item()
        for wrong in (2 * teacher + 1, torch.full_like(teacher, 0.5), -teacher)
    ]
    assert costs[0] < 1e-5
    assert 0.5 < costs[1] < costs[2]


@pytest.mark.parametrize("relative", [False, True])
def test_what_is_masked_does_not_count(relative: bool) -> None:
    counted = torch.ones(2, 4, 4, dtype=torch.bool)
    counted[0, :, 2:] = False

    def run(fill: float) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        student = torch.where(counted, torch.rand(2, 4, 4), fill).requires_grad_()
        loss = depth_distillation_loss(
            student, torch.where(counted, torch.rand(2, 4, 4), -fill), relative=relative, mask=counted
        )
        loss.backward()
        assert student.grad is not None
        return loss, student.grad

    (loss, gradient), (loss_too, gradient_too) = run(1.0), run(math.nan)
    assert torch.equal(loss, loss_too)
    assert torch.equal(gradient, gradient_too)
    assert (gradient[~counted] == 0).all()
    assert (gradient[counted] != 0).any()


def test_a_pixel_that_the_teacher_left_open_does_not_count() -> None:
    student, teacher = torch.ones(1, 2, 2, requires_grad=True), torch.zeros(1, 2, 2)
    teacher[0, 0, 0] = math.inf
    loss = depth_distillation_loss(student, teacher)
    loss.backward()
    assert loss.item() == 1
    assert student.grad is not None
    assert student.grad[0, 0, 0] == 0


def test_nothing_counted_is_zero() -> None:
    student = torch.rand(2, 3, 3, requires_grad=True)
    loss = depth_distillation_loss(student, torch.rand(2, 3, 3), mask=torch.zeros(2, 3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="must have the same shape"):
        depth_distillation_loss(torch.rand(1, 4, 4), torch.rand(1, 2, 2))
