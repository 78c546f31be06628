"""Load what a run loads, and go on where a part is missing: labels, or the weights of the teacher."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from ...data import LoadedData
from ...data.options import pair_of
from ...hub.access import check_push
from ...matching.normalization import ImageNormalization
from ...models import TeacherSource
from ...models.loading import (
    holds_only_a_configuration,
    load_image_processor,
    load_student,
    student_image_processor,
)
from ...models.named import place_of
from ...models.teacher_forms import teacher_form
from ...tasks import Task
from ..distil import Experiment
from ..endings import UsageError
from ..runs import refuse_used_folder
from ..script_args import Arguments
from .findings import Findings
from .rehearsal import keep_nothing


@dataclass(frozen=True)
class Patient:
    """What a run consists of, as far as it could be loaded.

    Attributes:
        arguments: The command line, changed so that nothing is kept.
        processor: The student's image processor.
        teacher: The teacher; its weights are random where its folder holds none.
        teacher_processor: Its image processor, or None.
        experiment: What runs, or None where something stops it, as data that cannot be loaded.
    """

    arguments: Arguments
    processor: Any
    teacher: TeacherSource
    teacher_processor: Any
    experiment: Experiment | None

    @classmethod
    def load(cls, arguments: Arguments, folder: Path, findings: Findings) -> Patient:
        """Load the parts; what cannot be loaded and is not needed here is kept in the findings.

        Args:
            arguments: The command line.
            folder: Takes what a run would write.
            findings: Keeps what stops the run.

        Raises:
            UsageError: If a model is not named.
        """
        task, models, options, training = arguments
        for flag in ("teacher_model_name_or_path", "student_model_name_or_path"):
            if getattr(models, flag) is None:
                raise UsageError(f"--{flag} is missing: name a Hub id or a folder.")
        student = str(models.student_model_name_or_path)
        name = str(place_of(str(models.teacher_model_name_or_path)))
        for check in (refuse_used_folder, check_push):
            with findings.stopping():
                check(training)
        keep_nothing(training, str(folder))
        if holds_only_a_configuration(name):
            findings.stops.append(
                f"`teacher_model` {name} has no weights, and a teacher must be trained; here its weights are "
                "random, so that sizes and times are right and values are not."
            )
            models.teacher_model_name_or_path = name = _with_random_weights(name, task, folder / "teacher")
            training.teacher_cache = None  # its answers must not be kept
        with findings.stopping():
            found = Experiment.load(arguments)
            teacher = found.teacher
            assert teacher is not None
            if name == str(folder / "teacher"):
                teacher = _named_by(found.data, teacher, task, findings)
                found = replace(found, teacher=teacher)
            return cls(arguments, found.processor, teacher, found.teacher_processor, found)
        size = pair_of("image_size", options.image_size)
        return cls(
            arguments,
            student_image_processor(student, task, size, revision=models.student_revision),
            TeacherSource(name, task, revision=models.teacher_revision),
            load_image_processor(name, revision=models.teacher_revision),
            None,
        )

    @property
    def normalization(self) -> ImageNormalization:
        """How the student's images are normalised."""
        return ImageNormalization.from_image_processor(self.processor)

    @property
    def is_from_scratch(self) -> bool:
        """Whether the student starts from random weights, here and in the run."""
        return holds_only_a_configuration(str(self.arguments.models.student_model_name_or_path))

    def student(self) -> PreTrainedModel:
        """Load the student with the classes of the data or, without data, of its configuration."""
        models = self.arguments.models
        data = None if self.experiment is None else self.experiment.data
        known: dict[str, Any] = (
            {} if data is None else {"id2label": data.id2label, "ignore_index": data.ignore_index}
        )
        name = str(models.student_model_name_or_path)
        return load_student(name, self.arguments.task, revision=models.student_revision, **known)

    def match(self, student: PretrainedConfig) -> Task:
        """Match the two models; raise `ValueError` where that is impossible."""
        task, _, options, _ = self.arguments
        chosen = task.task_options(options)
        teacher = self.teacher.asked_for(student, chosen)
        return task(student, teacher.config, **chosen)

    def blank_batch(self) -> Mapping[str, Any]:
        """Return one gray image of the size of the run; what it costs does not depend on what it shows."""
        size = pair_of("image_size", self.arguments.options.image_size)
        return {"pixel_values": self.normalization.normalize(torch.full((1, 3, *size), 0.5))}


def _named_by(
    data: LoadedData, teacher: TeacherSource, task: type[Task], findings: Findings
) -> TeacherSource:
    """Return an untrained teacher whose classes have no names as one that knows those of the data."""
    names = data.id2label
    known = teacher.config.id2label.values()  # of a teacher that reads text none
    if names is None or not known or not all(re.fullmatch(r"LABEL_\d+", name) for name in known):
        return teacher
    findings.trap(
        "The classes of the untrained teacher have no names: here it is taken to know those of the data, as "
        "one that `structkd train-teacher` trains on them."
    )
    config = copy.deepcopy(teacher.config)
    config.id2label, config.label2id = names, {name: index for index, name in names.items()}
    return TeacherSource(_untrained(config, task, teacher.name), task)


def _with_random_weights(name: str, task: type[Task], folder: Path) -> str:
    """Save a model of this configuration with random weights, and its image processor if there is one."""
    _untrained(AutoConfig.from_pretrained(name), task, name).save_pretrained(folder)
    processor = load_image_processor(name)
    if processor is not None:
        processor.save_pretrained(folder)
    return str(folder)


def _untrained(config: PretrainedConfig, task: type[Task], name: str) -> PreTrainedModel:
    form = teacher_form(config.architectures or [], task, name)
    model: PreTrainedModel = form.auto_model.from_config(config)
    return model
