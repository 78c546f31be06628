"""What the trainer does between Trainer's own events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .best_model import warn_of_undecided
from .distillation import Distillation


class RunCallback(TrainerCallback):
    """Keeps data, cache and best model in step with a run.

    Args:
        dataset: The training data. They learn which epoch it is, because their augmentation is a function of
            it, and with several processes the loader's sampler keeps the epoch to itself.
        distillation: It learns which step comes. Its teacher, which may be loaded later, may have a cache,
            whose answers are written after every epoch: other processes find them in the next one.
    """

    def __init__(self, dataset: Any, distillation: Distillation) -> None:
        """Take what is followed; data without `set_epoch` are left alone."""
        self._dataset = dataset
        self._distillation = distillation

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand the epoch on before its first row is read."""
        if hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(int(state.epoch or 0))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say which step comes, on which the weights in a warm-up depend."""
        self._distillation.begin_step(state.global_step)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the teacher's answers that a cache holds in memory, on every process."""
        teacher = self._distillation.pair.teacher
        if teacher is not None:
            teacher.flush()

    on_save = on_epoch_end
    on_train_end = on_epoch_end

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **kwargs: Any,
    ) -> None:
        """Say where a score cannot tell which model is the best."""
        warn_of_undecided(args, metrics)
