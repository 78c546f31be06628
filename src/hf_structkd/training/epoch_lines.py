"""What a person sees on the console while a student trains: a line an epoch, with the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from transformers import TrainingArguments as Arguments

from ..metrics import AGREEMENT
from ..report import Headline
from .distillation import Distillation

_SILENCE = 60.0
"""Seconds after which a long epoch says how far it is, the next time that values are logged."""

_HALF = 0.5


def show_epochs(trainer: Trainer, distillation: Distillation) -> None:
    """Let lines take the place of the dictionaries that Trainer prints; a notebook keeps a short table.

    The bar stays where stderr is a terminal: in a file it would be a line of its own ten times a second.

    Args:
        trainer: It is just made, so that the callback of its progress comes last.
        distillation: Knows the terms.
    """
    callbacks = trainer.callback_handler.callbacks
    lines = EpochLines(distillation, trainer.accelerator)
    if type(callbacks[-1]) is ProgressCallback:
        callbacks[-1:] = [QuietBar(), lines] if sys.stderr.isatty() else [lines]
    elif type(callbacks[-1]) is PrinterCallback:
        callbacks[-1:] = [lines]
    else:
        shorten_table(callbacks[-1], distillation)


def shorten_table(table: TrainerCallback, distillation: Distillation) -> None:
    """Let the table of a notebook show the loss, the terms and the headline, without the score of each class.

    Args:
        table: Trainer's callback, which makes a column of every metric it is given.
        distillation: Knows the terms and the task.
    """
    show = table.on_evaluate

    def on_evaluate(
        args: Arguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **kwargs: Any,
    ) -> None:
        headline, start = distillation.pair.task.headline, _start_of(metrics)
        further = [name for name, _ in headline.further]
        names = [start + name for name in ("loss", headline.metric, AGREEMENT + headline.metric, *further)]
        scores = {name: metrics[name] for name in names if name in metrics}
        is_known = any(name.endswith(headline.metric) for name in scores)
        last: Mapping[str, float] = next((log for log in reversed(state.log_history) if "loss" in log), {})
        terms = {f"term_{name}": value for name, value in distillation.terms_of(last).items()}
        show(args, state, control, metrics={**terms, **(scores if is_known else metrics)}, **kwargs)

    table.on_evaluate = on_evaluate


class QuietBar(ProgressCallback):
    """Trainer's bar without the dictionaries, which starts where a checkpoint left off."""

    def on_train_begin(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Open the bar; steps of before are not counted into its pace."""
        super().on_train_begin(args, state, *rest, **kwargs)
        self.current_step = state.global_step
        if self.training_bar is not None:
            bar = self.training_bar
            bar.initial = bar.n = bar.last_print_n = state.global_step
            bar.refresh()

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Leave the values to the lines."""


class EpochLines(PrinterCallback):
    """Prints a line after each epoch, on the first process; `remove_callback(PrinterCallback)` removes it.

    A line has the unweighted terms, the learning rate, the headline's score if the student was evaluated, and
    the time left at the pace of this run. Terms are means over the epoch. A line inside an epoch, after an
    evaluation or a minute of silence, has the terms as they were logged last. Where clipping left less than
    half of the gradient that was logged last, the line says how much, because clipping then decides the step.

    Args:
        distillation: Knows the terms and what they were in this epoch.
        accelerator: Averages them over the processes.
        clock: Returns seconds.
    """

    def __init__(
        self,
        distillation: Distillation,
        accelerator: Accelerator,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wait for a training."""
        self._distillation = distillation
        self._accelerator = accelerator
        self._clock = clock
        self._is_training = False

    def on_train_begin(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._is_training = True
        self._terms: dict[str, float] | None = None  # of a line that waits for scores
        self._scores: dict[str, float] = {}
        self._logged: dict[str, float] = {}
        self._rate: float | None = None
        self._kept: float | None = None  # of the gradient, by clipping
        self._begun_at = self._said_at = self._clock()
        self._pace = Pace(self._clock, state.global_step)

    def on_step_begin(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Say what the step before has left, and take the learning rate of this one."""
        self._say(state)
        self._rate = kwargs["optimizer"].param_groups[0]["lr"]

    def on_step_end(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Measure the pace."""
        self._pace.step(state.global_step)

    def on_log(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Keep the terms, and say them if nothing was said for long."""
        logs = kwargs["logs"]
        if not self._is_training or "loss" not in logs:
            return
        self._logged = self._distillation.terms_of(logs)
        norm = logs.get("grad_norm")
        self._kept = args.max_grad_norm / norm if norm and args.max_grad_norm else None
        if self._terms is None and self._clock() - self._said_at >= _SILENCE:
            self._terms = self._logged

    def on_evaluate(
        self,
        args: Arguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **kwargs: Any,
    ) -> None:
        """Add the scores to the line that waits, or to a new one."""
        if self._is_training:
            headline = self._distillation.pair.task.headline
            self._scores |= headline_scores(metrics, headline, args.metric_for_best_model)
            self._terms = self._logged if self._terms is None else self._terms

    def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        """Take the means of the epoch, on every process; its evaluation comes after this."""
        self._terms = self._distillation.terms_of(self._distillation.epoch_log.pop(self._accelerator))

    def on_epoch_begin(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Say what the epoch before has left."""
        self._say(state)

    def on_train_end(self, args: Arguments, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        """Say the last line."""
        self._say(state)
        self._is_training = False

    def _say(self, state: TrainerState) -> None:
        terms, scores = self._terms, self._scores
        self._terms, self._scores = None, {}
        if terms is None:
            return
        self._said_at = self._clock()
        if state.is_world_process_zero:
            with tqdm.external_write_mode():  # a bar that is open moves down
                print(self._line(state, terms, scores), flush=True)  # noqa: T201

    def _line(self, state: TrainerState, terms: Mapping[str, float], scores: Mapping[str, float]) -> str:
        of = "" if state.num_train_epochs == sys.maxsize else f"/{state.num_train_epochs}"  # a stream
        parts = [f"epoch {state.epoch or 0:.4g}{of}", f"step {state.global_step}/{state.max_steps}"]
        parts += ["  ".join(f"{name} {value:.4g}" for name, value in terms.items())] if terms else []
        parts += [] if self._rate is None else [f"lr {self._rate:.3g}"]
        parts += [f"gradient clipped to {self._kept:.2g}"] if (self._kept or 1.0) < _HALF else []
        parts += [f"{label} {score:.4f}" for label, score in scores.items()]
        left = self._pace.seconds_left(state.global_step, state.max_steps)
        if state.global_step >= state.max_steps:
            parts.append(f"took {duration(self._said_at - self._begun_at)}")
        elif left is not None:
            parts.append(f"{duration(left)} left")
        return " | ".join(parts)


class Pace:
    """Measures the seconds of a step with all that comes between, such as evaluations and checkpoints.

    The first step, which loads and compiles, counts only as long as there is no other.

    Args:
        clock: Returns seconds.
        step: The steps that are done, 0 unless a checkpoint is resumed: they were not measured.
    """

    def __init__(self, clock: Callable[[], float], step: int) -> None:
        """Start the clock."""
        self._clock = clock
        self._starts = [(clock(), step)]

    def step(self, step: int) -> None:
        """Take note of the end of a step."""
        if len(self._starts) == 1:
            self._starts.append((self._clock(), step))

    def seconds_left(self, step: int, last: int) -> float | None:
        """Return the seconds until the last step, or None before a step is done."""
        for begun_at, first in reversed(self._starts):
            if step > first:
                return (self._clock() - begun_at) / (step - first) * max(0, last - step)
        return None


def headline_scores(metrics: Mapping[str, float], headline: Headline, best: str | None) -> dict[str, float]:
    """Return the score that a line shows of an evaluation, by its name for people.

    Args:
        metrics: What one evaluation returned; of several sets, each is evaluated by itself.
        headline: The task's.
        best: `metric_for_best_model`, which a metric of the caller's is known by.
    """
    start = _start_of(metrics)
    of_set = start.removeprefix("eval_").removesuffix("_")
    named = {
        headline.metric: headline.label,
        f"{AGREEMENT}{headline.metric}": headline.of_agreement().label,
        str(best).removeprefix("eval_"): str(best).removeprefix("eval_"),
        "loss": "evaluation loss",
    }
    for metric, label in named.items():
        if start + metric in metrics:
            return {f"{of_set}: {label}" if of_set else label: metrics[start + metric]}
    return {}


def _start_of(metrics: Mapping[str, float]) -> str:
    """Return what the names of all scores of one evaluation begin with."""
    return next((name for name in metrics if name.endswith("_runtime")), "eval_runtime").removesuffix(
        "runtime"
    )


def duration(seconds: float) -> str:
    """Return seconds for people, in seconds, minutes or hours."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
