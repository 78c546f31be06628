"""What the trainer does between Trainer's own events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .best_model import warn_of_undecided
from .pair import ModelPair


class RunCallback(TrainerCallback):
    """Keeps data, cache and best model in step with a run.

    Args:
        dataset: The training data. They learn which epoch it is, because their augmentation is a function of
            it, and with several processes the loader's sampler keeps the epoch to itself.
        pair: Its teacher, which may be loaded later, may have a cache. Its answers are written after every
            epoch, so that other processes find them in the next one.
    """

    def __init__(self, dataset: Any, pair: ModelPair) -> None:
        """Take what is followed; data without `set_epoch` are left alone."""
        self._dataset = dataset
        self._pair = pair

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand the epoch on before its first row is read."""
        if hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(int(state.epoch or 0))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the teacher's answers that a cache holds in memory, on every process."""
        if self._pair.teacher is not None:
            self._pair.teacher.flush()

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
