"""The owner of the critic, with its optimiser, schedule and state; it does not depend on a trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed
from torch.optim.lr_scheduler import LRScheduler

from ..losses import adversarial_loss, critic_loss, gradient_penalty
from ..losses._common import with_gradient
from .critic import Critic, resize_images
from .score_maps import ScoreMaps

WEIGHTS_FILE = "critic.safetensors"
STATE_FILE = "critic_state.pt"

ADAM_BETAS = (0.9, 0.99)

# Devices on which an optimiser's step is one pass over each weight.
_FUSED = ("cpu", "cuda")


class Judgement(NamedTuple):
    """What the scores of one micro-batch leave for the critic's own step, without graphs.

    Attributes:
        maps: The maps.
        condition: The images at the size of the maps, or None.
        gradients: The gradient of the critic's loss, without the penalty, for each parameter.
        loss: That loss.
        gap: The mean score of the teacher's maps minus that of the student's maps.
    """

    maps: ScoreMaps
    condition: Tensor | None
    gradients: list[Tensor]
    loss: Tensor
    gap: Tensor


class Adversary:
    """A critic that is trained beside a student, with one step for each optimiser step of the student.

    For each micro-batch, call `judge` and then `accumulate` with what it returned; then call `step` once. In
    a step in which the critic does not learn, call `student_loss` and `skip` instead. Every micro-batch of a
    step meets the same critic, so that the split of a batch over accumulation and processes changes nothing.
    The critic stays in float32 and in eval mode; `step` advances the spectral normalisation once.

    Every process has a copy of the critic, and one all-reduce averages the gradient at the step. DDP does not
    wrap the critic, because it would need one wrapped forward around a double backward, and a second trained
    model beside a sharded student.

    Args:
        critic: The network on its device.
        optimizer: The optimiser of the critic's parameters.
        scheduler: The schedule that advances after each critic step.
        kind: "wgan-gp" or "hinge".
        gradient_penalty_weight: The weight of the penalty; 0 leaves it out.
        max_grad_norm: The norm to which the gradient is clipped; 0 switches clipping off.
        seed: The seed of the penalty's interpolation, which also depends on the step and on the place of an
            image in the global batch.
        interval: The critic learns in every so many steps of the student, beginning with the first.
    """

    def __init__(
        self,
        critic: Critic,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler,
        *,
        kind: Literal["wgan-gp", "hinge"],
        gradient_penalty_weight: float,
        max_grad_norm: float,
        seed: int,
        interval: int = 1,
    ) -> None:
        """Take ownership; all processes start with the critic of the first one."""
        self.critic = critic.eval().requires_grad_(False)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.kind = kind
        self.gradient_penalty_weight = gradient_penalty_weight
        self.max_grad_norm = max_grad_norm
        self.seed = seed
        self.interval = interval
        self.steps = 0
        self._turns = 0  # steps of the student
        self._micro_steps = 0
        if _world_size() > 1:
            for tensor in critic.state_dict().values():
                distributed.broadcast(tensor, src=0)

    @property
    def learns(self) -> bool:
        """Whether the critic learns in this step of the student."""
        return self._turns % self.interval == 0

    def student_loss(self, maps: ScoreMaps) -> Tensor:
        """Return the student's loss, -E[D(fake)]; its gradient reaches the student alone."""
        return adversarial_loss(self.critic(maps.fake, self._condition(maps)), kind=self.kind)

    def judge(self, maps: ScoreMaps) -> tuple[Tensor, Judgement]:
        """Score the maps once, for the student and for the critic itself, which is the same for both.

        Both gradients are computed here. Where the critic's loss falls with every score of a fake map as the
        student's rises, which is always so for "wgan-gp", and for "hinge" while no score is below its margin,
        the student's gradient is minus the critic's, and one backward pass gives both. Looking at the margin
        would wait for an accelerator, where "hinge" takes a second pass.

        Returns:
            The value and gradient of `student_loss`, and what `accumulate` takes.
        """
        fake, condition = maps.fake.detach().requires_grad_(), self._condition(maps)
        if condition is not None:
            condition = resize_images(condition, fake)
        with _trainable(self.critic):
            both = None if condition is None else torch.cat([condition, condition])
            fake_scores, real_scores = self.critic(torch.cat([fake, maps.real.detach()]), both).chunk(2)
            loss = critic_loss(real_scores, fake_scores, kind=self.kind)
            value = adversarial_loss(fake_scores, kind=self.kind)
            parameters = list(self.critic.parameters())
            if self._has_one_slope(fake_scores):
                *gradients, slope = torch.autograd.grad(loss, [*parameters, fake])
                slope = -slope
            else:
                (slope,) = torch.autograd.grad(value, fake, retain_graph=True)
                gradients = list(torch.autograd.grad(loss, parameters))
        gap = real_scores.mean() - fake_scores.mean()
        judgement = Judgement(maps.detach(), condition, gradients, loss.detach(), gap.detach())
        return with_gradient(value.detach(), maps.fake, slope), judgement

    def accumulate(self, judgement: Judgement, *, micro_steps: int = 1) -> dict[str, Tensor]:
        """Add the critic's gradient of one micro-batch.

        Args:
            judgement: What `judge` returned for the micro-batch.
            micro_steps: The number of micro-batches in this step, which divides the gradient.

        Returns:
            Detached scalars: `critic_loss` (without the penalty), `gradient_penalty` if its weight is not 0,
            and `critic_gap`, the mean score of the teacher's maps minus that of the student's maps.
        """
        for parameter, gradient in zip(self.critic.parameters(), judgement.gradients, strict=True):
            share = gradient if micro_steps == 1 else gradient / micro_steps
            parameter.grad = share if parameter.grad is None else parameter.grad.add_(share)
        logs = {"critic_loss": judgement.loss, "critic_gap": judgement.gap}
        if self.gradient_penalty_weight > 0:
            maps = judgement.maps
            with _trainable(self.critic):
                eps = self._interpolation(maps.real)
                penalty = gradient_penalty(self.critic, maps.real, maps.fake, judgement.condition, eps=eps)
                share = self.gradient_penalty_weight * penalty / micro_steps
                share.backward()  # type: ignore[no-untyped-call]
            logs["gradient_penalty"] = penalty.detach()
        self._micro_steps += 1
        return logs

    def step(self) -> Tensor:
        """Average the gradient over the processes, clip it, and update the critic and its schedule.

        Returns:
            The gradient's norm before clipping. If it is not finite, the critic has not changed.
        """
        parameters = [p for p in self.critic.parameters() if p.grad is not None]
        average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm or math.inf)
        if not bool(torch.isfinite(norm)):
            return norm
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.critic.update_spectral_norms()
        self.steps += 1
        self._micro_steps = 0
        self.skip()
        return norm

    def skip(self) -> None:
        """Let the schedule go on with a step of the student, also one in which the critic does not learn."""
        self.scheduler.step()
        self._turns += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on: `critic`, `optimizer`, `scheduler`, `steps` and `turns`."""
        return {
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "steps": self.steps,
            "turns": self._turns,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.steps, self._turns = state["steps"], state["turns"]

    def save(self, folder: str | Path) -> None:
        """Write `state_dict` into a folder: the weights as safetensors, the rest beside them."""
        state = self.state_dict()
        weights = {name: tensor.contiguous() for name, tensor in state.pop("critic").items()}
        save_file(weights, Path(folder) / WEIGHTS_FILE)
        torch.save(state, Path(folder) / STATE_FILE)

    def load(self, folder: str | Path) -> None:
        """Read back what `save` wrote.

        Raises:
            FileNotFoundError: If the folder has no critic; a new critic would change the run silently.
        """
        for name in (WEIGHTS_FILE, STATE_FILE):
            if not (Path(folder) / name).is_file():
                raise FileNotFoundError(
                    f"{folder} holds no {name}, so the holistic term cannot resume from it; resume from a "
                    "checkpoint written with `holistic_weight` above 0, or start anew."
                )
        state = torch.load(Path(folder) / STATE_FILE, weights_only=True, map_location="cpu")
        self.load_state_dict({**state, "critic": load_file(Path(folder) / WEIGHTS_FILE)})

    def _has_one_slope(self, fake_scores: Tensor) -> bool:
        """Return whether the critic's loss has the same slope, 1 / B, in every score of a fake map."""
        if self.kind == "wgan-gp":
            return True
        return fake_scores.device.type == "cpu" and bool((fake_scores > -1).all())

    def _condition(self, maps: ScoreMaps) -> Tensor | None:
        return maps.images if self.critic.image_channels else None

    def _interpolation(self, maps: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.steps)
        first = (self._micro_steps * _world_size() + _rank()) * maps.shape[0]
        drawn = torch.rand(first + maps.shape[0], generator=generator)[first:]
        return drawn.to(maps.device)


@contextmanager
def _trainable(critic: Critic) -> Iterator[None]:
    critic.requires_grad_(True)
    try:
        yield
    finally:
        critic.requires_grad_(False)


def build_optimizer(
    critic: Critic, *, name: Literal["adam", "sgd"], learning_rate: float
) -> torch.optim.Optimizer:
    """Make the critic's optimiser: Adam with the betas of newer code, or the SGD of the official code."""
    settings: dict[str, Any] = {"lr": learning_rate, "fused": next(critic.parameters()).device.type in _FUSED}
    if name == "adam":
        return torch.optim.Adam(critic.parameters(), betas=ADAM_BETAS, **settings)
    return torch.optim.SGD(critic.parameters(), momentum=0.9, **settings)


def _world_size() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def average_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Average the gradients over the processes by one all-reduce; every parameter must have a gradient."""
    if _world_size() == 1 or not parameters:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= _world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, averaged in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(averaged.view_as(gradient))
