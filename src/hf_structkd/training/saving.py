"""`Trainer` with checkpoints that are whole, finite and hold the terms' states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, Trainer

from ..hub.pushing import token_hidden
from ..models.restoring import refuse_without_adapters, restore_weights
from .arguments import StructKDTrainingArguments
from .checkpoints import save_settings
from .distillation import Distillation
from .guard import FiniteGuard
from .manifest import begin_checkpoint, checkpoint_to_resume, list_files, remove_unfinished


class SavingTrainer(Trainer):
    """What `StructKDTrainer` does where Trainer writes and reads checkpoints, and nothing else."""

    args: StructKDTrainingArguments
    distillation: Distillation
    _guard: FiniteGuard
    _settings: dict[str, Any]

    def train(
        self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train as Trainer does; go on from complete checkpoints alone, see `checkpoint_to_resume`."""
        resume = checkpoint_to_resume(resume_from_checkpoint, self.args.output_dir)
        try:
            return super().train(resume, *args, **kwargs)
        finally:
            self.distillation.pair.drop_captures()  # another trainer may have the same teacher

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch, unless all steps are done: a resumed Trainer would do one more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save as Trainer does, but nothing that is not finite; see `FiniteGuard.refuse_to_save`."""
        self._guard.verify(self)
        self._guard.refuse_to_save(self, self.distillation.networks)
        if self.args.should_save:
            begin_checkpoint(Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save a finite student as Trainer does, while `args`, which it pickles, hold no token."""
        self._guard.refuse_to_save(self)
        with token_hidden(self):
            super()._save(output_dir, state_dict)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Write the terms' states and the settings into the checkpoint, before it is rotated or pushed."""
        super()._save_optimizer_and_scheduler(output_dir)
        if not self.args.should_save:
            return
        save_settings({**self._settings, "weights_in_use": self.distillation.weights}, output_dir)
        self.distillation.save(output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        """List the checkpoint's files; Trainer then writes its state, pushes and rotates."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # every process writes a file of its own
        if self.args.should_save:
            list_files(output_dir)
            if self.args.save_total_limit:
                remove_unfinished(Path(output_dir).parent, keep=output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read the terms' states back after Trainer's own."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.distillation.load(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Read the student back into the live model; the wrapper of PEFT is left to Trainer."""
        if isinstance(self.model, PreTrainedModel):
            restore_weights(self.model, resume_from_checkpoint)
        else:
            refuse_without_adapters(resume_from_checkpoint)
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        """Read the best student back in the same way."""
        if isinstance(self.model, PreTrainedModel):
            restore_weights(self.model, str(self.state.best_model_checkpoint))
        else:
            super()._load_best_model()
