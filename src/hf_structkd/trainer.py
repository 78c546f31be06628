"""`StructKDTrainer`: `transformers.Trainer` with a teacher, three more terms and a critic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
)
from transformers.utils import logging

from .adversary import Adversary
from .build import build_adversary, build_criterion
from .callbacks import EpochCallback
from .checkpoints import refuse_other_settings, save_settings
from .features import FeatureCapture, unwrap
from .models import (
    config_of,
    load_image_processor,
    load_student,
    load_teacher,
    restore_weights,
    task_of,
)
from .setup_table import describe_pair
from .tasks import ScoreMaps, Task
from .teacher import FrozenTeacher, matching_normalizations, run_model
from .term_log import TermLog
from .training_args import StructKDTrainingArguments

logger = logging.get_logger(__name__)


class StructKDTrainer(Trainer):
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
        teacher_label_map: Teacher class name to student class name, for classes that are named differently.
        **kwargs: Passed to `transformers.Trainer`. `data_collator` defaults to the task's; `compute_metrics`
            to the task's streaming metric, for which each image is reduced on the device to its statistics.

    Raises:
        TypeError: If `args` are no `StructKDTrainingArguments`.
        ValueError: If a teacher is missing, solves another task or shares no class with the student.
    """

    args: StructKDTrainingArguments
    compute_metrics: Any
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
        teacher_label_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Load what is named, match the two models and hand the rest to `Trainer`."""
        if not isinstance(args, StructKDTrainingArguments):
            raise TypeError(f"`args` must be StructKDTrainingArguments, got {type(args).__name__}.")
        self.terms = frozenset(name for name, weight in args.weights.items() if weight > 0)
        if teacher_model is None and self.terms - {"task"}:
            raise ValueError(
                f"`teacher_model` is None, but the terms {sorted(self.terms - {'task'})} need one; name a "
                "teacher, or set their weights to 0 to train the student alone."
            )
        task = task or task_of(model)
        if isinstance(model, (str, Path)):
            processing_class = processing_class or load_image_processor(model)
            model = load_student(model, task)
        # Without a term that needs it, the teacher is not even loaded.
        teacher = None
        if teacher_model is not None and self.terms - {"task"}:
            teacher = load_teacher(teacher_model, task)
        self.task = task(
            config_of(model),
            None if teacher is None else config_of(teacher),
            teacher_label_map=teacher_label_map,
        )
        kwargs.setdefault("data_collator", self.task.collate)
        super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
        # Dense models take **kwargs, from which Trainer concludes that they divide their loss themselves.
        self.model_accepts_loss_kwargs = False
        self._check_parallelism()
        self._streams_metrics = self.compute_metrics is None
        if self._streams_metrics:
            self._metric = self.task.metric()
            self.compute_metrics = self._compute_metrics
        self.criterion = build_criterion(self.task, self.terms, args)
        self.teacher = None
        if teacher is not None:
            teacher_processing_class = teacher_processing_class or load_image_processor(teacher.name_or_path)
            own, theirs = matching_normalizations(self.processing_class, teacher_processing_class)
            size = args.teacher_image_size
            self.teacher = FrozenTeacher(
                teacher,
                self.task,
                student_normalization=own,
                teacher_normalization=theirs,
                image_size=(size[0], size[1]) if size else None,
                device=args.device,
            )
        self.add_callback(EpochCallback(self.train_dataset))
        self.adversary: Adversary | None = None
        self._student_capture: FeatureCapture | None = None
        self._pending_maps: ScoreMaps | None = None
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
        if not model.training:
            output = run_model(model, inputs["pixel_values"], None).output
            loss = self.task.task_loss(output, inputs)
            return (loss, output) if return_outputs else loss
        if not self._pair_is_ready:
            self._prepare_pair(model, inputs)
        student = run_model(model, inputs["pixel_values"], self._student_capture)
        teacher = self.teacher(inputs["pixel_values"]) if self.teacher is not None else None
        terms = self.criterion(student, teacher, inputs)
        if self.adversary is not None and teacher is not None:
            maps = self.task.score_maps(student, teacher, inputs)
            terms["holistic"] = self.adversary.student_loss(maps)
            self._pending_maps = maps.detach()
        self._record({f"loss_{name}": value for name, value in terms.items()})
        weights = self.args.weights
        loss = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return (loss, student.output) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """The student's micro-step as Trainer does it, then the critic's on the same maps.

        Keeps Trainer's contract: the detached loss of the micro-batch. The critic steps once for each
        optimiser step, on the last micro-batch, after every micro-batch of it has met the same critic.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.adversary is not None and self._pending_maps is not None:
            maps, self._pending_maps = self._pending_maps, None
            self._record(
                self.adversary.accumulate(maps, micro_steps=self.current_gradient_accumulation_steps)
            )
            if self.accelerator.sync_gradients:
                self.adversary.step()
        return loss

    def _prepare_pair(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        """Find the two feature maps from the first batch and say what is compared with what."""
        self.task.check_batch(inputs)
        images = inputs["pixel_values"]
        if self.teacher is not None:
            self.teacher.check(images)
            if "pairwise" in self.terms:
                self._student_capture = self._capture_student(unwrap(model), images)
                self.teacher.prepare_capture(images, self.args.teacher_feature)
            if self.is_world_process_zero():
                table = describe_pair(
                    self.criterion,
                    self.args.weights,
                    inputs,
                    student=unwrap(model),
                    capture=self._student_capture,
                    teacher=self.teacher,
                    critic=None if self.adversary is None else self.adversary.critic,
                )
                print(table, flush=True)  # noqa: T201 - the one thing to read before a long training
        self._pair_is_ready = True

    def _capture_student(self, student: nn.Module, images: Tensor) -> FeatureCapture:
        if self.args.student_feature is not None:
            return FeatureCapture.of_module(student, self.args.student_feature)
        return FeatureCapture.before_classifier(student, images[:1])

    # ---- the critic's life ----

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: Any
    ) -> Any:
        """Build the critic before states are loaded into it.

        Keeps Trainer's contract by calling it last. Not in `__init__`: `train()` frees what it prepared.
        """
        refuse_other_settings(self.args, resume_from_checkpoint)
        self._pair_is_ready = False
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
        save_settings(self.args, output_dir)
        if self.adversary is not None:
            self.adversary.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read the critic back after Trainer's own states."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.adversary is not None:
            self.adversary.load(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Read the student back; keeps Trainer's contract, and loses no renamed weight."""
        restore_weights(self.model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        """Read the best student back; keeps Trainer's contract, and loses no renamed weight."""
        restore_weights(self.model, str(self.state.best_model_checkpoint))

    # ---- logs ----

    def _record(self, values: dict[str, Tensor]) -> None:
        values = {name: value.detach().float() for name, value in values.items()}
        self._stop_unless_finite(values)
        self._term_log.add(values)

    def _stop_unless_finite(self, values: dict[str, Tensor]) -> None:
        finite = torch.stack([torch.isfinite(value) for value in values.values()]).float()
        # Every process must learn of it: one that stops alone leaves the others waiting in a reduction.
        finite = self.accelerator.reduce(finite, reduction="mean")
        if bool((finite == 1).all()):
            return
        names = [name for name, ok in zip(values, finite.tolist(), strict=True) if ok < 1]
        self._save_checkpoint(self.model_wrapped, trial=None)
        last = f"{self.args.output_dir}/checkpoint-{self.state.global_step}"
        raise FloatingPointError(
            f"{' and '.join(names)} turned non-finite at step {self.state.global_step + 1}; the weights "
            f"before it are in {last}. Lower the learning "
            "rate or that term's weight, or set `critic_loss` to hinge, and resume from there."
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add every term, unweighted, averaged over the logging window and the processes."""
        window = self._term_log.pop() if "loss" in logs else None
        if window is not None:
            names, means = window
            logs.update(zip(names, self.accelerator.reduce(means, reduction="mean").tolist(), strict=True))
        super().log(logs, start_time)

    # ---- evaluation ----

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """Reduce each image to the task's statistics on the device, so that no logits are gathered or kept.

        Keeps Trainer's contract: (loss, predictions, labels), the statistics standing for the predictions.
        With a `compute_metrics` of the caller's it is Trainer's own.
        """
        if not self._streams_metrics:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)  # type: ignore[no-any-return]
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, output = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        statistics = self.task.evaluation_statistics(output, inputs)
        # Trainer calls a metric only where there are labels; these are counted in the statistics already.
        return loss, statistics, torch.zeros(statistics.shape[0], device=statistics.device)

    def _compute_metrics(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        self._metric.add_statistics(torch.as_tensor(prediction.predictions))
        return self._metric.scores() if compute_result else {}

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
            output = self.task.as_student(self.teacher(inputs["pixel_values"]).output)
            statistics = self.task.evaluation_statistics(output, inputs)
            metric.add_statistics(self.accelerator.gather_for_metrics(statistics))
        return metric.scores()

    # ---- set-up ----

    def _check_parallelism(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "StructKDTrainer is not tested with FSDP or DeepSpeed; launch it with plain DDP."
            )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"StructKDTrainer runs one process a GPU, got one process with {self.args.n_gpu}; start it "
                f"with `accelerate launch --num_processes {self.args.n_gpu}` or torchrun."
            )

    def _drop_captures(self) -> None:
        if self._student_capture is not None:
            self._student_capture.remove()
            self._student_capture = None
        if self.teacher is not None:
            self.teacher.drop_capture()
