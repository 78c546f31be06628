"""One scoring of the maps for student and critic, against two; and a critic that learns now and then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_structkd.adversary import Adversary, ScoreMaps
from hf_structkd.losses import adversarial_loss, critic_loss, gradient_penalty

from .test_adversary import learn, make, maps, weights


def plain(adversary: Adversary, both: ScoreMaps) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the student's loss and gradient and the critic's, each from forwards of its own."""
    critic, fake = adversary.critic, both.fake.detach().clone().requires_grad_()
    loss = adversarial_loss(critic(fake, both.images), kind=adversary.kind)
    (slope,) = torch.autograd.grad(loss, fake)
    critic.requires_grad_(True)
    scores = critic(both.real, both.images), critic(both.fake.detach(), both.images)
    own = critic_loss(*scores, kind=adversary.kind)
    if adversary.gradient_penalty_weight > 0:
        eps = adversary._interpolation(both.real)
        penalty = gradient_penalty(critic, both.real, both.fake, both.images, eps=eps)
        own = own + adversary.gradient_penalty_weight * penalty
    own.backward()
    critic.requires_grad_(False)
    gradients = {name: p.grad.clone() for name, p in critic.named_parameters() if p.grad is not None}
    critic.zero_grad()
    return loss.detach(), slope, gradients


@pytest.mark.parametrize("bias", [0.0, -5.0, "between"])
@pytest.mark.parametrize(("kind", "penalty"), [("wgan-gp", 10.0), ("hinge", 0.0), ("hinge", 3.0)])
def test_one_scoring_equals_one_for_each(kind: str, penalty: float, bias: float | str) -> None:
    """With a bias of -5 the hinge is flat for every fake map, and between for some of the batch.

    The student's gradient is then not minus the critic's.
    """
    adversary, both = make(kind, penalty=penalty), maps()
    with torch.no_grad():
        scores = adversary.critic(both.fake, both.images)
        adversary.critic.score.bias += -1 - scores.median() - 1e-6 if bias == "between" else bias
    loss, slope, gradients = plain(adversary, both)
    fake = both.fake.clone().requires_grad_()
    shared, judgement = adversary.judge(ScoreMaps(both.real, fake, both.images))
    (3 * shared).backward()
    adversary.accumulate(judgement)
    torch.testing.assert_close(shared.detach(), loss)
    torch.testing.assert_close(fake.grad, 3 * slope, rtol=1e-4, atol=1e-8)
    found = {name: p.grad for name, p in adversary.critic.named_parameters()}
    assert found.keys() == gradients.keys()
    torch.testing.assert_close(found, gradients, rtol=1e-4, atol=1e-6)


def play(adversary: Adversary, seeds: range) -> list[bool]:
    learned = []
    for seed in seeds:
        learned.append(adversary.learns)
        if adversary.learns:
            learn(adversary, maps(seed=seed))
            adversary.step()
        else:
            assert torch.isfinite(adversary.student_loss(maps(seed=seed)))
            adversary.skip()
    return learned


def test_an_interval_goes_on_after_a_resume_bit_for_bit(tmp_path: Path) -> None:
    """Else a resumed critic learns in other steps than one that was never stopped."""
    through, first, resumed = make(interval=3), make(interval=3), make(interval=3)
    assert play(through, range(8)) == [True, False, False, True, False, False, True, False]
    play(first, range(5))
    first.save(tmp_path)
    resumed.load(tmp_path)
    assert play(resumed, range(5, 8)) == [False, True, False]
    assert all(torch.equal(value, weights(through)[name]) for name, value in weights(resumed).items())
    rates = [one.optimizer.param_groups[0]["lr"] for one in (through, resumed)]
    assert rates == [pytest.approx(0.05 / 9)] * 2  # the schedule follows the student's eight steps


@pytest.mark.parametrize(
    ("size", "expected"), [((12, 16), (12, 16)), ((16, 33), (8, 16)), ((64, 16), (16, 8)), ((4, 40), (4, 16))]
)
def test_maps_above_the_limit_are_averaged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    both = ScoreMaps(torch.rand(1, 2, *size), torch.rand(1, 2, *size), torch.rand(1, 3, 8, 8))
    smaller = both.at_most(16)
    assert smaller.real.shape == smaller.fake.shape == (1, 2, *expected)
    if size[0] % expected[0] == size[1] % expected[1] == 0:
        torch.testing.assert_close(smaller.fake.mean(), both.fake.mean())
