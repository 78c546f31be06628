"""The workflow of all tasks: load everything once, train, compare, report."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, set_seed
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging

from ..card import RunNotes
from ..data import LoadedData, has_labels
from ..data.options import pair_of
from ..hub.access import check_push, open_repository
from ..matching.normalization import ImageNormalization
from ..models import TeacherSource
from ..models.freezing import freeze
from ..models.initialization import read_layers, start_from_teacher
from ..models.loading import (
    config_of,
    load_image_processor,
    load_student,
    student_image_processor,
)
from ..report import write_report
from ..training.arguments import StructKDTrainingArguments
from ..training.trainer import StructKDTrainer
from .failures import Failures
from .runs import alone_arguments, refuse_used_folder, train_and_evaluate
from .script_args import Arguments
from .spelled_out import spelled_out

logger = logging.get_logger(__name__)

Run = tuple[StructKDTrainer, dict[str, float]]


def distil(arguments: Arguments) -> None:
    """Distil a student; with `compare_baseline` also train it alone; save, evaluate, print the table, push.

    The student alone has the same seed, data order and number of steps. Images without labels teach it
    nothing, so it goes through the labelled ones more often instead.

    Raises:
        SystemExit: If teacher or student is not named.
        ValueError: If the output folder holds checkpoints of another run, or the Hub would refuse the push.
        PushError: If the push fails at the end; everything is saved then.
        Exception: The first failure of an evaluation, the report or the card, at the very end: the student is
            saved before them, and what else can be written is written.
    """
    args = arguments.training
    if arguments.models.teacher_model_name_or_path is None:
        raise SystemExit("--teacher_model_name_or_path is missing: name a Hub id or a folder.")
    experiment = Experiment.load(arguments)
    if args.push_to_hub and args.process_index == 0:
        open_repository(args)  # the trainer does this too, but after the student alone is trained
    alone: Run | tuple[None, None] = (None, None)
    if arguments.models.compare_baseline:
        alone = experiment.train(experiment.baseline_arguments(args), with_teacher=False)
    trainer, metrics = experiment.train(args, with_teacher=True)
    scores = None
    with experiment.failures.of("The evaluation of the teacher"):
        is_scored = trainer.eval_dataset is not None and has_labels(trainer.eval_dataset)
        if trainer.teacher is not None and is_scored:
            scores = trainer.evaluate_teacher()
    others: dict[str, Any] = {"teacher_metrics": scores, "alone": alone[0], "alone_metrics": alone[1]}
    experiment.publish(trainer, metrics, others)


def train_teacher(arguments: Arguments) -> None:
    """Train the model that is named as the student without a teacher, so that it can become one.

    The errors are those of `distil`.
    """
    args = arguments.training
    arguments.models.teacher_model_name_or_path = None
    experiment = Experiment.load(arguments)
    alone = alone_arguments(args, folder=str(args.output_dir))
    alone.push_to_hub = args.push_to_hub
    trainer, metrics = experiment.train(alone, with_teacher=False)
    experiment.publish(trainer, metrics, {})


@dataclass(frozen=True)
class Experiment:
    """What the runs of a comparison share, loaded once."""

    arguments: Arguments
    data: LoadedData
    processor: Any
    teacher: TeacherSource | None
    teacher_processor: Any
    failures: Failures = field(default_factory=Failures)
    # Read now: the file may be another one when the card is written.
    command: Sequence[str] = field(default_factory=lambda: spelled_out(sys.argv))

    @classmethod
    def load(cls, arguments: Arguments) -> Experiment:
        """Check the folder and the push, then load the teacher, if one is named, and the data."""
        task, models, options, training = arguments
        student = _student_name(arguments)
        refuse_used_folder(training)
        check_push(training)
        processor = student_image_processor(
            student,
            task,
            pair_of("image_size", options.image_size),
            keep_aspect_ratio=options.fits_images,
            revision=models.student_revision,
            trust_remote_code=models.trust_remote_code,
        )
        name, revision = models.teacher_model_name_or_path, models.teacher_revision
        trust = {"trust_remote_code": models.trust_remote_code}
        teacher = None if name is None else TeacherSource(name, task, revision=revision, **trust)
        if teacher is not None and training.teacher_cache is None:
            teacher.model  # noqa: B018 - a teacher that cannot be loaded ends the run before it begins
        teacher_processor = (
            None if teacher is None else load_image_processor(teacher.folder, revision=revision)
        )
        loaded = task.load_data(
            options,
            normalization=ImageNormalization.from_image_processor(processor),
            teacher=None if teacher is None else teacher.config,
            # A data seed of its own shows runs of several seeds the same views.
            seed=training.seed if training.data_seed is None else training.data_seed,
        )
        _check_labels(arguments, loaded)
        return cls(arguments, loaded, processor, teacher, teacher_processor)

    def train(self, args: StructKDTrainingArguments, *, with_teacher: bool) -> Run:
        """Train, save and evaluate a fresh student."""
        trainer = self.trainer(args, with_teacher=with_teacher)
        return trainer, train_and_evaluate(trainer, self.failures)

    def trainer(self, args: StructKDTrainingArguments, *, with_teacher: bool) -> StructKDTrainer:
        """Return a trainer of a fresh student."""
        task, models, options, _ = self.arguments
        set_seed(args.seed)  # every run starts from the same weights
        student = load_student(
            _student_name(self.arguments),
            task,
            id2label=self.data.id2label,
            revision=models.student_revision,
            trust_remote_code=models.trust_remote_code,
            ignore_index=self.data.ignore_index,
        )
        if models.init_student_from_teacher or models.teacher_layers:
            self._start_from_teacher(student)
        freeze(student, models.freeze)
        trainer = StructKDTrainer(
            student,
            self.teacher if with_teacher else None,
            args,
            task=task,
            processing_class=self.processor,
            teacher_processing_class=self.teacher_processor,
            task_options=task.task_options(options),
            train_dataset=self.data.train if with_teacher else self.data.labeled,
            eval_dataset=self.data.validation,
        )
        trainer.run_notes = self.notes()
        return trainer

    def _start_from_teacher(self, student: PreTrainedModel) -> None:
        if self.teacher is None:
            raise ValueError(
                "`init_student_from_teacher` needs a `teacher_model_name_or_path`, got none; name one."
            )
        task, models, options, _ = self.arguments
        chosen = task.task_options(options)
        teacher = self.teacher.asked_for(config_of(student), chosen)
        matched = task(config_of(student), teacher.config, **chosen)
        layers = read_layers(models.teacher_layers)
        start = start_from_teacher(student, teacher.model, matched.labels, layers=layers)
        logger.info("The student starts from its teacher: %s.", start)

    def publish(
        self, trainer: StructKDTrainer, metrics: Mapping[str, float], others: Mapping[str, Any]
    ) -> None:
        """Write the report and the card, and push if that is wanted; then raise what failed first.

        Args:
            trainer: The trainer of the student, which is saved.
            metrics: Its scores.
            others: What `write_report` compares it with.
        """
        if trainer.is_world_process_zero() and trainer.args.shard:
            logger.warning(
                "No table and no figures are made of a sharded run, because one process makes them: compare "
                "the saved student and its teacher without `shard`."
            )
        elif trainer.is_world_process_zero():
            with self.failures.of("The report"):
                table = write_report(trainer, metrics, **others, part=self.failures.of)
                end = f"The student, its metrics, figures and report.html are in {trainer.args.output_dir}."
                print("\n\n".join(filter(None, [table, end])))  # noqa: T201
                trainer.run_notes = self.notes(metrics, table or None, others.get("teacher_metrics"))
        with self.failures.of("The card or the push"):
            _publish(trainer)
        self.failures.raise_first()

    def notes(
        self,
        metrics: Mapping[str, float] | None = None,
        table: str | None = None,
        teacher_metrics: Mapping[str, float] | None = None,
    ) -> RunNotes:
        """Return what the card says and the trainer does not know, with scores and comparison if given."""
        models = self.arguments.models
        return RunNotes(
            data=self.arguments.options,
            student_revision=models.student_revision,
            teacher_revision=models.teacher_revision,
            command=self.command,
            metrics=metrics,
            teacher_metrics=teacher_metrics,
            table=table,
        )

    def baseline_arguments(self, args: StructKDTrainingArguments) -> StructKDTrainingArguments:
        """Return the arguments of the same student alone, for the number of steps of the distilled one."""
        alone = alone_arguments(args)
        if self.data.labeled is not self.data.train and alone.max_steps <= 0:
            alone.max_steps = self._steps(args)
        return alone

    def _steps(self, args: StructKDTrainingArguments) -> int:
        train: Any = self.data.train
        batch = args.train_batch_size * args.world_size
        batches = len(train) // batch if args.dataloader_drop_last else math.ceil(len(train) / batch)
        steps = max(1, math.ceil(batches / args.gradient_accumulation_steps))
        total: int = math.ceil(args.num_train_epochs * steps)
        return total


def _publish(trainer: StructKDTrainer) -> None:
    """Write the card and, with `push_to_hub`, push the run's folder; every process calls it."""
    if not trainer.args.push_to_hub:
        trainer.create_model_card()
        return
    commit = trainer.push_to_hub()
    if trainer.is_world_process_zero():
        print(f"The student is on the Hub: {commit.repo_url}")  # noqa: T201


def _check_labels(arguments: Arguments, data: LoadedData) -> None:
    """Raise `ValueError` where labels, or images to evaluate on, are missing for what is asked for."""
    models, training, name = arguments.models, arguments.training, arguments.options.dataset_name
    if data.labeled is None and (models.compare_baseline or models.teacher_model_name_or_path is None):
        raise ValueError(
            f"a student alone learns from labels, and those of {name!r} are missing or not read; leave "
            f"{'`compare_baseline` out' if models.compare_baseline else '`without_labels` out, or add them'}."
        )
    if data.validation is None and training.eval_strategy != IntervalStrategy.NO:
        raise ValueError(
            f"`eval_strategy` {training.eval_strategy.value!r} needs images to evaluate on, and {name!r} has "
            "no validation split; hold some out with --validation_fraction 0.1, or leave it out."
        )


def _student_name(arguments: Arguments) -> str:
    name = arguments.models.student_model_name_or_path
    if name is None:
        raise SystemExit("--student_model_name_or_path is missing: name the model to train.")
    return name
