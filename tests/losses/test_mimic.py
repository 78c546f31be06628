"""Feature imitation is one minus Pearson's correlation, channel by channel and image by image."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_structkd.losses import mimic
from hf_structkd.losses.mimic import feature_imitation_loss


def maps(channels: int = 3, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64).to(dtype)


def oracle(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> float:
    """numpy's correlation coefficient, one channel of one image after the other."""
    values = []
    for image in range(len(student)):
        kept = np.ones(student.shape[2:], bool) if mask is None else mask[image].numpy()
        for one, other in zip(student[image].double().numpy(), teacher[image].double().numpy(), strict=True):
            if other[kept].std() > 0:
                values.append(1 - np.corrcoef(one[kept], other[kept])[0, 1])
    return float(np.mean(values))


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_one_minus_the_mean_correlation(masked: bool) -> None:
    student, teacher = maps(seed=1), maps(seed=2)
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.4 if masked else None
    loss = feature_imitation_loss(student, teacher, mask=mask)
    assert loss.item() == pytest.approx(oracle(student, teacher, mask), abs=1e-6)


def test_half_the_squared_difference_of_normalised_channels_is_the_same() -> None:
    """The paper writes the loss so; the two forms are equal only with the biased variance."""
    student, teacher = maps(seed=1, dtype=torch.float64), maps(seed=2, dtype=torch.float64)

    def normalised(values: Tensor) -> Tensor:
        mean, std = values.mean(dim=(2, 3), keepdim=True), values.std(dim=(2, 3), keepdim=True, correction=0)
        return (values - mean) / std

    expected = (normalised(student) - normalised(teacher)).square().mean() / 2
    torch.testing.assert_close(feature_imitation_loss(student, teacher), expected)


def test_right_constant_and_inverted_students_cost_0_1_and_2() -> None:
    """A term that a constant output satisfies teaches nothing while it falls."""
    teacher = maps()
    for student, cost in ((3 * teacher + 7, 0.0), (torch.full_like(teacher, 0.3), 1.0), (-teacher, 2.0)):
        assert feature_imitation_loss(student, teacher).item() == pytest.approx(cost, abs=1e-6)


def test_a_dead_channel_of_the_teacher_is_not_counted() -> None:
    """It draws no pattern, and would add a cost of 1 that nothing can lower."""
    student, teacher = maps(seed=1), maps(seed=2)
    teacher[:, 1] = 0.7
    loss = feature_imitation_loss(student.requires_grad_(), teacher)
    assert loss.item() == pytest.approx(oracle(student.detach(), teacher), abs=1e-6)
    loss.backward()
    assert not student.grad[:, 1].any()
    assert feature_imitation_loss(student, torch.zeros_like(teacher)).item() == 0


def test_splitting_the_batch_changes_nothing() -> None:
    """Else accumulation and processes change the loss, as normalising over the batch would."""
    student, teacher = maps(seed=1), maps(seed=2)
    parts = [feature_imitation_loss(student[i : i + 1], teacher[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(torch.stack(parts).mean(), feature_imitation_loss(student, teacher))


def test_gradients_are_exact() -> None:
    student, teacher = maps(seed=1, dtype=torch.float64).requires_grad_(), maps(seed=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: feature_imitation_loss(s, teacher), (student,))


def test_the_teacher_gets_no_gradient_and_half_precision_is_enough() -> None:
    student, teacher = maps(seed=1).requires_grad_(), maps(seed=2).requires_grad_()
    feature_imitation_loss(student, teacher).backward()
    assert teacher.grad is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = feature_imitation_loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(feature_imitation_loss(student, teacher).item(), abs=0.02)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`student_features` and `teacher_features` must have the same shape"
    ):
        feature_imitation_loss(maps(3), maps(4))
    with pytest.raises(TypeError, match="`mask` must be bool"):
        feature_imitation_loss(maps(), maps(), mask=torch.ones(2, 4, 5))


def test_examples_print_what_they_say() -> None:
    assert doctest.testmod(mimic).failed == 0
