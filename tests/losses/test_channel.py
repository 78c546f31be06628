"""Channel-wise distillation is the KL of each channel's softmax over space."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_structkd.losses import channel
from hf_structkd.losses.channel import channel_distillation_loss


def maps(channels: int = 3, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64)).to(dtype)


def oracle(student: Tensor, teacher: Tensor, temperature: float, mask: Tensor | None = None) -> float:
    """The sum over pixels of p log(p / q) for each channel of each image, by the definition."""
    values = []
    for image in range(len(student)):
        kept = np.ones(student.shape[2:], bool) if mask is None else mask[image].numpy()
        if not kept.any():
            continue
        for one, other in zip(student[image].double().numpy(), teacher[image].double().numpy(), strict=True):
            q, p = (np.exp(side[kept] / temperature) for side in (one, other))
            q, p = q / q.sum(), p / p.sum()
            values.append(sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True)))
    return float(np.mean(values)) * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_mean_divergence_over_space(temperature: float, masked: bool) -> None:
    student, teacher = maps(seed=1), maps(seed=2)
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.4 if masked else None
    loss = channel_distillation_loss(student, teacher, temperature=temperature, mask=mask)
    assert loss.item() == pytest.approx(oracle(student, teacher, temperature, mask), rel=1e-5)


def test_an_offset_is_free_and_constant_and_inverted_students_cost_more_than_the_right_one() -> None:
    """A term that a constant output satisfies teaches nothing while it falls."""
    teacher = maps()
    costs = [
        channel_distillation_loss(student, teacher).item()
        for student in (teacher + 5, torch.zeros_like(teacher), -teacher)
    ]
    assert costs[0] == pytest.approx(0, abs=1e-6)
    assert 0.5 < costs[1] < costs[2]


def test_an_image_without_a_counted_pixel_is_left_out() -> None:
    """Else its zeros dilute the loss of the others, or it is NaN."""
    student, teacher = maps(seed=1), maps(seed=2)
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[1] = False
    both = channel_distillation_loss(student, teacher, mask=mask)
    torch.testing.assert_close(both, channel_distillation_loss(student[:1], teacher[:1]))
    assert channel_distillation_loss(student, teacher, mask=torch.zeros_like(mask)).item() == 0


def test_doubling_the_batch_changes_nothing() -> None:
    student, teacher = maps(seed=1), maps(seed=2)
    twice = channel_distillation_loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice, channel_distillation_loss(student, teacher))


def test_gradients_are_exact() -> None:
    student, teacher = maps(seed=1, dtype=torch.float64).requires_grad_(), maps(seed=2, dtype=torch.float64)
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3)) > 0.4
    assert torch.autograd.gradcheck(
        lambda s: channel_distillation_loss(s, teacher, temperature=2.0, mask=mask), (student,)
    )


def test_the_teacher_gets_no_gradient_and_half_precision_is_enough() -> None:
    student, teacher = maps(seed=1).requires_grad_(), maps(seed=2).requires_grad_()
    channel_distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = channel_distillation_loss(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(channel_distillation_loss(student, teacher).item(), rel=0.02)


def test_what_would_broadcast_is_refused() -> None:
    with pytest.raises(ValueError, match="`student_maps` and `teacher_maps` must have the same shape"):
        channel_distillation_loss(maps(3), maps(1))
    with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
        channel_distillation_loss(maps(), maps(), temperature=0.0)


def test_examples_print_what_they_say() -> None:
    assert doctest.testmod(channel).failed == 0
