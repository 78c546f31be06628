"""The holistic term: a critic tells the teacher's maps from the student's, and the student learns from it."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..adversary import Adversary, Critic
from ..adversary.critic import SMALLEST_MAP
from ..adversary.owner import Judgement, build_optimizer
from ..features.forward import Batch, Forward
from ..models.parameters import count_parameters
from ..tasks import Task
from .base import Term, TrainingPlan, check_choice, check_number


@dataclass(eq=False)
class HolisticTerm(Term):
    """A critic's judgement of how unlike the teacher's maps the student's maps are (TPAMI 2020, eq. (6)-(8)).

    The critic is trained in alternation with the student. Its gradient is accumulated after every backward of
    the student, and it steps once for each optimiser step, or for each `critic_interval` of them.

    Args:
        weight: The weight of the student's loss, as in `Term`.
        critic_loss: "wgan-gp" (as in the paper) or "hinge" (more stable).
        critic_learning_rate: The critic's highest learning rate, > 0; it follows the run's schedule.
        critic_optimizer: "adam" (betas 0.9 and 0.99) or "sgd" (momentum 0.9).
        critic_max_grad_norm: The norm to which the critic's gradient is clipped; 0 switches clipping off.
        critic_conditional: Whether the critic sees the image with the map (as in the paper) or only the map.
        critic_spectral_norm: Whether the critic's convolutions are spectrally normalised.
        gradient_penalty_weight: The weight of the critic's gradient penalty, >= 0; 0 leaves it out.
        critic_interval: The critic learns, and its penalty is computed, in every so many steps, >= 1.
        critic_map_size: The longest side of the critic's maps, >= 8; larger maps are averaged.
    """

    name: ClassVar[str] = "holistic"
    title: ClassVar[str] = "holistic term"
    compares: ClassVar[str] = "whole outputs, which a critic tries to tell apart"
    default_weight: ClassVar[float] = 0.1
    reads_probabilities: ClassVar[bool] = True
    log_titles: ClassVar[dict[str, str]] = {
        "critic_loss": "critic loss",
        "critic_gap": "critic gap",
        "gradient_penalty": "gradient penalty",
    }

    _: KW_ONLY
    critic_loss: Literal["wgan-gp", "hinge"] = "hinge"
    critic_learning_rate: float = 4e-4
    critic_optimizer: Literal["adam", "sgd"] = "adam"
    critic_max_grad_norm: float = 1.0
    critic_conditional: bool = True
    critic_spectral_norm: bool = True
    gradient_penalty_weight: float = 0.0
    critic_interval: int = 1
    critic_map_size: int = 128
    adversary: Adversary | None = field(default=None, init=False, repr=False)
    _judgement: Judgement | None = field(default=None, init=False, repr=False)
    _is_stepping: bool = field(default=False, init=False, repr=False)

    def check(self) -> None:
        """Check the critic's settings too."""
        super().check()
        check_choice("critic_loss", self.critic_loss, ("wgan-gp", "hinge"))
        check_choice("critic_optimizer", self.critic_optimizer, ("adam", "sgd"))
        check_number("critic_learning_rate", self.critic_learning_rate, minimum=0.0, exclusive=True)
        check_number("critic_max_grad_norm", self.critic_max_grad_norm, minimum=0.0)
        check_number("gradient_penalty_weight", self.gradient_penalty_weight, minimum=0.0)
        for name, minimum in (("critic_interval", 1), ("critic_map_size", SMALLEST_MAP)):
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise ValueError(f"`{name}` must be an integer of at least {minimum}, got {value!r}.")

    def default_weight_for(self, task: Task) -> float:
        """Return 0 for tasks whose maps are not bounded as probabilities are.

        For such maps the critic's gradient is far above the others: the paper's 0.1 ruins a small depth
        student, and 0.01 does neither harm nor good (docs/results.md).
        """
        return self.default_weight if task.score_maps_are_bounded else 0.0

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the student's adversarial loss."""
        assert teacher is not None
        assert self.adversary is not None
        maps = task.score_maps(student, teacher, batch).at_most(self.critic_map_size)
        self._is_stepping = True
        if not self.adversary.learns:
            return self.adversary.student_loss(maps)
        loss, self._judgement = self.adversary.judge(maps)
        return loss

    @property
    def is_ready(self) -> bool:
        """Whether there is a critic."""
        return self.adversary is not None

    def begin(self, task: Task, plan: TrainingPlan) -> None:
        """Make a new critic with its optimiser and schedule."""
        # The critic has its own generator, so that the student's random numbers are the same without it.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(plan.seed)
            critic = Critic(
                task.score_map_channels,
                image_channels=3 if self.critic_conditional else 0,
                spectral_norm=self.critic_spectral_norm,
            ).to(plan.device)
        optimizer = build_optimizer(
            critic, name=self.critic_optimizer, learning_rate=self.critic_learning_rate
        )
        self.adversary = Adversary(
            critic,
            optimizer,
            plan.scheduler(optimizer),
            kind=self.critic_loss,
            gradient_penalty_weight=self.gradient_penalty_weight,
            max_grad_norm=self.critic_max_grad_norm,
            seed=plan.seed,
            interval=self.critic_interval,
        )

    @property
    def networks(self) -> list[nn.Module]:
        """The critic, if it exists."""
        return [] if self.adversary is None else [self.adversary.critic]

    def after_backward(self, *, micro_steps: int) -> dict[str, Tensor]:
        """Add the critic's gradient of the micro-batch that the critic has just scored."""
        if self.adversary is None or self._judgement is None:
            return {}
        judgement, self._judgement = self._judgement, None
        return self.adversary.accumulate(judgement, micro_steps=micro_steps)

    def step(self) -> dict[str, Tensor]:
        """Let the critic step; before it, every micro-batch of the step has met the same critic."""
        if self.adversary is None or not self._is_stepping:
            return {}
        self._is_stepping = False
        if not self.adversary.learns:
            self.adversary.skip()
            return {}
        return {"the critic's gradient": self.adversary.step()}

    def end(self) -> None:
        """Drop the critic of an earlier training."""
        self.adversary, self._judgement, self._is_stepping = None, None, False

    def save(self, folder: str | Path) -> None:
        """Write the critic, its optimiser, its schedule and the number of its steps."""
        if self.adversary is not None:
            self.adversary.save(folder)

    def load(self, folder: str | Path) -> None:
        """Read the critic back; see `Adversary.load`."""
        if self.adversary is not None:
            self.adversary.load(folder)

    def extra_bytes(self, task: Task, student: Forward, teacher: Forward, batch: Batch, images: int) -> int:
        """Count the critic with its gradient and two moments, and the maps that it sees."""
        if self.adversary is None:
            return 0
        maps = task.score_maps(student, teacher, batch).at_most(self.critic_map_size)
        return 4 * 4 * count_parameters(self.adversary.critic) + 2 * images * (
            maps.real.nbytes + maps.fake.nbytes
        )
