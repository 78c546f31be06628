"""Noticing numbers that are no longer finite before they reach weights or checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..features import unwrap
from .distillation import Distillation
from .manifest import last_checkpoint, what_is_missing


class GuardedRun(Protocol):
    """What the guard reads of a trainer."""

    accelerator: Any
    state: Any
    args: Any
    model: Any
    model_wrapped: Any
    distillation: Distillation

    _save_checkpoint: Callable[..., None]


def non_finite_names(values: Mapping[str, Tensor], accelerator: Accelerator) -> list[str]:
    """Return the names of the scalars that are not finite on some process, the same list on all of them.

    Every process must learn of it: one that stops alone leaves the others waiting in a reduction.
    """
    finite = torch.stack([torch.isfinite(value).float() for value in values.values()])
    finite = accelerator.reduce(finite, reduction="mean")
    if bool((finite == 1).all()):
        return []
    return [name for name, share in zip(values, finite.tolist(), strict=True) if share < 1]


class FiniteGuard:
    """Stops a run whose numbers are no longer finite, and saves what was good."""

    def __init__(self) -> None:
        """Start without a step."""
        self._buffers: dict[str, Tensor] = {}

    def before_step(self, student: nn.Module) -> None:
        """Remember the buffers of before the forward, which moves them."""
        self._buffers = snapshot_buffers(student)

    def stop_unless_finite(self, values: Mapping[str, Tensor], run: GuardedRun) -> None:
        """Save the weights of before this step and raise, if a value is not finite on some process.

        Raises:
            FloatingPointError: It names what turned non-finite, and where the last good weights are.
        """
        device = run.accelerator.device
        scalars = {name: torch.as_tensor(value, device=device) for name, value in values.items()}
        names = non_finite_names(scalars, run.accelerator) if scalars else []
        if names:
            raise FloatingPointError(
                f"{' and '.join(names)} turned non-finite at step {run.state.global_step + 1}; "
                f"{self._save_last_good(run)}; lower the learning rate or that term's weight."
            )

    def refuse_to_save(self, run: GuardedRun, networks: Iterable[nn.Module] = ()) -> None:
        """Raise if the student, or what the terms train beside it, is not finite and would be written.

        A checkpoint of them would take the place of a good one.

        Raises:
            FloatingPointError: It names what is not finite, and the last checkpoint, which was found finite.
        """
        student = are_finite([unwrap(run.model)])
        if not student or not are_finite(networks):
            last = last_checkpoint(run.args.output_dir)
            raise FloatingPointError(
                f"the weights of {'a module of the terms' if student else 'the student'} are not finite "
                f"after step {run.state.global_step} and are not saved; {_where(last)}; lower the learning "
                "rate, or look for what changes the weights beside the optimiser."
            )

    def _save_last_good(self, run: GuardedRun) -> str:
        """Save the weights of before this step, unless they are saved already or spoilt too; say where."""
        student = unwrap(run.model_wrapped)
        restore_buffers(student, self._buffers)
        folder = Path(str(run.args.output_dir)) / f"checkpoint-{run.state.global_step}"
        is_saved = what_is_missing(folder) is None
        run.accelerator.wait_for_everyone()  # before the first process makes the folder
        if not is_saved and are_finite([student, *run.distillation.networks]):
            run._save_checkpoint(run.model_wrapped, trial=None)
            is_saved = True
        if is_saved:
            return f"the weights before it are in {folder}"
        return _where(last_checkpoint(run.args.output_dir))


def _where(last: str | None) -> str:
    return f"the last checkpoint is {last}" if last else "no checkpoint was written before"


def snapshot_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copy the buffers, which a forward in train mode moves (BatchNorm's statistics and its count)."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@torch.no_grad()
def restore_buffers(model: nn.Module, snapshot: Mapping[str, Tensor]) -> None:
    """Put back what `snapshot_buffers` copied."""
    for name, buffer in model.named_buffers():
        if name in snapshot:
            buffer.copy_(snapshot[name])


def are_finite(models: Iterable[nn.Module]) -> bool:
    """Return whether every floating-point weight and buffer of the models is finite."""
    tensors = (tensor for model in models for tensor in model.state_dict().values())
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())
