"""`StructKDTrainer`: `transformers.Trainer` with a teacher and a list of terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..card import RunNotes, write_card
from ..hub.pushing import Pusher
from ..models import FrozenTeacher, TeacherSource
from ..models.loading import model_of
from ..tasks import Task, task_of
from ..terms import Term
from .arguments import StructKDTrainingArguments
from .best_model import choose_best_metric
from .callbacks import AnswersCallback, EpochCallback
from .checkpoints import refuse_other_settings, run_settings
from .distillation import Distillation
from .evaluating_trainer import EvaluatingTrainer
from .evaluation import StreamingScores, feed_as_wanted
from .guard import FiniteGuard
from .pair import ModelPair
from .saving import SavingTrainer
from .set_up import (
    answers_to_expect,
    check_support,
    collect_terms,
    first_student,
    student_processor,
    training_plan,
    warn_of_missing_labels,
)
from .term_log import TermLog
from .term_modules import example_batch


class StructKDTrainer(EvaluatingTrainer, SavingTrainer):
    """Train a student on its task and on what a frozen teacher knows.

    Args:
        model: The student: a Hub id, a folder (one with only a `config.json` starts from scratch), or a
            model, also one wrapped by PEFT; None where `model_init` makes it. A named one learns the classes
            of a loader's data.
        teacher_model: The teacher: a Hub id, a folder, or a model; may be None where every distillation
            weight is 0, which trains the student alone.
        args: The settings.
        terms: The terms beside the task's own loss; None builds the built-in ones from `args`. Weights and
            settings of terms in this list are their own, and those in `args` have no effect.
        task: What both models solve; None reads it off the student.
        processing_class: The student's image processor, saved beside it. It says how the batch's images are
            normalised; None loads the one beside `model`, or makes one where a loader made the data.
        teacher_processing_class: The teacher's; None loads the one beside `teacher_model`. Images are
            converted from the student's normalisation to the teacher's.
        task_options: Keyword arguments of the task's own, for example `teacher_label_map`.
        **kwargs: Passed to `transformers.Trainer`. `data_collator` defaults to the task's; `compute_metrics`
            to the task's streaming metric, for which each image is reduced on the device to its statistics.

    Attributes:
        terms: Every term, on or off, by place or by name: `trainer.terms["pixel"]`.
        pair: The two models and the task between them.
        run_notes: What the card says and a trainer does not know: the data, the command, the comparison.

    Raises:
        TypeError: If `args` are no `StructKDTrainingArguments`.
        ValueError: If a teacher is missing, solves another task or shares no class with the student.
    """

    args: StructKDTrainingArguments
    run_notes: RunNotes | None = None
    # The loss is a mean over the micro-batch: the Trainer must divide it by the number of micro-steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: nn.Module | str | Path | None,
        teacher_model: PreTrainedModel | TeacherSource | str | Path | None,
        args: StructKDTrainingArguments,
        *,
        terms: Sequence[Term] | None = None,
        task: type[Task] | None = None,
        processing_class: Any = None,
        teacher_processing_class: Any = None,
        task_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Load what is named, match the two models and hand the rest to `Trainer`."""
        if not isinstance(args, StructKDTrainingArguments):
            raise TypeError(f"`args` must be StructKDTrainingArguments, got {type(args).__name__}.")
        self.terms = collect_terms(terms, args)
        first = first_student(model, kwargs.get("model_init"), task, kwargs.get("train_dataset"))
        student = model_of(first)
        processing_class = processing_class or student_processor(student, task, kwargs)
        self.pair = ModelPair(
            student,
            teacher_model,
            task or task_of(student),
            args,
            processor=processing_class,
            teacher_processor=teacher_processing_class,
            task_options=task_options,
        )
        self.distillation = Distillation(self.terms, self.pair)
        self.distillation.load_teacher(student, self.distillation.active())
        kwargs.setdefault("data_collator", self.task.collate)
        self.pair.trusts_keys = kwargs["data_collator"] is self.task.collate
        feed_as_wanted(args, kwargs.get("compute_metrics"))
        if kwargs.get("compute_metrics") is None:
            choose_best_metric(args, self.task, kwargs.get("eval_dataset"))
        model = None if kwargs.get("model_init") is not None else first
        self._pusher = Pusher()
        super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
        # Dense models take **kwargs, from which Trainer concludes that they divide their loss themselves.
        self.model_accepts_loss_kwargs = False
        check_support(self)
        self._streaming: StreamingScores | None = None
        if kwargs.get("compute_metrics") is None:
            self.compute_metrics = self._streaming = StreamingScores(self.task)
        self._watch_training()

    def _watch_training(self) -> None:
        """Make what follows a training from step to step."""
        self.add_callback(EpochCallback(self.train_dataset))
        self.add_callback(AnswersCallback(self.pair))
        self.distillation.data_notes = getattr(self.train_dataset, "notes", {})
        self._guard = FiniteGuard(at_once=self.args.device.type == "cpu")
        self._term_log = TermLog()
        self._settings: dict[str, Any] = {}
        self._values: dict[str, Tensor] = {}  # what one micro-step leaves to its end

    @property
    def task(self) -> Task:
        """What the two models' outputs mean."""
        return self.pair.task

    @property
    def teacher(self) -> FrozenTeacher | None:
        """The frozen teacher, or None where no term needs it."""
        return self.pair.teacher

    @property
    def weights(self) -> dict[str, float]:
        """Every term's weight in use, by its name."""
        return self.distillation.weights

    # ---- one step ----

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the weighted sum of the terms in training, and the task's loss alone in evaluation.

        Keeps Trainer's contract: a scalar, or (scalar, model output). `num_items_in_batch` counts labels that
        are not -100, which dense labels are not, and is not used.
        """
        if self.distillation.is_first_batch() or inputs["pixel_values"].device.type == "cpu":
            # On an accelerator once only: it waits for the device.
            (self.task.check_training_batch if model.training else self.task.check_batch)(inputs)
        if not model.training:
            output = self.task.student_forward(model, inputs, None).output
            loss = self.task.task_loss(output, inputs)
            return (loss, output) if return_outputs else loss
        step = self.distillation.loss(model, inputs, may_print=self.is_world_process_zero())
        self._values = step.values
        return (step.total, step.output) if return_outputs else step.total

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Do the student's micro-step as Trainer does it, then what the terms do after it.

        Keeps Trainer's contract: the detached loss of the micro-batch. What a term trains beside the student
        steps once for each optimiser step, after the last micro-batch.
        """
        self._guard.before_micro_step(self)
        self.distillation.before_backward()
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        steps = self.current_gradient_accumulation_steps
        values = self._values | self.distillation.after_backward(micro_steps=steps)
        self._values = {}
        self._guard.watch(values, self)
        self._term_log.add(values)
        if self.accelerator.sync_gradients:
            self._guard.before_optimizer(self)  # nor does a term step beside a student that does not
            self._guard.watch(self.distillation.step(), self)
        return loss

    # ---- a training's beginning, checkpoints and end ----

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        """Begin the terms before states are loaded into them: `train()` frees what `__init__` prepares."""
        if self.model_init is not None:
            self.pair.follow(model_of(self.model))
        self._settings = run_settings(self.terms, self.weights, self.args, self.teacher, self.task)
        refuse_other_settings(self._settings, self.args.output_dir, resume_from_checkpoint)
        warn_of_missing_labels(self)
        self._values, self._term_log = {}, TermLog()
        self.pair.expected_answers = answers_to_expect(self.args, self.train_dataset)
        self._guard.begin()
        self.distillation.prepare(training_plan(self.args, max_steps))
        return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Add what the terms own to the student's optimiser.

        Keeps Trainer's contract: `self.optimizer`, made once, is returned.
        """
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        parameters = self.distillation.build_modules(self.model, lambda: example_batch(self), anew=is_new)
        if parameters:
            optimizer.add_param_group({"params": parameters, "weight_decay": self.args.weight_decay})
        return optimizer

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return Trainer's norm; stop before a gradient that is not finite reaches the weights."""
        norm = super()._get_grad_norm(model, grad_norm)
        others = self.distillation.modules.clip(self.args.max_grad_norm)
        norms = {"the student's gradient": norm, "the gradient of the terms' modules": others}
        # In fp16 such gradients are the scaler's daily business: it skips their step.
        if self.accelerator.scaler is None:
            known = {name: n for name, n in norms.items() if n is not None}
            self._guard.watch(known, self)
        self._guard.before_optimizer(self)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add every term, unweighted, averaged over the logging window and the processes."""
        if "loss" in logs or "train_loss" in logs:  # Trainer waits for the device here, too
            self._guard.verify(self)
        if "loss" in logs:
            logs.update(self._term_log.pop(self.accelerator))
        super().log(logs, start_time)

    @property
    def log_titles(self) -> dict[str, str]:
        """What figures call the values that the terms log, by their names in the log."""
        return self.distillation.log_titles

    # ---- the card and the Hub: Trainer hides failed pushes and pickles the token ----

    def create_model_card(self, language: str | None = None, **overrides: Any) -> None:
        """Write `README.md` into `output_dir`; see `card.write_card` and `card.card.with_overrides`.

        Keeps Trainer's contract: every process may call it, the first one writes.
        """
        if self.is_world_process_zero():
            write_card(self, self.run_notes, language=language, **overrides)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Open the repository, with a sentence where the Hub refuses; keeps Trainer's contract."""
        self._pusher.open(self, token=token, private=private)

    def push_to_hub(self, commit_message: str | None = "End of training", *args: Any, **kwargs: Any) -> Any:
        """Save the student, write its card and push the folder, but no checkpoints; see `hub.Pusher.push`."""
        return self._pusher.push(self, commit_message, *args, **kwargs)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push a fresh checkpoint in the background, as `hub_strategy` says; a failure is logged."""
        self._pusher.push_checkpoint(self, checkpoint_folder)

    def _finish_current_push(self) -> None:
        """Wait for the pushes in the background and say which of them failed."""
        super()._finish_current_push()
        self._pusher.report_failures(self.args)
