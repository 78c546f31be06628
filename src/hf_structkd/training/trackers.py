"""What the trackers that `report_to` names get beside Trainer's numbers, and what happens if one fails."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import numpy as np
from PIL import Image
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import INTEGRATION_TO_CALLBACK
from transformers.utils import logging

from ..models.sharding import is_sharded
from ..report.snapshot import draw_snapshot
from .averaging import AveragedStudent

logger = logging.get_logger(__name__)

PICTURE = "eval/predictions"
"""What trackers call the picture."""

_MOST_PICTURES = 100
_EVENTS = [name for name in dir(TrainerCallback) if name.startswith("on_")]

Sender = Callable[[Any, Image.Image, int], None]


def _to_tensorboard(callback: Any, picture: Image.Image, step: int) -> None:
    if callback.tb_writer is not None:
        callback.tb_writer.add_image(PICTURE, np.asarray(picture), step, dataformats="HWC")
        callback.tb_writer.flush()


def _to_module(name: str) -> Sender:
    """Return the sender of a tracker that is a module with `log` and `Image`."""

    def send(callback: Any, picture: Image.Image, step: int) -> None:
        module = importlib.import_module(name)
        module.log({PICTURE: module.Image(picture), "train/global_step": step})

    return send


SENDERS: Mapping[str, Sender] = {
    "tensorboard": _to_tensorboard,
    "trackio": _to_module("trackio"),
    "wandb": _to_module("wandb"),
}
"""Trackers that show pictures, by their names in `report_to`."""


def watch(trainer: Trainer, average: AveragedStudent) -> None:
    """Send pictures to the trackers of a trainer, and let one that fails end in a warning.

    Args:
        trainer: It is just made, with the trackers among its callbacks.
        average: Shows the weights that are evaluated.
    """
    senders: dict[Guard, Callable[[Image.Image, int], None]] = {}
    for name in trainer.args.report_to:
        kind = INTEGRATION_TO_CALLBACK.get(name)
        for callback in trainer.callback_handler.callbacks:
            if type(callback) is not kind:
                continue
            guard = Guard(f"The tracker {name}")
            for event in _EVENTS:
                setattr(callback, event, guard.around(getattr(callback, event)))
            if name in SENDERS:
                senders[guard] = guard.around(partial(SENDERS[name], callback))
    if senders:
        trainer.add_callback(Pictures(trainer, average, senders))


class Guard:
    """Lets what fails be off from then on, with one warning: a tracker is not worth a training.

    Args:
        name: What fails, as the beginning of a sentence.

    Attributes:
        has_failed: Whether it is off.
    """

    def __init__(self, name: str) -> None:
        """Let everything pass."""
        self._name = name
        self.has_failed = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and nothing after the first failure."""

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.has_failed:
                return None
            try:
                return function(*args, **kwargs)
            except Exception as error:
                self.has_failed = True
                said = " ".join(str(error).split())
                logger.warning(
                    "%s failed and gets nothing more of this run, which goes on without it (%s: %s).",
                    self._name,
                    type(error).__name__,
                    said,
                )
                return None

        return guarded


class Pictures(TrainerCallback):
    """Sends one picture of a few validation images after an evaluation, at most a hundred in a training.

    Args:
        trainer: The trainer of the student.
        average: Shows the weights that are evaluated.
        senders: Take the picture and the step, by what guards them.
    """

    def __init__(
        self,
        trainer: Any,
        average: AveragedStudent,
        senders: Mapping[Guard, Callable[[Image.Image, int], None]],
    ) -> None:
        """Wait for an evaluation."""
        self._trainer = trainer
        self._average = average
        self._senders = senders
        self._draw = Guard("The picture of the predictions").around(self._drawn)
        self._sent_at: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Send the first picture of a training whatever was sent before."""
        self._sent_at = None

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw and send, on the first process."""
        step = state.global_step
        is_early = self._sent_at is not None and step - self._sent_at < state.max_steps / _MOST_PICTURES
        if is_early or not state.is_world_process_zero or self._trainer.eval_dataset is None:
            return
        self._sent_at = step
        able = [send for guard, send in self._senders.items() if not guard.has_failed]
        picture = self._draw() if able else None
        if picture is not None:
            for send in able:
                send(picture, step)

    def _drawn(self) -> Image.Image:
        teacher = self._trainer.teacher
        if is_sharded(self._trainer.model) or (teacher is not None and teacher.is_sharded):
            raise ValueError("no picture is drawn of a model that is sharded over several processes")
        with self._average.shown(self._trainer.model):
            return draw_snapshot(self._trainer)
