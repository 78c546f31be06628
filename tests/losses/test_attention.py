"""Attention transfer is one minus the cosine of the two maps of summed squares, image by image."""

from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from hf_structkd.losses import attention
from hf_structkd.losses.attention import attention_transfer_loss


def maps(channels: int = 3, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_one_minus_the_cosine_of_the_counted_places(masked: bool) -> None:
    student, teacher = maps(3, seed=1, dtype=torch.float64), maps(5, seed=2, dtype=torch.float64)
    mask = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(3)) > (0.4 if masked else -1)
    expected = [
        1 - cosine_similarity(one[:, kept].pow(2).sum(0), other[:, kept].pow(2).sum(0), dim=0).item()
        for one, other, kept in zip(student, teacher, mask, strict=True)
    ]
    loss = attention_transfer_loss(student, teacher, mask=mask if masked else None)
    assert loss.item() == pytest.approx(sum(expected) / 2, abs=1e-12)


def test_what_satisfies_it_is_known() -> None:
    """Sign and scale are free, which the documentation says; a constant map is not."""
    teacher = maps()
    for student in (teacher, -teacher, 100 * teacher, teacher.repeat(1, 2, 1, 1)):
        assert attention_transfer_loss(student, teacher).item() < 1e-6
    assert attention_transfer_loss(torch.full_like(teacher, 0.3), teacher).item() > 0.05
    assert attention_transfer_loss(torch.zeros_like(teacher), teacher).item() == pytest.approx(0.5)


def test_its_gradient_is_that_of_finite_differences() -> None:
    """The maps are divided by their largest value, which must not change the gradient."""
    student, teacher = maps(2, seed=1, dtype=torch.float64), maps(4, seed=2, dtype=torch.float64)
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[0, 0] = False
    assert torch.autograd.gradcheck(
        lambda values: attention_transfer_loss(values, teacher, mask=mask), student.requires_grad_()
    )


def test_large_features_of_half_precision_do_not_overflow() -> None:
    student, teacher = maps(seed=1, dtype=torch.float64), maps(seed=2, dtype=torch.float64)
    expected = attention_transfer_loss(student, teacher)
    found = attention_transfer_loss((1e4 * student).half(), (1e4 * teacher).half())
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert attention_transfer_loss(1e30 * student.float(), 1e30 * teacher.float()).isfinite()


def test_an_image_without_attention_is_not_counted() -> None:
    """A teacher's map of zeros has no pattern, and would add a cost that nothing can lower."""
    student, teacher = maps(seed=1), maps(seed=2)
    alone = attention_transfer_loss(student[:1], teacher[:1])
    teacher[1] = 0
    torch.testing.assert_close(attention_transfer_loss(student, teacher), alone)


def test_other_grids_and_masks_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"on one grid, got .* \(2, 4, 5\) and \(2, 4, 4\); align the grids first"
    ):
        attention_transfer_loss(maps(), maps()[..., :4])
    with pytest.raises(TypeError, match="`mask` must be bool"):
        attention_transfer_loss(maps(), maps(), mask=torch.ones(2, 4, 5))


def test_the_example_of_the_documentation() -> None:
    assert doctest.testmod(attention).failed == 0
