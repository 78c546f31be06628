"""Noticing numbers that are no longer finite before they reach weights or checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from ..features import unwrap
from ..models.sharding import anywhere, is_sharded, local
from .distillation import Distillation
from .manifest import last_checkpoint, what_is_missing


class FiniteGuard:
    """Stops a run whose numbers are no longer finite, and keeps what was good.

    On a CPU it looks before every step of the optimiser, where looking costs nothing, and saves the weights
    of before that step. On an accelerator the answer stays on the device until the run waits anyway, at a
    logging step or before a checkpoint: weights may be spoilt by then, but are never written.

    Args:
        distillation: Its terms train networks beside the student, and are saved with it.
        at_once: Whether it looks before every step.
    """

    def __init__(self, distillation: Distillation, *, at_once: bool) -> None:
        """Start without a step."""
        self._distillation = distillation
        self.at_once = at_once
        self.begin()

    def begin(self) -> None:
        """Forget what an earlier training left."""
        self._buffers: dict[str, Tensor] = {}
        self._finite: dict[str, Tensor] = {}
        self._known_good: int | None = None
        self._is_new_step = True

    def before_micro_step(self, run: Trainer) -> None:
        """Remember the buffers of before a step, which its forwards move."""
        if self._known_good is None:
            self._known_good = run.state.global_step
        if self._is_new_step and self.at_once:
            buffers = unwrap(run.model_wrapped).named_buffers()
            self._buffers = {name: buffer.clone() for name, buffer in buffers}
        self._is_new_step = False

    def watch(self, values: Mapping[str, Any], run: Trainer) -> None:
        """Take note of values, by what they are, without waiting for the device."""
        for name, value in values.items():
            finite = torch.isfinite(torch.as_tensor(value, device=run.accelerator.device)).all()
            self._finite[name] = self._finite[name] & finite if name in self._finite else finite

    def before_optimizer(self, run: Trainer) -> None:
        """Where it looks at once: save the weights of before this step and raise, unless all is finite.

        Raises:
            FloatingPointError: It names what turned non-finite, and where the last good weights are.
        """
        self._is_new_step = True
        names = self._non_finite(run) if self.at_once else []
        if names:
            raise FloatingPointError(
                f"{' and '.join(names)} turned non-finite at step {run.state.global_step + 1}; "
                f"{self._save_last_good(run)}; lower the learning rate or that term's weight."
            )

    def verify(self, run: Trainer) -> None:
        """Raise if anything that was watched since the last look was not finite; every process calls it.

        Raises:
            FloatingPointError: It names what turned non-finite, and the last checkpoint.
        """
        names = self._non_finite(run)
        if names:
            raise FloatingPointError(
                f"{' and '.join(names)} turned non-finite after step {self._known_good} and before step "
                f"{run.state.global_step + 1}; {_where(last_checkpoint(run.args.output_dir))}; lower the "
                "learning rate or that term's weight."
            )
        self._known_good = run.state.global_step

    def _non_finite(self, run: Trainer) -> list[str]:
        """Return the names of what was not finite on some process, the same list on all of them; then forget.

        Every process must learn of it: one that stops alone leaves the others waiting in a reduction.
        """
        names = list(self._finite)
        if not names:
            return []
        shares = run.accelerator.reduce(torch.stack([*self._finite.values()]).float(), reduction="mean")
        self._finite.clear()
        return [name for name, share in zip(names, shares.tolist(), strict=True) if share < 1]

    def watch_gradients(self, norm: Any, run: Trainer, *, max_grad_norm: float) -> None:
        """Clip the gradients of the terms' modules; take note of their norm and of the student's, `norm`."""
        others = self._distillation.modules.clip(max_grad_norm)
        norms = {"the student's gradient": norm, "the gradient of the terms' modules": others}
        # In fp16 such gradients are the scaler's daily business: it skips their step.
        if run.accelerator.scaler is None:
            self.watch({name: n for name, n in norms.items() if n is not None}, run)
        self.before_optimizer(run)

    def before_checkpoint(self, run: Trainer) -> None:
        """Raise unless all that was watched, the student and the terms' networks are finite."""
        self.verify(run)
        self.refuse_to_save(run, self._distillation.networks)

    def refuse_to_save(self, run: Trainer, networks: Iterable[nn.Module] = ()) -> None:
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

    def _save_last_good(self, run: Trainer) -> str:
        """Save the weights of before this step, unless they are saved already or spoilt too; say where."""
        student = unwrap(run.model_wrapped)
        with torch.no_grad():
            for name, buffer in student.named_buffers():
                buffer.copy_(self._buffers.get(name, buffer))
        folder = Path(str(run.args.output_dir)) / f"checkpoint-{run.state.global_step}"
        is_saved = what_is_missing(folder) is None
        run.accelerator.wait_for_everyone()  # before the first process makes the folder
        if not is_saved and are_finite([student, *self._distillation.networks]):
            run._save_checkpoint(run.model_wrapped, trial=None)
            is_saved = True
        if is_saved:
            return f"the weights before it are in {folder}"
        return _where(last_checkpoint(run.args.output_dir))


def _where(last: str | None) -> str:
    return f"the last checkpoint is {last}" if last else "no checkpoint was written before"


def are_finite(models: Iterable[nn.Module]) -> bool:
    """Return whether every floating-point weight and buffer of the models is finite, on all processes."""
    models = list(models)
    tensors = (local(tensor) for model in models for tensor in model.state_dict().values())
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())
    for model in filter(is_sharded, models):  # another process may hold the part that is not finite
        finite = not anywhere(not finite, next(model.parameters()).device)
    return finite
