"""`StructKDTrainer`: `transformers.Trainer` with a teacher, three more terms and a critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel
from transformers.utils import logging

from ..adversary.owner import Adversary
from ..adversary.score_maps import ScoreMaps
from ..card import RunNotes, write_card
from ..features.forward import Capture
from ..features.probe import unwrap
from ..hub.pushing import SafePushTrainer
from ..models.loading import (
    config_of,
    load_image_processor,
    load_student,
    load_teacher,
    refuse_shared_parameters,
    restore_weights,
)
from ..models.teacher import FrozenTeacher
from ..tasks import Task, task_of
from .arguments import StructKDTrainingArguments
from .build import build_adversary, build_criterion, build_teacher
from .callbacks import EpochCallback
from .checkpoints import last_checkpoint, refuse_other_settings, save_settings
from .evaluation import StreamingEvaluationTrainer
from .guard import are_finite, non_finite_names, restore_buffers, snapshot_buffers
from .setup_table import describe_pair
from .term_log import TermLog

logger = logging.get_logger(__name__)


class StructKDTrainer(SafePushTrainer, StreamingEvaluationTrainer):
    """Train a student on its task and on what a frozen teacher knows.

    Args:
        model: The student: a Hub id, a folder (one with only a `config.json` starts from scratch), or a
            model.
        teacher_model: The teacher: a Hub id, a folder, or a model; may be None where every distillation
            weight is 0, which trains the student alone.
        args: The settings.
        task: What both solve; None reads it off the student.
        processing_class: The student's image processor, saved beside it. It says how the batch's images are
            normalised; None loads the one beside `model`.
        teacher_processing_class: The teacher's; None loads the one beside `teacher_model`. Images are
            converted from the student's normalisation to the teacher's.
        task_options: Keyword arguments of the task's own, for example `teacher_label_map`.
        **kwargs: Passed to `transformers.Trainer`. `data_collator` defaults to the task's; `compute_metrics`
            to the task's streaming metric, for which each image is reduced on the device to its statistics.

    Attributes:
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
        model: PreTrainedModel | str | Path,
        teacher_model: PreTrainedModel | str | Path | None,
        args: StructKDTrainingArguments,
        *,
        task: type[Task] | None = None,
        processing_class: Any = None,
        teacher_processing_class: Any = None,
        task_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Load what is named, match the two models and hand the rest to `Trainer`."""
        if not isinstance(args, StructKDTrainingArguments):
            raise TypeError(f"`args` must be StructKDTrainingArguments, got {type(args).__name__}.")
        task = task or task_of(model)
        self.weights = args.weights(task.default_weights)
        self.terms = frozenset(name for name, weight in self.weights.items() if weight > 0)
        if teacher_model is None and self.terms - {"task"}:
            raise ValueError(
                f"`teacher_model` is None, but the terms {sorted(self.terms - {'task'})} need one; name a "
                "teacher, or set their weights to 0 to train the student alone."
            )
        name = model if isinstance(model, (str, Path)) else model.name_or_path
        processing_class = processing_class or load_image_processor(name)
        if isinstance(model, (str, Path)):
            model = load_student(model, task)
        # Without a term that needs it, the teacher is not even loaded.
        teacher = None
        if teacher_model is not None and self.terms - {"task"}:
            teacher = load_teacher(teacher_model, task)
            refuse_shared_parameters(model, teacher)
        task.check_models(model, teacher)
        self.task = task(
            config_of(model),
            None if teacher is None else config_of(teacher),
            **(task_options or {}),
        )
        kwargs.setdefault("data_collator", self.task.collate)
        super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
        # Dense models take **kwargs, from which Trainer concludes that they divide their loss themselves.
        self.model_accepts_loss_kwargs = False
        self._check_support()
        self.use_task_metric()
        self.criterion = build_criterion(self.task, self.terms, args)
        self.teacher: FrozenTeacher | None = None
        if teacher is not None:
            self.teacher = build_teacher(
                teacher,
                self.task,
                args,
                processor=processing_class,
                teacher_processor=teacher_processing_class,
            )
        self.add_callback(EpochCallback(self.train_dataset))
        self.adversary: Adversary | None = None
        self._student_capture: Capture | None = None
        # What one micro-step leaves to its end: the terms, the critic's maps, the buffers of before.
        self._values: dict[str, Tensor] = {}
        self._maps: ScoreMaps | None = None
        self._buffers: dict[str, Tensor] = {}
        self._pair_is_ready = False
        self._term_log = TermLog()

    # ---- one step ----

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The weighted sum of the terms in training; the task loss alone, without a teacher, in evaluation.

        Keeps Trainer's contract: a scalar, or (scalar, model output). `num_items_in_batch` counts labels that
        are not -100, which dense labels are not, and is not used.
        """
        if not self._pair_is_ready or inputs["pixel_values"].device.type == "cpu":
            self.task.check_batch(inputs)  # on an accelerator once only: it waits for the device
        if not model.training:
            output = self.task.student_forward(model, inputs, None).output
            loss = self.task.task_loss(output, inputs)
            return (loss, output) if return_outputs else loss
        if not self._pair_is_ready:
            self._prepare_pair(model, inputs)
        student = self.task.student_forward(model, inputs, self._student_capture)
        teacher = self.teacher(inputs) if self.teacher is not None else None
        terms = self.criterion(student, teacher, inputs)
        if "holistic" in self.terms and self.adversary is None:
            raise RuntimeError("the critic is built by `train()`; call that, or set `holistic_weight` to 0.")
        if self.adversary is not None and teacher is not None:
            maps = self.task.score_maps(student, teacher, inputs)
            terms["holistic"] = self.adversary.student_loss(maps)
            self._maps = maps.detach()
        self._values = {f"loss_{name}": value.detach().float() for name, value in terms.items()}
        loss = torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()
        if self.terms == {"pairwise"}:
            # The classifier has no part in this term, and DDP waits for a gradient of all that it saw.
            loss = loss + 0.0 * self.task.prediction(student.output).float().sum()
        return (loss, student.output) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The student's micro-step as Trainer does it, then the critic's on the same maps.

        Keeps Trainer's contract: the detached loss of the micro-batch. The critic steps once for each
        optimiser step, on the last micro-batch, after every micro-batch of it has met the same critic.
        """
        self._buffers = snapshot_buffers(unwrap(model))
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        values = self._values
        if self.adversary is not None and self._maps is not None:
            steps = self.current_gradient_accumulation_steps
            values = values | self.adversary.accumulate(self._maps, micro_steps=steps)
        self._values, self._maps = {}, None
        self._stop_unless_finite(values)
        self._term_log.add(values)
        if self.adversary is not None and self.accelerator.sync_gradients:
            self._stop_unless_finite({"the critic's gradient": self.adversary.step()})
        return loss

    def _prepare_pair(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        """Find the two feature maps from the first batch and say what is compared with what."""
        images = inputs["pixel_values"]
        if self.teacher is not None:
            self.teacher.check(inputs)
            if "pairwise" in self.terms:
                name = self.args.student_feature
                self._student_capture = self.task.capture_features(unwrap(model), images[:1], name)
                self.teacher.prepare_capture(images, self.args.teacher_feature)
            if self.is_world_process_zero():
                table = describe_pair(
                    self.criterion,
                    self.weights,
                    inputs,
                    student=unwrap(model),
                    capture=self._student_capture,
                    teacher=self.teacher,
                    critic=None if self.adversary is None else self.adversary.critic,
                )
                print(table, flush=True)  # noqa: T201 - the one thing to read before a long training
        self._pair_is_ready = True

    # ---- the critic's life ----

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        """Build the critic before states are loaded into it.

        Keeps Trainer's contract by calling it last. Not in `__init__`: `train()` frees what it prepared.
        """
        refuse_other_settings(self._settings(), self.args.output_dir, resume_from_checkpoint)
        self._pair_is_ready = False
        self._values, self._maps = {}, None
        self._term_log = TermLog()
        self._drop_captures()
        self.adversary = None
        if "holistic" in self.terms:
            self.adversary = build_adversary(self.args, self.task.score_map_channels, max_steps)
        return super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Write the critic and the settings into the checkpoint, before it is rotated or pushed."""
        super()._save_optimizer_and_scheduler(output_dir)
        if not self.args.should_save:
            return
        save_settings(self._settings(), output_dir)
        if self.adversary is not None:
            self.adversary.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read the critic back after Trainer's own states."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.adversary is not None:
            self.adversary.load(checkpoint)

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must find again: the distillation's settings, the teacher and the match."""
        teacher = None if self.teacher is None else self.teacher.description
        weights = {f"{term}_weight": weight for term, weight in self.weights.items()}
        return {**self.args.structkd_settings(), **weights, "teacher": teacher, **self.task.settings()}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Read the student back; keeps Trainer's contract, and loses no renamed weight."""
        restore_weights(self.model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        """Read the best student back; keeps Trainer's contract, and loses no renamed weight."""
        restore_weights(self.model, str(self.state.best_model_checkpoint))

    # ---- logs ----

    def _stop_unless_finite(self, values: dict[str, Tensor]) -> None:
        names = non_finite_names(values, self.accelerator)
        if names:
            raise FloatingPointError(
                f"{' and '.join(names)} turned non-finite at step {self.state.global_step + 1}; "
                f"{self._save_last_good()}. Lower the learning rate or that term's weight, or set "
                "`critic_loss` to hinge, and resume from there."
            )

    def _save_last_good(self) -> str:
        """Save the weights of before this step, unless they are saved already or spoilt too; say where."""
        student = unwrap(self.model_wrapped)
        restore_buffers(student, self._buffers)
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        missing = not folder.exists()
        self.accelerator.wait_for_everyone()  # before the first process makes the folder
        trained = [student, *([self.adversary.critic] if self.adversary is not None else [])]
        if missing and are_finite(trained):
            self._save_checkpoint(self.model_wrapped, trial=None)
            missing = False
        last = last_checkpoint(self.args.output_dir) if missing else str(folder)
        return f"the weights before it are in {last}" if last else "no checkpoint was written before"

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Trainer's clipping and norm; stops before a gradient that is not finite reaches the weights."""
        norm = super()._clip_grad_norm(model)
        # In fp16 such gradients are the scaler's daily business: it skips their step.
        if self.accelerator.scaler is None and norm is not None:
            self._stop_unless_finite(
                {"the student's gradient": torch.as_tensor(norm, device=self.args.device)}
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add every term, unweighted, averaged over the logging window and the processes."""
        window = self._term_log.pop() if "loss" in logs else None
        if window is not None:
            names, means = window
            logs.update(zip(names, self.accelerator.reduce(means, reduction="mean").tolist(), strict=True))
        super().log(logs, start_time)

    @torch.no_grad()
    def evaluate_teacher(self) -> dict[str, float]:
        """Score the teacher on `eval_dataset` as in training: its normalisation, its size.

        Returns:
            The task's scores, without a prefix.

        Raises:
            ValueError: If there is no teacher.
        """
        if self.teacher is None:
            raise ValueError(
                "there is no teacher to evaluate; pass `teacher_model` and give a term a weight."
            )
        metric = self.task.metric()
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            output = self.task.as_student(self.teacher(inputs).output, inputs)
            statistics = self.task.evaluation_statistics(output, inputs)
            # As Trainer pads what its own evaluation gathers: images have differently many boxes.
            statistics = self.accelerator.pad_across_processes(statistics, dim=1, pad_index=-100)
            metric.add_statistics(self.accelerator.gather_for_metrics(statistics))
        return metric.scores()

    # ---- the card ----

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | Sequence[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | Sequence[str] | None = None,
        dataset_tags: str | Sequence[str] | None = None,
        dataset: str | Sequence[str] | None = None,
        dataset_args: str | Sequence[str] | None = None,
    ) -> None:
        """Write `README.md` into `output_dir`; Trainer's own leaves the results of these tasks empty.

        Keeps Trainer's contract: every process may call it, the first one writes; what is given here wins
        over what the run says. See `card.card.with_overrides`.
        """
        if self.is_world_process_zero():
            write_card(
                self,
                self.run_notes,
                language=language,
                license=license,
                tags=tags,
                model_name=model_name,
                finetuned_from=finetuned_from,
                tasks=tasks,
                dataset_tags=dataset_tags,
                dataset=dataset,
                dataset_args=dataset_args,
            )

    # ---- set-up ----

    def _check_support(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError("StructKDTrainer is not tested with FSDP or DeepSpeed; use DDP.")
        for name, is_set in (
            ("label_smoothing_factor", self.args.label_smoothing_factor != 0),
            ("compute_loss_func", self.compute_loss_func is not None),
        ):
            if is_set:
                raise ValueError(f"`{name}` has no effect on StructKDTrainer's loss; leave it out.")
        if any(isinstance(data, IterableDataset) for data in (self.train_dataset, self.eval_dataset)):
            # Dispatching concatenates batches, and label maps of different sizes cannot be.
            self.accelerator.dataloader_config.dispatch_batches = False

    def _drop_captures(self) -> None:
        if self._student_capture is not None:
            self._student_capture.remove()
            self._student_capture = None
        if self.teacher is not None:
            self.teacher.drop_capture()
