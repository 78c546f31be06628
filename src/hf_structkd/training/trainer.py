"""`StructKDTrainer`: `transformers.Trainer` with a teacher and a list of terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_utils import PredictionOutput

from ..hub.pushing import token_hidden
from ..models import FrozenTeacher, TeacherSource, ship_code
from ..models.loading import model_of
from ..models.restoring import restore_student
from ..models.sharding import is_sharded, share_buffers, whole, whole_state
from ..tasks import Task, task_of
from ..terms import Term
from . import set_up
from .arguments import StructKDTrainingArguments
from .averaging import AveragedStudent
from .callbacks import RunCallback
from .checkpoints import complete_checkpoint, of_this_student, run_plan, settings_to_keep
from .distillation import Distillation
from .epoch_lines import show_epochs
from .evaluation import Evaluation
from .guard import FiniteGuard
from .loaders import build_loader
from .manifest import begin_checkpoint, checkpoint_to_resume
from .pair import ModelPair
from .predictions import Predicted
from .publishing import PublishingTrainer
from .sharding import check_sharding, keep_whole_states, sharded_student
from .trackers import watch


class StructKDTrainer(PublishingTrainer):
    """Train a student on its task and on what a frozen teacher knows.

    Args:
        model: The student: a Hub id, a folder (one with only a `config.json` starts from scratch, from
            `args.seed`), or a model, also in PEFT's wrapper; None where `model_init` makes it. A named one
            learns the data's classes.
        teacher_model: The teacher: a Hub id, a folder, a file (see `load_exported_teacher`), or a model; None
            where every distillation weight is 0, which trains the student alone.
        args: The settings.
        terms: The terms beside the task's own loss, with weights and settings of their own; None builds the
            built-in ones from `args`.
        task: What both models solve; None reads it off the student.
        processing_class: The student's image processor, saved beside it. The batch's images are normalised by
            it; None loads the one beside `model`, or makes one where a loader made the data.
        teacher_processing_class: The teacher's, for which images are converted, with its tokenizer if it
            reads text; None loads what is beside `teacher_model`.
        task_options: Keyword arguments of the task's own, such as `teacher_label_map` or `teacher_prompts`.
        **kwargs: Passed to `transformers.Trainer`; `data_collator`, `compute_metrics` default to the task's.

    Attributes:
        terms: Every term, on or off, by place or by name: `trainer.terms["pixel"]`.
        pair: The two models and the task between them.
        run_notes: What the card says and a trainer does not know: the data, the command, the comparison.

    Raises:
        TypeError: If `args` are no `StructKDTrainingArguments`.
        ValueError: If a teacher is missing, solves another task or shares no class with the student.
    """

    args: StructKDTrainingArguments
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
        self.terms = set_up.collect_terms(terms, args)
        make, data = kwargs.get("model_init"), kwargs.get("train_dataset")
        first = set_up.first_student(model, make, task, data, args.seed)
        student = model_of(first)
        processing_class = processing_class or set_up.student_processor(student, task, kwargs)
        kind, processors = task or task_of(student), (processing_class, teacher_processing_class)
        self.pair = ModelPair(
            student, teacher_model, kind, args, processors=processors, task_options=task_options
        )
        self.distillation = Distillation(self.terms, self.pair, data, balance_steps=args.balance_steps)
        self.distillation.load_teacher(student, self.distillation.active())
        kwargs.setdefault("data_collator", self.task.collate)
        self.pair.trusts_keys = kwargs["data_collator"] is self.task.collate
        self._evaluation = Evaluation(self.pair, args, kwargs)
        model = None if kwargs.get("model_init") is not None else first
        super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
        show_epochs(self, self.distillation)
        # Dense models take **kwargs, from which Trainer concludes that they divide their loss themselves.
        self.model_accepts_loss_kwargs = False
        set_up.check_support(self, self.task)
        check_sharding(self)
        self._average = AveragedStudent(args.ema_decay)
        for callback in (RunCallback(self.train_dataset, self.distillation), self._average):
            self.add_callback(callback)
        watch(self, self._average)
        self._guard = FiniteGuard(self.distillation, at_once=args.device.type == "cpu")
        self._settings: dict[str, Any] = {}

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
        """Every term's weight, by its name."""
        return self.distillation.weights

    @property
    def log_titles(self) -> dict[str, str]:
        """What figures call the values that the terms log, by their names in the log."""
        return self.distillation.log_titles

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the weighted sum of the terms in training, and the task's loss alone in evaluation.

        Keeps Trainer's contract: a scalar, or (scalar, model output). `num_items_in_batch` is not used.
        """
        loss, output = self.distillation.loss(model, inputs, may_print=self.is_world_process_zero())
        return (loss, output) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Do the student's micro-step as Trainer does it, then what the terms do after it.

        Keeps Trainer's contract: the detached loss. What a term trains steps with the student's optimiser.
        """
        self._guard.before_micro_step(self)
        if is_sharded(self.model):
            share_buffers(self.model)
        self.distillation.before_backward()
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        values = self.distillation.after_backward(micro_steps=self.current_gradient_accumulation_steps)
        self._guard.watch(values, self)
        if self.accelerator.sync_gradients:
            self._guard.before_optimizer(self)  # nor does a term step beside a student that does not
            self._guard.watch(self.distillation.step(), self)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return Trainer's norm; stop before a gradient that is not finite reaches the weights."""
        norm = super()._get_grad_norm(model, grad_norm)
        norm = whole(norm) if isinstance(norm, Tensor) else norm
        self._guard.watch_gradients(norm, self, max_grad_norm=self.args.max_grad_norm)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add every term, unweighted, averaged over the logging window and the processes."""
        if "loss" in logs or "train_loss" in logs:  # Trainer waits for the device here, too
            self._guard.verify(self)
        if "loss" in logs:
            logs.update(self.distillation.pop_log(self.accelerator))
        super().log(logs, start_time)

    def train(
        self, resume_from_checkpoint: str | Path | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train as Trainer does; go on from complete checkpoints alone, see `checkpoint_to_resume`."""
        resume = checkpoint_to_resume(resume_from_checkpoint, self.args.output_dir)
        try:
            return super().train(resume, *args, **kwargs)
        finally:
            self.pair.drop_captures()  # another trainer may have the same teacher

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        """Begin the terms before states are loaded into them: `train()` frees what `__init__` prepares."""
        if self.model_init is not None:
            self.pair.follow(model_of(self.model))
        plan = run_plan(self.args, max_steps, self.train_dataset)
        self._settings = settings_to_keep(self.distillation, self.args, resume_from_checkpoint, plan)
        set_up.warn_of_missing_labels(self, self.task)
        self._guard.begin()
        self.distillation.prepare(set_up.training_plan(self.args, max_steps), self.train_dataset)
        with sharded_student(self):
            return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Add what the terms own to `self.optimizer`, which is made once and returned, as Trainer does."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_new and is_sharded(self.model):
            keep_whole_states(optimizer)
        self.distillation.add_modules(optimizer, self, anew=is_new)
        return optimizer

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch, unless all steps are done: a resumed Trainer would do one more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    def _get_dataloader(self, dataset: Any, *args: Any, **options: Any) -> Any:
        """Build Trainer's loader; one for evaluation delivers every image, see `build_loader`."""
        return build_loader(self, super()._get_dataloader, dataset, *args, **options)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None
    ) -> Any:
        """Return (loss, the images' statistics in place of predictions, labels); see `Evaluation.step`."""
        return self._evaluation.step(
            self, super().prediction_step, model, inputs, prediction_loss_only, ignore_keys
        )

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Run Trainer's loop over a fresh metric; see `Evaluation.loop`."""
        with self._average.shown(self.model):
            return self._evaluation.loop(self, super().evaluation_loop, *args, **kwargs)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> PredictionOutput:
        """Return predictions in the task's form (class maps, metres, boxes), the labels and the scores.

        All are kept in memory; see `predict_batches`. With the caller's `compute_metrics` they are logits.
        """
        return self._evaluation.predict(self, super().predict, test_dataset, *args, **kwargs)

    def predict_batches(self, dataset: Any) -> Iterator[Predicted]:
        """Yield `predictions` and `label_ids` of one batch after the other, in constant memory."""
        return self._evaluation.batches(self, dataset)

    def evaluate_teacher(self, eval_dataset: Any = None) -> dict[str, float]:
        """Return the teacher's scores on `eval_dataset`; see `Evaluation.score_teacher`."""
        return self._evaluation.score_teacher(self, eval_dataset)

    # ---- checkpoints: whole, finite, with the terms' states ----

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save as Trainer does, but nothing that is not finite; see `FiniteGuard.refuse_to_save`."""
        self._guard.before_checkpoint(self)
        if self.args.should_save:
            begin_checkpoint(Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save a finite student as Trainer does, while `args`, which it pickles, hold no token."""
        self._guard.refuse_to_save(self)
        if is_sharded(self.model):
            state_dict = whole_state(self.model)
        with token_hidden(self), self._average.shown(self.model):
            super()._save(output_dir, state_dict)
        ship_code(model_of(self.model), output_dir or self.args.output_dir, self.task.auto_model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save as Trainer does; where states are shards, every process gives its part of the whole ones."""
        if is_sharded(self.model) and not self.args.should_save:
            self.optimizer.state_dict()
        super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        """Complete the checkpoint; after this Trainer writes its state, pushes and rotates."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # every process writes a file of its own
        if self.args.should_save:
            self._average.save(output_dir, self.model)
            complete_checkpoint(output_dir, self._settings, self.distillation, self.args)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read the terms' states back after Trainer's own."""
        with of_this_student(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.distillation.load(checkpoint)
            self._average.load(checkpoint, self.model)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Read the student back into the live model; the wrapper of PEFT is left to Trainer."""
        restore_student(self.model, resume_from_checkpoint, wrapped=super()._load_from_checkpoint)

    def _load_best_model(self) -> None:
        """Read the best student back in the same way."""
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))
