"""What a run takes, in lines for people: time, memory, disk."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers.trainer_utils import IntervalStrategy, has_length

from ...training.arguments import StructKDTrainingArguments
from ...training.epoch_lines import duration
from .rehearsal import Rehearsal


class Plan:
    """What the arguments say of a run, read before the doctor changes them.

    Args:
        args: The arguments.
    """

    def __init__(self, args: StructKDTrainingArguments) -> None:
        """Read the arguments."""
        self.images: int = args.train_batch_size * args.gradient_accumulation_steps
        self.threads = torch.get_num_threads()
        self.device: torch.device = args.device
        self.workers: int = args.dataloader_num_workers
        self._strategy, self._eval_steps = args.eval_strategy, args.eval_steps
        self._epochs: float = args.num_train_epochs

    def evaluations(self, steps: int) -> int:
        """Return how often the student is scored, at the end included."""
        if self._strategy == IntervalStrategy.EPOCH:
            return math.ceil(self._epochs) + 1
        if self._strategy == IntervalStrategy.STEPS and self._eval_steps:
            every = self._eval_steps if self._eval_steps >= 1 else math.ceil(self._eval_steps * steps)
            return steps // int(every) + 1
        return 1

    def step_seconds(self, found: Rehearsal) -> float:
        """Return the seconds of a step with the reading of its images, which workers do beside it."""
        reading = found.reading * self.images
        return max(found.step, reading / self.workers) if self.workers else found.step + reading


def time_lines(
    plan: Plan, found: Rehearsal, steps: int | None, validation: Any, *, alone: bool = False
) -> dict[str, str]:
    """Say how long a step and the run take.

    Args:
        plan: What the arguments say.
        found: What was measured.
        steps: The steps of the run; None where nothing tells them.
        validation: The validation data.
        alone: Whether the run also trains the student without a teacher.
    """
    lines = {
        "a step": f"{found.step:.3g} s without reading (median of steps on one batch; {plan.images} "
        f"images, on {plan.device.type}; CPU threads: {plan.threads})",
        "reading": f"{1000 * found.reading:.3g} ms an image in one process; worker processes: {plan.workers}",
    }
    if steps is None:
        return lines
    total = steps * plan.step_seconds(found)
    text = f"{steps} steps, about {duration(total)}"
    if found.evaluation is not None and has_length(validation):
        times = plan.evaluations(steps)
        scoring = times * len(validation) * found.evaluation
        text += f", and about {duration(scoring)} to evaluate {len(validation)} images {times} times"
    if alone:
        text += "; before it the student alone, which takes at most as long again"
    return {**lines, "the run": text}


def cache_line(found: Rehearsal, data: Any) -> dict[str, str]:
    """Say how much room the teacher's answers to all views of the training images take."""
    if not found.answer_bytes:
        return {}
    text = f"{amount(found.answer_bytes)} an answer"
    if not has_length(data):
        return {"teacher cache": text}
    views = getattr(data, "views", None)
    whole = amount(found.answer_bytes * len(data) * (views or 1))
    each = "a view" if views is None else f"for {views} views"
    return {"teacher cache": f"{text}, {whole} {each} of all training images"}


def amount(size: int) -> str:
    """Return bytes for people."""
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size >= 2**power:
            return f"{size / 2**power:.2f} {unit}"
    return f"{size / 2**10:.1f} kiB"
