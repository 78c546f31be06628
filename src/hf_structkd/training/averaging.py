"""A moving average of the student, which is evaluated and saved in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LIVE_FILE = "structkd_live_student.safetensors"
"""The weights that are trained, in a checkpoint whose student is the average."""


class AveragedStudent(TrainerCallback):
    """Follows the student with an exponential moving average of its weights and buffers.

    A checkpoint's student is the average. What the optimiser goes on with lies beside it.

    Args:
        decay: Share of the past, in [0, 1); 0 keeps no average, and every method then does nothing.
    """

    def __init__(self, decay: float) -> None:
        """Start without an average."""
        self._decay = decay
        self._average: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin an average, unless a checkpoint has brought one."""
        if self._decay and (state.global_step == 0 or self._average is None):
            self._begin(kwargs["model"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add the student as the step has left it; the first one is the average."""
        if self._average is not None:
            self._average.update_parameters(kwargs["model"])
            self._share_if_shown(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let all processes have one average where the end of an epoch asks for it."""
        if self._average is not None:
            self._share_if_shown(control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the average as the student, unless the best one was read back."""
        is_best = args.load_best_model_at_end and state.best_model_checkpoint is not None
        if self._average is not None and not is_best:
            self._share()
            _swap(kwargs["model"], self._average.module)
        self._average = None

    @contextmanager
    def shown(self, student: nn.Module) -> Iterator[None]:
        """Let the student be the average inside the `with` block."""
        average = self._average
        if average is None or not average.n_averaged:
            yield
            return
        _swap(student, average.module)
        try:
            yield
        finally:
            _swap(student, average.module)

    def save(self, folder: str | Path, student: nn.Module) -> None:
        """Write into a checkpoint the weights that are trained."""
        if self._average is not None:
            tensors = {name: value.detach().contiguous() for name, value in _trained(student).items()}
            save_file(tensors, Path(folder) / LIVE_FILE)

    def load(self, folder: str | Path, student: nn.Module) -> None:
        """Go on from a checkpoint, whose student has been read already: the average.

        Raises:
            FileNotFoundError: If the checkpoint lacks the weights that were trained.
        """
        if not self._decay:
            return
        path = Path(folder) / LIVE_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {LIVE_FILE}, so that `ema_decay` cannot go on from it; resume from a "
                "checkpoint that was written with `ema_decay`, or start anew."
            )
        self._begin(student)
        self._average.n_averaged += 1
        saved = load_file(path)
        with torch.no_grad():
            for name, tensor in _trained(student).items():
                tensor.copy_(saved[name])

    def _share_if_shown(self, control: TrainerControl) -> None:
        if control.should_evaluate or control.should_save:
            self._share()

    def _share(self) -> None:
        """Give every process the statistics of the first one, which are those that are saved.

        DDP keeps the weights equal, and the statistics of BatchNorm only until a forward has moved them.
        """
        broadcast([*self._average.module.buffers()])

    def _begin(self, student: nn.Module) -> None:
        self._average = AveragedModel(
            student, multi_avg_fn=get_ema_multi_avg_fn(self._decay), use_buffers=True
        ).requires_grad_(False)


def _trained(student: nn.Module) -> dict[str, Tensor]:
    """Return what training changes of a student, by name."""
    parameters = {name: one for name, one in student.named_parameters() if one.requires_grad}
    return parameters | dict(student.named_buffers())


@torch.no_grad()
def _swap(one: nn.Module, other: nn.Module) -> None:
    """Exchange the values of two models, in the tensors that each of them has."""
    for tensors in (nn.Module.parameters, nn.Module.buffers):
        for mine, theirs in zip(tensors(one), tensors(other), strict=True):
            kept = mine.clone()
            mine.copy_(theirs)
            theirs.copy_(kept)
