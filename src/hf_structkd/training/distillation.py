"""The terms at work on a pair of models: what happens in a step, whatever loop runs it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer

from ..data import has_labels, kept_views_note
from ..models.loading import config_of, model_of
from ..models.sharding import is_sharded
from ..terms import Term, Terms, TrainingPlan
from .balance import GradientBalance
from .first_batch import refuse_first_batch
from .pair import ModelPair
from .start_table import describe_pair
from .term_log import TermLog
from .term_modules import TermModules, example_batch

Weighted = list[tuple[Term, float]]


class Distillation:
    """Computes the weighted sum of the terms, and does what they do beside the student's own step.

    Args:
        terms: Every term, on or off. A term is on while its weight is above 0, and off without the labels
            that it needs.
        pair: The two models.
        data: The training data, if they are known.
        balance_steps: How many steps of a training measure the gradients of the terms, see `GradientBalance`.

    Attributes:
        log: Every value of every micro-step since values were last logged.
        epoch_log: The same since the epoch began.
    """

    def __init__(self, terms: Terms, pair: ModelPair, data: Any = None, *, balance_steps: int = 0) -> None:
        """Take the terms; `prepare` makes them ready for a training."""
        self.terms = terms
        self.pair = pair
        pair.has_labels = has_labels(data)
        self.modules = TermModules()
        self.balance = GradientBalance(balance_steps)
        self.log, self.epoch_log = TermLog(), TermLog()
        self._data_notes: Mapping[str, str] = {}
        self._plan: TrainingPlan | None = None
        self._is_described = False
        self._stepping: list[Term] = []
        self._step = 0
        self._values: dict[str, Tensor] = {}  # what one micro-step leaves to its end

    @property
    def weights(self) -> dict[str, float]:
        """Every term's weight, by its name; a warm-up leads up to it, see `weights_in_use`."""
        task = self.pair.task
        reads = self.pair.has_labels or task.makes_labels
        return {
            term.name: term.weight_for(task) if reads or not term.needs_labels else 0.0 for term in self.terms
        }

    @property
    def weights_in_use(self) -> dict[str, float]:
        """Every term's weight at the step that runs, or ran last."""
        weights = self.weights
        return {term.name: self._in_use(term, weights[term.name]) for term in self.terms}

    def _in_use(self, term: Term, weight: float) -> float:
        return weight * term.share_at(self._step) * self.balance.factor(term.name)

    @property
    def log_titles(self) -> dict[str, str]:
        """What figures call the values that are logged, by their names in the log."""
        titles = {f"loss_{term.name}": term.title for term in self.terms}
        return titles | {name: title for term in self.terms for name, title in term.log_titles.items()}

    @property
    def networks(self) -> list[nn.Module]:
        """What the terms train beside the student and write into checkpoints."""
        return [network for term in self.terms for network in term.networks]

    def active(self) -> Weighted:
        """Return the terms that are on with their weights, read anew.

        Raises:
            ValueError: If none is on.
        """
        weights = self.weights
        active = [(term, weights[term.name]) for term in self.terms if weights[term.name] > 0]
        if not active:
            reason = "" if self.pair.has_labels else "there are no labels, and without them "
            raise ValueError(
                f"{reason}every term's weight is 0, so nothing would be trained; set one above 0."
            )
        return active

    def load_teacher(self, student: PreTrainedModel, active: Weighted) -> None:
        """Load the teacher if one of the terms that are on needs it; see `ModelPair.load_teacher`."""
        taught = [term for term, _ in active if term.needs_teacher]
        # The student alone, on labelled images, has no teacher and misses none.
        fills_in = self.pair.task.makes_labels and (self.pair.has_teacher or not self.pair.has_labels)
        if taught or fills_in:
            self.pair.load_teacher(student, taught)

    # ---- a training ----

    def prepare(self, plan: TrainingPlan, data: Any) -> None:
        """Begin a training: let go of what an earlier one left, and begin every term that is on.

        Args:
            plan: The training.
            data: The training data, of which the start table says what a loader noted.

        Raises:
            ValueError: If a cache is wanted and the data never show an image twice in the same way, or kept
                views do not fit into memory.
        """
        self._plan = plan
        self.pair.meet(data)
        notes = {**getattr(data, "notes", {}), **kept_views_note(data), **self._label_note()}
        self._data_notes = notes | self.balance.note
        self._is_described = False
        self._stepping, self._values = [], {}
        self.balance = GradientBalance(self.balance.steps)
        self.log, self.epoch_log = TermLog(), TermLog()
        self.pair.drop_captures()
        for term in self.terms:
            term.end()
        for term, _ in self.active():
            term.begin(self.pair.task, plan)

    def _label_note(self) -> dict[str, str]:
        """Return the line of the start table that says what no label leaves out."""
        if self.pair.has_labels:
            return {}
        if self.pair.task.makes_labels:
            return {"labels": "no labels: the teacher's answers stand in for them"}
        names = " and ".join(term.name for term in self.terms if term.needs_labels)
        return {
            "labels": f"no labels: the {names} term is off whatever its weight, the teacher alone teaches"
        }

    def add_modules(self, optimizer: torch.optim.Optimizer, trainer: Trainer, *, anew: bool) -> None:
        """Make the modules that terms own, and let the student's optimiser train them too.

        Args:
            optimizer: The student's optimiser.
            trainer: Its student is on its device; one row of its data tells the widths of the maps.
            anew: Whether modules of an earlier training are made again.
        """
        active = [term for term, _ in self.active()]
        owners = [term for term in active if term.owns_modules]
        if not owners or self._plan is None or (self.modules.terms and not anew):
            return
        self.modules = TermModules(owners)
        self.modules.build(self.pair, trainer.model, example_batch(trainer), self._plan, active)
        if self.modules.parameters:
            group = {"params": self.modules.parameters, "weight_decay": trainer.args.weight_decay}
            optimizer.add_param_group(group)

    def save(self, folder: str | Path) -> None:
        """Write every term's state into a checkpoint."""
        self.balance.save(folder)
        for term in self.terms:
            term.save(folder)

    def load(self, folder: str | Path) -> None:
        """Read every term's state back."""
        self.balance.load(folder)
        for term in self.terms:
            term.load(folder)

    # ---- a step ----

    def is_first_batch(self) -> bool:
        """Return whether no batch of this training has been seen."""
        return not self._is_described

    def loss(self, model: nn.Module, inputs: dict[str, Any], *, may_print: bool) -> tuple[Tensor, Any]:
        """Return the loss of a micro-batch and the student's output.

        In training the loss is the weighted sum of the terms, in evaluation the task's loss alone.

        Args:
            model: The student as it is trained, in its wrappers.
            inputs: The micro-batch.
            may_print: Whether this process prints the start table, before the first step.
        """
        task = self.pair.task
        if self.is_first_batch() or inputs["pixel_values"].device.type == "cpu":
            # On an accelerator once only: it waits for the device.
            (task.check_training_batch if model.training else task.check_batch)(inputs)
        if not model.training:
            output = task.student_forward(model, inputs, None).output
            return task.task_loss(output, inputs), output
        active = self.active()
        terms = [term for term, _ in active]
        self._make_ready(model, inputs, active, may_print=may_print)
        task = self.pair.task  # another one, if the teacher was loaded for a term that came on
        batch, answer = self.pair.filled_in(inputs)
        is_measured = self.balance.wants(self._step)
        with self.balance.uncompiled() if is_measured else nullcontext():
            student, teacher = self.pair.forward(model, batch, terms, answer)
        values = [term(task, student, teacher, batch) for term in terms]
        named = {term.name: value for term, value in zip(terms, values, strict=True)}
        if is_measured:
            self.balance.measure(self._step, named, model_of(model))
        self.balance.refuse_unmeasured(named)
        in_use = [self._in_use(term, weight) for term, weight in active]
        total = torch.stack([weight * value for weight, value in zip(in_use, values, strict=True)]).sum()
        if not any("output" in term.reads_for(task) for term in terms):
            # The last layers have no part in these terms, and DDP waits for a gradient of all that it saw.
            total = total + 0.0 * task.prediction(student.output).float().sum()
        self._stepping = terms
        self._values = {f"loss_{name}": value.detach().float() for name, value in named.items()}
        return total, student.output

    def begin_step(self, step: int) -> None:
        """Take note which step of the optimiser comes next, counted from 0."""
        self._step = step

    def terms_of(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the unweighted terms among logged values, by their names."""
        names = [term.name for term in self.terms]
        return {name: values[f"loss_{name}"] for name in names if f"loss_{name}" in values}

    def pop_log(self, accelerator: Accelerator) -> dict[str, float]:
        """Return what was logged since the last call, and the weights in use of terms with a warm-up."""
        weights = self.weights_in_use
        moving = [term.name for term in self.terms if term.warmup_steps or self.balance.steps]
        return self.log.pop(accelerator) | {f"weight_{name}": weights[name] for name in moving}

    def before_backward(self) -> None:
        """Zero, at the first micro-step of a step, the gradients of what terms own."""
        self.modules.before_backward()

    def after_backward(self, *, micro_steps: int) -> dict[str, Tensor]:
        """Let the terms do what follows a micro-step; log and return every value of it, by name."""
        values, self._values = self._values, {}
        for term in self._stepping:
            values |= term.after_backward(micro_steps=micro_steps)
        self.log.add(values)
        self.epoch_log.add(values)
        return values

    def step(self) -> dict[str, Tensor]:
        """Let the terms do what happens once a step, before the optimiser; return what must be finite."""
        self.modules.before_step()
        watched: dict[str, Tensor] = {}
        for term in self._stepping:
            watched |= term.step()
        return watched

    def _make_ready(
        self, model: nn.Module, inputs: dict[str, Any], active: Weighted, *, may_print: bool
    ) -> None:
        """See that the terms have all that they need, and say once what is compared with what."""
        student = model_of(model)
        self.load_teacher(student, active)
        for term, _ in active:
            self._begin(term)
        teacher, is_first = self.pair.teacher, self.is_first_batch()
        if is_first:
            refuse_first_batch(self.pair.task, student, inputs)
            self.pair.task.note_in(config_of(student))
        if teacher is not None and is_first:
            teacher.check(inputs)
        if any("features" in term.reads_for(self.pair.task) for term, _ in active):
            self.pair.capture_features(model, inputs["pixel_values"])
        self._is_described = True
        if teacher is not None and is_first and (may_print or teacher.is_sharded or is_sharded(student)):
            # The one thing to read before a long training.
            table = describe_pair(self.pair, active, student, inputs, notes=self._data_notes)
            if may_print:
                print(table, flush=True)  # noqa: T201

    def _begin(self, term: Term) -> None:
        """Begin a term that came on after the training began."""
        if term.is_ready:
            return
        if self._plan is None:
            raise RuntimeError(
                f"the {term.title} is made ready by `train()`; call that, or set its weight to 0."
            )
        term.begin(self.pair.task, self._plan)
        if not term.is_ready:
            raise RuntimeError(
                f"the {term.title} trains modules of its own, which are made when a training starts; start "
                f"with `{term.name}_weight` above 0."
            )
