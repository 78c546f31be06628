"""The modules that terms own: their gradients are zeroed, averaged and clipped here, not by Trainer."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer

from ..adversary.owner import average_gradients
from ..features.forward import Batch, run_model
from ..features.probe import probing
from ..terms import Term, TrainingPlan
from .pair import ModelPair


class TermModules:
    """What terms train with the student: optimised in its optimiser, replicated, saved in checkpoints.

    Args:
        terms: The terms that own modules and are on.
    """

    def __init__(self, terms: Iterable[Term] = ()) -> None:
        """Start without modules; `build` makes them."""
        self.terms = tuple(terms)
        self._is_new_step = True

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return every parameter of the modules."""
        return [parameter for term in self.terms for parameter in term.modules.parameters()]

    def build(
        self, pair: ModelPair, model: nn.Module, batch: Batch, plan: TrainingPlan, active: Sequence[Term]
    ) -> None:
        """Make the modules, for the widths that the two models have on this batch.

        Args:
            pair: The two models.
            model: The student.
            batch: One image.
            plan: The training.
            active: The terms that are on: a cache has the answers that all of them read.
        """
        assert pair.teacher is not None
        if any("features" in term.reads_for(pair.task) for term in self.terms):
            pair.capture_features(model, batch["pixel_values"])
        with probing(model):
            student = run_model(model, pair.task.model_inputs(batch), pair.student_capture)
        teacher = pair.answer(batch, student, active, keep=False)
        for term in self.terms:
            term.build_modules(pair.task, student, teacher, batch, plan)

    def before_backward(self) -> None:
        """Zero the gradients at the first micro-step of a step."""
        if self._is_new_step:
            for parameter in self.parameters:
                parameter.grad = None
        self._is_new_step = False

    def before_step(self) -> None:
        """Average the gradients over the processes, after the last micro-step of a step."""
        self._is_new_step = True
        average_gradients([p for p in self.parameters if p.grad is not None])

    def clip(self, max_grad_norm: float) -> Tensor | None:
        """Clip the gradients to a norm of their own, 0 for no clipping; return the norm before it."""
        parameters = [p for p in self.parameters if p.grad is not None]
        if not parameters:
            return None
        return torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm or float("inf"))


def example_batch(trainer: Trainer) -> dict[str, Any]:
    """Return one training row as a batch, and leave every source of random numbers as it was."""
    rows = trainer.train_dataset
    with _random_states_kept():
        row = rows[0] if hasattr(rows, "__getitem__") else next(iter(rows))
        batch: dict[str, Any] = trainer._prepare_inputs(trainer.data_collator([row]))
        return batch


@contextmanager
def _random_states_kept() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
