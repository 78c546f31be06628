"""The adversarial functions against a loop, the gradient penalty against exact values, and their errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hf_structkd.losses import CriticLossKind, adversarial_loss, critic_loss, gradient_penalty
from tests.losses import oracles

KINDS: list[CriticLossKind] = ["wgan-gp", "hinge"]


def linear_critic(norm: float, dtype: torch.dtype = torch.float32) -> Callable[[Tensor], Tensor]:
    weight = torch.randn(3, 4, 5, dtype=dtype)
    weight *= norm / weight.norm()
    return lambda maps: (maps * weight).sum(dim=(1, 2, 3))


class TinyCritic(nn.Module):
    """A smooth critic of map and condition, differentiable any number of times."""

    def __init__(self) -> None:
        super().__init__()
        self.map_weight = nn.Parameter(torch.randn(3, 4, 5))
        self.condition_weight = nn.Parameter(torch.randn(()))

    def forward(self, maps: Tensor, condition: Tensor | None = None) -> Tensor:
        inner = (maps * self.map_weight).sum(dim=(1, 2, 3))
        if condition is not None:
            inner = inner + self.condition_weight * condition.mean(dim=(1, 2, 3))
        return inner.sin()


@pytest.mark.parametrize("kind", KINDS)
def test_critic_loss_equals_the_loop(kind: CriticLossKind) -> None:
    real, fake = 2 * torch.randn(5, dtype=torch.float64), 2 * torch.randn(4, dtype=torch.float64)
    expected = oracles.critic_loss(real, fake, kind)
    assert critic_loss(real, fake, kind=kind).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_doubling_the_batch_changes_nothing(kind: CriticLossKind) -> None:
    real, fake = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(
        critic_loss(real.repeat(2), fake.repeat(2), kind=kind), critic_loss(real, fake, kind=kind)
    )
    torch.testing.assert_close(adversarial_loss(fake.repeat(2), kind=kind), adversarial_loss(fake, kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_critic_raises_real_scores_and_student_raises_its_own(kind: CriticLossKind) -> None:
    """A sign turned round makes the student run away from the teacher, with a healthy-looking loss curve."""
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    real_gradient, fake_gradient = torch.autograd.grad(critic_loss(real, fake, kind=kind), [real, fake])
    assert (real_gradient < 0).all()
    assert (fake_gradient > 0).all()
    (student_gradient,) = torch.autograd.grad(adversarial_loss(fake, kind=kind), fake)
    assert (student_gradient < 0).all()


def test_hinge_critic_stops_at_the_margin() -> None:
    assert critic_loss(torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -3.0]), kind="hinge").item() == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_losses_gradcheck(kind: CriticLossKind) -> None:
    real, fake = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda r, f: critic_loss(r, f, kind=kind), (real, fake))
    assert torch.autograd.gradcheck(lambda f: adversarial_loss(f, kind=kind), fake)


@pytest.mark.parametrize("kind", KINDS)
def test_half_scores_are_averaged_in_float32(kind: CriticLossKind) -> None:
    """In float16 a score of 2049 cannot be held, and 1 + score loses the margin."""
    scores = torch.tensor([2048.0, 1.0], dtype=torch.float16)
    assert adversarial_loss(scores, kind=kind).item() == -1024.5
    loss = critic_loss(-scores, scores, kind=kind)
    assert loss.dtype == torch.float32
    assert loss.item() == oracles.critic_loss(-scores.double(), scores.double(), kind)


@pytest.mark.parametrize(("norm", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_penalty_of_a_linear_critic_is_exact(norm: float, expected: float) -> None:
    """(norm - 1)^2; a norm over the batch instead of per sample would give sqrt(B) times the norm."""
    real, fake = torch.randn(6, 3, 4, 5), torch.randn(6, 3, 4, 5)
    penalty = gradient_penalty(linear_critic(norm), real, fake)
    assert penalty.item() == pytest.approx(expected, abs=2e-5)


def test_penalty_equals_a_per_sample_finite_difference() -> None:
    """An oracle without autograd: the slope at each interpolate, one coordinate at a time."""
    critic = TinyCritic().double()
    real, fake = (torch.randn(2, 3, 4, 5, dtype=torch.float64) for _ in range(2))
    condition = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    eps = torch.tensor([0.25, 0.9], dtype=torch.float64)
    total, step = 0.0, 1e-6
    with torch.no_grad():
        for b in range(2):
            mixed = eps[b] * real[b : b + 1] + (1 - eps[b]) * fake[b : b + 1]
            squares = 0.0
            for place in range(mixed.numel()):
                bump = torch.zeros_like(mixed).view(-1)
                bump[place] = step
                bump = bump.view_as(mixed)
                here = condition[b : b + 1]
                slope = (critic(mixed + bump, here) - critic(mixed - bump, here)).item() / (2 * step)
                squares += slope**2
            total += (math.sqrt(squares) - 1) ** 2 / 2
    assert gradient_penalty(critic, real, fake, condition, eps=eps).item() == pytest.approx(total, rel=1e-6)


def test_eps_is_the_share_of_the_real_map() -> None:
    seen: list[Tensor] = []

    def critic(maps: Tensor) -> Tensor:
        seen.append(maps.detach())
        return maps.sum(dim=(1, 2, 3))

    real, fake = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    gradient_penalty(critic, real, fake, eps=torch.tensor([1.0, 0.0, 0.5]))
    torch.testing.assert_close(seen[0], torch.stack([real[0], fake[1], (real[2] + fake[2]) / 2]))


def test_eps_is_drawn_per_sample_within_the_unit_interval() -> None:
    """One draw for the whole batch would probe a single slice between the two distributions."""
    seen: list[Tensor] = []

    def critic(maps: Tensor) -> Tensor:
        seen.append(maps.detach())
        return maps.sum(dim=(1, 2, 3))

    gradient_penalty(critic, torch.ones(64, 1, 2, 2), torch.zeros(64, 1, 2, 2))
    shares = seen[0].flatten(1)
    assert (shares == shares[:, :1]).all()
    assert shares[:, 0].unique().numel() > 32
    assert 0 <= shares.min() < 0.2
    assert 0.8 < shares.max() <= 1


def test_penalty_trains_the_critic_and_nothing_else() -> None:
    """Without the kept graph the penalty is a constant; without the detach it would train the student."""
    critic = TinyCritic()
    real, fake, condition = (torch.randn(2, 3, 4, 5, requires_grad=True) for _ in range(3))
    gradient_penalty(critic, real, fake, condition).backward()
    for parameter in critic.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    assert real.grad is None
    assert fake.grad is None
    assert condition.grad is None


def test_penalty_has_a_correct_second_derivative() -> None:
    """The critic learns from the gradient of a gradient, which gradcheck does not reach by itself."""
    real, fake = (torch.randn(2, 1, 2, 2, dtype=torch.float64) for _ in range(2))
    eps = torch.tensor([0.3, 0.6], dtype=torch.float64)

    def penalty(weight: Tensor) -> Tensor:
        return gradient_penalty(lambda maps: (maps * weight).sum(dim=(1, 2, 3)).sin(), real, fake, eps=eps)

    assert torch.autograd.gradcheck(penalty, torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True))


def test_penalty_is_finite_where_the_critic_is_flat() -> None:
    """sqrt has an infinite slope at 0: the NaN reports of the paper's repository."""
    weight = torch.zeros(3, 4, 5, requires_grad=True)
    penalty = gradient_penalty(
        lambda maps: (maps * weight).sum(dim=(1, 2, 3)), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    )
    penalty.backward()
    assert penalty.item() == pytest.approx(1.0, abs=1e-5)
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_penalty_under_autocast_is_computed_in_float32() -> None:
    weight = torch.randn(3, 4)
    real, fake = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    eps = torch.tensor([0.2, 0.7])

    def critic(maps: Tensor) -> Tensor:
        return (maps.mean(dim=3).flatten(1) @ weight.flatten()[:, None]).square().sum(dim=1)

    expected = gradient_penalty(critic, real, fake, eps=eps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = gradient_penalty(critic, real.bfloat16(), fake.bfloat16(), eps=eps)
        same = gradient_penalty(critic, real, fake, eps=eps)
    assert penalty.dtype == torch.float32
    assert torch.equal(same, expected)


def test_rejects_unknown_kind() -> None:
    """A silent fallback would train another objective than the one that was asked for."""
    scores = torch.zeros(2)
    message = re.escape("`kind` must be one of ('wgan-gp', 'hinge'), got 'wgan'")
    with pytest.raises(ValueError, match=message):
        critic_loss(scores, scores, kind="wgan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        adversarial_loss(scores, kind="wgan")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (2, 1), (2, 1, 4, 4), (0,)])
def test_rejects_scores_that_are_not_one_per_sample(shape: tuple[int, ...]) -> None:
    good, bad = torch.zeros(2), torch.zeros(shape)
    with pytest.raises(ValueError, match="`real_scores` must hold one score per sample"):
        critic_loss(bad, good, kind="hinge")
    with pytest.raises(ValueError, match="`fake_scores` must hold one score per sample"):
        critic_loss(good, bad, kind="hinge")
    with pytest.raises(ValueError, match="`fake_scores` must hold one score per sample"):
        adversarial_loss(bad, kind="hinge")


def test_penalty_rejects_critics_without_one_score_per_sample() -> None:
    with pytest.raises(ValueError, match=re.escape("`critic(map)` must hold one score per sample")):
        gradient_penalty(lambda maps: maps.sum(), torch.ones(2, 1, 2, 2), torch.ones(2, 1, 2, 2))


def test_penalty_rejects_inputs_that_do_not_fit() -> None:
    critic, maps = linear_critic(1.0), torch.ones(2, 3, 4, 5)
    with pytest.raises(ValueError, match="`real` and `fake` must have the same shape"):
        gradient_penalty(critic, maps, maps[:1])
    with pytest.raises(ValueError, match="`real` must be non-empty with axes"):
        gradient_penalty(critic, maps[0], maps[0])
    with pytest.raises(TypeError, match="`fake` must be floating point"):
        gradient_penalty(critic, maps, maps.long())
    with pytest.raises(ValueError, match="`condition` must hold one entry per map"):
        gradient_penalty(critic, maps, maps, maps[:1])
    with pytest.raises(ValueError, match=re.escape("`eps` must have shape (B,) = (2,), got (2, 1, 1, 1)")):
        gradient_penalty(critic, maps, maps, eps=torch.ones(2, 1, 1, 1))
