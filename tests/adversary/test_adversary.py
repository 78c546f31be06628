"""The critic's owner, without a trainer: whom its steps move, and what its state holds."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from hf_structkd.adversary.critic import Critic
from hf_structkd.adversary.owner import Adversary, build_optimizer
from hf_structkd.adversary.score_maps import ScoreMaps


def make(
    kind: str = "wgan-gp",
    *,
    penalty: float = 10.0,
    clip: float = 0.0,
    images: int = 3,
    optimizer: str = "sgd",
    interval: int = 1,
) -> Adversary:
    torch.manual_seed(0)
    critic = Critic(3, images, widths=(8, 8, 16, 16))
    chosen = build_optimizer(critic, name=optimizer, learning_rate=0.05)
    schedule = LambdaLR(chosen, lambda step: 1 / (1 + step))
    return Adversary(
        critic,
        chosen,
        schedule,
        kind=kind,
        gradient_penalty_weight=penalty,
        max_grad_norm=clip,
        seed=3,
        interval=interval,
    )


def maps(batch: int = 4, seed: int = 1) -> ScoreMaps:
    generator = torch.Generator().manual_seed(seed)
    real, fake = (torch.randn(batch, 3, 12, 16, generator=generator).softmax(1) for _ in range(2))
    return ScoreMaps(real=real, fake=fake, images=torch.randn(batch, 3, 24, 32, generator=generator))


def weights(adversary: Adversary) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in adversary.critic.named_parameters()}


def learn(adversary: Adversary, both: ScoreMaps, **settings: int) -> dict[str, torch.Tensor]:
    return adversary.accumulate(adversary.judge(both)[1], **settings)


def test_the_students_phase_moves_the_student_and_not_the_critic() -> None:
    """Else the critic learns to agree with the student, and the game is lost."""
    adversary, both = make(), maps()
    fake = both.fake.requires_grad_()
    adversary.student_loss(both).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None for p in adversary.critic.parameters())


def test_the_critics_phase_does_not_reach_the_student() -> None:
    """Else every student is also trained to be recognised."""
    adversary, both = make(), maps()
    student = both.fake.clone().requires_grad_()
    learn(adversary, ScoreMaps(both.real, student * 1.0, both.images).detach())
    adversary.step()
    assert student.grad is None


@pytest.mark.parametrize("kind", ["wgan-gp", "hinge"])
def test_steps_widen_the_gap_between_teacher_and_student(kind: str) -> None:
    """Else the sign is upside down and the student is told to look unlike the teacher."""
    adversary, both = make(kind, penalty=0.0, optimizer="adam"), maps()
    gaps = []
    for _ in range(25):
        gaps.append(float(learn(adversary, both)["critic_gap"]))
        adversary.step()
    assert gaps[-1] > gaps[0] + 0.05


def test_micro_steps_add_up_to_the_whole_batch() -> None:
    """Else accumulation multiplies the critic's gradient, and draws other interpolations."""
    whole, split, both = make(), make(), maps(4)
    learn(whole, both)
    whole.step()
    for part in (slice(0, 2), slice(2, 4)):
        part_of = ScoreMaps(both.real[part], both.fake[part], both.images[part])
        learn(split, part_of, micro_steps=2)
    split.step()
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(split)[name], value, rtol=1e-4, atol=1e-7)


def test_the_spectral_norm_advances_once_a_step() -> None:
    """Else how often the critic ran, and so the split of the batch, changes its weights."""
    adversary, both = make(), maps()
    before = copy.deepcopy(dict(adversary.critic.named_buffers()))
    for _ in range(3):
        adversary.student_loss(both)
        learn(adversary, both)
    assert all(torch.equal(value, before[name]) for name, value in adversary.critic.named_buffers())
    adversary.step()
    assert not all(torch.equal(value, before[name]) for name, value in adversary.critic.named_buffers())


def test_the_gradient_is_clipped_to_the_norm() -> None:
    free, clipped, both = make(clip=0.0), make(clip=1e-3), maps()
    start = weights(free)
    for adversary in (free, clipped):
        learn(adversary, both)
        adversary.step()

    def moved(adversary: Adversary) -> float:
        return float(sum(((v - start[n]) ** 2).sum() for n, v in weights(adversary).items()) ** 0.5)

    assert moved(clipped) == pytest.approx(0.05 * 1e-3, rel=1e-3)
    assert moved(free) > 10 * moved(clipped)


def test_gradients_do_not_pile_up_over_steps() -> None:
    """Else the critic walks with the sum of all that it ever saw: norms of 5, 10, 15, 20."""
    adversary, both = make(), maps()
    for _ in range(2):
        learn(adversary, both)
        adversary.step()
        assert all(p.grad is None for p in adversary.critic.parameters())


def test_a_step_moves_the_schedule() -> None:
    adversary = make()
    learn(adversary, maps())
    adversary.step()
    assert adversary.optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


def test_without_a_penalty_none_is_computed() -> None:
    assert "gradient_penalty" not in learn(make(penalty=0.0), maps())
    assert learn(make(penalty=1.0), maps())["gradient_penalty"] > 0


def test_an_unconditional_critic_sees_no_image() -> None:
    adversary, both = make(images=0), maps()
    blind = ScoreMaps(both.real, both.fake, torch.full_like(both.images, torch.nan))
    assert torch.isfinite(adversary.student_loss(blind))
    assert torch.isfinite(learn(adversary, blind)["critic_loss"])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_saved_and_loaded_it_goes_on_bit_for_bit(optimizer: str, tmp_path: Path) -> None:
    """Else a resumed run plays on with a critic that forgot its momentum, its schedule or its draws."""
    through, resumed = make(optimizer=optimizer), make(optimizer=optimizer)
    for seed in range(4):
        if seed == 2:
            through.save(tmp_path)
            resumed.load(tmp_path)
        learn(through, maps(seed=seed))
        through.step()
        if seed >= 2:
            learn(resumed, maps(seed=seed))
            resumed.step()
    assert resumed.steps == through.steps == 4
    for name, value in through.critic.state_dict().items():
        assert torch.equal(resumed.critic.state_dict()[name], value), name


def test_a_folder_without_a_critic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no critic\.safetensors.*`holistic_weight` above 0"):
        make().load(tmp_path)
