"""`structkd doctor`: a few steps on one batch that nothing is kept of, and what they say of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ...models.loading import config_of, model_of
from ...models.parameters import count_parameters
from ...tasks import Task
from ...training.trainer import StructKDTrainer
from ..costs import peak_bytes, size_of
from ..doctor.classes import class_lines, renaming_hint
from ..doctor.findings import Findings
from ..doctor.lines import Plan, amount, cache_line, time_lines
from ..doctor.patients import Patient
from ..doctor.rehearsal import Rehearsal, planned_steps, rehearse
from ..doctor.values import ignored_share, image_line, label_lines
from ..endings import ExitCode
from ..script_args import Arguments
from ..task_words import arguments_of
from ..trained.loading import fixed_size

NAME = "doctor"
SUMMARY = "try one batch, keep nothing, and say what the run will be; the options are those of distill"

_MOSTLY = 0.5
_MUCH_LARGER = 1.5


def run(argv: Sequence[str]) -> None:
    """Load what can be loaded, take a few steps on one batch, and print what was found.

    Raises:
        UsageError: If a model is not named.
        SystemExit: If something stops the run, with the code of such an error.
    """
    arguments = arguments_of(NAME, argv)
    with closing(Findings()) as findings, tempfile.TemporaryDirectory() as folder:
        examine(arguments, Path(folder), findings)
    print(findings)  # noqa: T201
    if findings.stops:
        raise SystemExit(ExitCode.INPUT)


def examine(arguments: Arguments, folder: Path, findings: Findings) -> None:
    """Fill the findings on a run.

    Args:
        arguments: The command line.
        folder: Takes what a run would write.
        findings: What is filled.
    """
    plan = Plan(arguments.training)
    patient = Patient.load(arguments, folder, findings)
    trainer = found = steps = None
    if patient.experiment is not None:
        with findings.stopping():
            trainer = patient.experiment.trainer(arguments.training, with_teacher=True)
            steps = planned_steps(trainer)
            found = rehearse(trainer)
    student = patient.student() if trainer is None else model_of(trainer.model)
    task = _match(patient, student, trainer, findings)
    names = student.config.id2label
    if found is not None:
        images = image_line(found.batch, patient.normalization)
        findings.add("one batch", images | label_lines(found.batch, names))
        _label_traps(found, names, findings)
    elif patient.experiment is None:
        findings.add("one batch", {"labels": "none: the data cannot be loaded as they are"})
    costs = _sizes(patient, task, student, trainer, found)
    if found is not None and patient.experiment is not None:
        data = patient.experiment.data
        alone = arguments.models.compare_baseline
        costs |= time_lines(plan, found, steps, data.validation, alone=alone) | cache_line(found, data.train)
        if plan.step_seconds(found) > _MUCH_LARGER * found.step:
            findings.trap(
                "Reading the images takes longer than the models need for them; raise "
                "--dataloader_num_workers to the number of free cores."
            )
    peak = peak_bytes(plan.device)
    findings.add("costs", costs | ({"peak memory": f"{amount(peak)} of the process"} if peak else {}))
    _size_traps(patient, student, findings)
    findings.traps += arguments.options.traps()


def _match(
    patient: Patient, student: PreTrainedModel, trainer: StructKDTrainer | None, findings: Findings
) -> Task:
    """Add how the classes meet; return the task of both models, or of the student where they do not."""
    config = config_of(student)
    task = alone = patient.arguments.task(config, None)
    with findings.stopping():
        task = patient.match(config) if trainer is None else trainer.task
    findings.add("classes", class_lines(task))
    if alone.taught_classes():
        hint = renaming_hint(task.labels, config.id2label, patient.teacher.config.id2label)
        findings.traps += [hint] if hint else []
    return task


def _sizes(
    patient: Patient,
    task: Task,
    student: PreTrainedModel,
    trainer: StructKDTrainer | None,
    found: Rehearsal | None,
) -> dict[str, str]:
    batch: Mapping[str, Any] = patient.blank_batch() if found is None else found.batch
    start = "; it starts from random weights" if patient.is_from_scratch else ""
    lines = {"student": f"{size_of(student, task.model_inputs(batch))}{start}"}
    if not patient.teacher.is_loaded and patient.arguments.training.teacher_cache is not None:
        return lines | {"teacher": f"{patient.teacher.description}, read from the cache"}
    if trainer is not None and trainer.teacher is not None:
        return lines | {"teacher": size_of(trainer.teacher.model, trainer.teacher.inputs(batch))}
    return lines | {"teacher": size_of(patient.teacher.model, task.model_inputs(batch))}


def _label_traps(found: Rehearsal, names: Mapping[int, str], findings: Findings) -> None:
    share = ignored_share(found.batch, names)
    if share > _MOSTLY:
        findings.trap(
            f"{share:.0%} of the pixels of the batch are ignored, so that labels teach little; check "
            "`ignore_index`, `label_values` and `reduce_labels`."
        )


def _size_traps(patient: Patient, student: PreTrainedModel, findings: Findings) -> None:
    ours, theirs = count_parameters(student), count_parameters(patient.teacher.outline)
    if theirs < ours:
        findings.trap(
            f"The teacher has fewer parameters than the student ({theirs:,} and {ours:,}); check that the "
            "two are not exchanged."
        )
    wanted = fixed_size(patient.teacher_processor)
    shown = patient.arguments.training.teacher_image_size or patient.arguments.options.image_size
    if wanted is None:
        return
    ratio = max(max(a / b, b / a) for a, b in zip(wanted, shown, strict=True))
    if ratio > _MUCH_LARGER:
        findings.trap(
            f"The teacher's image processor makes images of {wanted[0]} × {wanted[1]}, and the run shows it "
            f"{shown[0]} × {shown[1]}; a teacher is best at the size that it was trained with: set "
            f"--teacher_image_size {wanted[0]} {wanted[1]}, or another --image_size."
        )
