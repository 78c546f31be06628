"""What the trainer does between Trainer's own events."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .pair import ModelPair


class EpochCallback(TrainerCallback):
    """Tells the training data which epoch it is, so that its augmentation is a function of it.

    With several processes the data loader's sampler keeps the epoch to itself.
    """

    def __init__(self, dataset: Any) -> None:
        """Take the training data; one without `set_epoch` is left alone."""
        self._dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand the epoch on before its first row is read."""
        if hasattr(self._dataset, "set_epoch"):
            self._dataset.set_epoch(int(state.epoch or 0))


class AnswersCallback(TrainerCallback):
    """Writes the teacher's answers that a cache holds in memory, on every process.

    Args:
        pair: Its teacher may have a cache.
    """

    def __init__(self, pair: ModelPair) -> None:
        """Take the pair, because its teacher may be loaded later."""
        self._pair = pair

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write them, so that other processes find them in the next epoch."""
        if self._pair.teacher is not None:
            self._pair.teacher.flush()

    on_save = on_epoch_end
    on_train_end = on_epoch_end
