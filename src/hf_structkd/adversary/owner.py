"""The owner of the critic, with its optimiser, schedule and state; it does not depend on a trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed
from torch.optim.lr_scheduler import LRScheduler

from ..losses import adversarial_loss, critic_loss, gradient_penalty
from .critic import Critic
from .score_maps import ScoreMaps

WEIGHTS_FILE = "critic.safetensors"
STATE_FILE = "critic_state.pt"

ADAM_BETAS = (0.9, 0.99)


class Adversary:
    """A critic that is trained beside a student, with one step for each optimiser step of the student.

    For each micro-batch, call `student_loss` (the critic is frozen) and then `accumulate` on the same maps;
    then call `step` once. Every micro-batch of a step meets the same critic, so that the split of a batch
    over accumulation and processes changes nothing. The critic stays in float32 and in eval mode; `step`
    advances the spectral normalisation once.

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
    ) -> None:
        """Take ownership; all processes start with the critic of the first one."""
        self.critic = critic.eval().requires_grad_(False)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.kind = kind
        self.gradient_penalty_weight = gradient_penalty_weight
        self.max_grad_norm = max_grad_norm
        self.seed = seed
        self.steps = 0
        self._micro_steps = 0
        if _world_size() > 1:
            for tensor in critic.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def student_loss(self, maps: ScoreMaps) -> Tensor:
        """Return the student's loss, -E[D(fake)]; its gradient reaches the student alone."""
        return adversarial_loss(self.critic(maps.fake, self._condition(maps)), kind=self.kind)

    def accumulate(self, maps: ScoreMaps, *, micro_steps: int = 1) -> dict[str, Tensor]:
        """Add the critic's gradient of one micro-batch.

        Args:
            maps: The detached maps of the micro-batch.
            micro_steps: The number of micro-batches in this step, which divides the gradient.

        Returns:
            Detached scalars: `critic_loss` (without the penalty), `gradient_penalty` if its weight is not 0,
            and `critic_gap`, the mean score of the teacher's maps minus that of the student's maps.
        """
        self.critic.requires_grad_(True)
        condition = self._condition(maps)
        doubled = None if condition is None else torch.cat([condition, condition])
        fake_scores, real_scores = self.critic(torch.cat([maps.fake, maps.real]), doubled).chunk(2)
        loss = critic_loss(real_scores, fake_scores, kind=self.kind)
        logs = {
            "critic_loss": loss.detach(),
            "critic_gap": (real_scores.mean() - fake_scores.mean()).detach(),
        }
        if self.gradient_penalty_weight > 0:
            penalty = gradient_penalty(
                self.critic, maps.real, maps.fake, condition, eps=self._interpolation(maps.real)
            )
            logs["gradient_penalty"] = penalty.detach()
            loss = loss + self.gradient_penalty_weight * penalty
        (loss / micro_steps).backward()  # type: ignore[no-untyped-call]
        self.critic.requires_grad_(False)
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
        self.scheduler.step()
        self.critic.update_spectral_norms()
        self.steps += 1
        self._micro_steps = 0
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on: `critic`, `optimizer`, `scheduler` and `steps`."""
        return {
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.steps = state["steps"]

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

    def _condition(self, maps: ScoreMaps) -> Tensor | None:
        return maps.images if self.critic.image_channels else None

    def _interpolation(self, maps: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.steps)
        first = (self._micro_steps * _world_size() + _rank()) * maps.shape[0]
        drawn = torch.rand(first + maps.shape[0], generator=generator)[first:]
        return drawn.to(maps.device)


def build_optimizer(
    critic: Critic, *, name: Literal["adam", "sgd"], learning_rate: float
) -> torch.optim.Optimizer:
    """Make the critic's optimiser: Adam with the betas of newer code, or the SGD of the official code."""
    if name == "adam":
        return torch.optim.Adam(critic.parameters(), lr=learning_rate, betas=ADAM_BETAS)
    return torch.optim.SGD(critic.parameters(), lr=learning_rate, momentum=0.9)


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
