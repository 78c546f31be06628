"""What a trainer is made of: the terms, the student, the schedule of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DynamoBackend, parse_flag_from_env
from torch import nn
from transformers import PreTrainedModel, Trainer, get_scheduler, set_seed
from transformers.trainer_utils import has_length, number_of_arguments
from transformers.utils import logging

from ..data import MixedDataset, MixedIterableDataset, StoredRows, StreamedRows, has_labels
from ..matching.normalization import ImageNormalization
from ..models import load_image_processor, load_student
from ..models.loading import config_of, model_of, resizing_to
from ..models.wrapped_module import image_processor_of, refuse_unsavable
from ..tasks import Task, task_of
from ..terms import TaskTerm, Term, Terms, TrainingPlan, built_in_terms
from .argument_checks import FSDP_REFUSED
from .arguments import StructKDTrainingArguments
from .best_model import refuse_unknown_metric
from .evaluation import StreamingScores

logger = logging.get_logger(__name__)

LOADED = (StoredRows, StreamedRows, MixedDataset, MixedIterableDataset)
"""The datasets that loaders make."""

_LOOKED_AT = 256
"""Rows of validation data that are read, at most, in search of a label."""


def collect_terms(terms: Sequence[Term] | None, args: StructKDTrainingArguments) -> Terms:
    """Return the terms of a run: those of `args`, or those given with the task's own loss before them.

    Raises:
        TypeError: If one of them is no `Term`.
        ValueError: If two have one name, or if `args` also set the weight or a setting of a built-in term.
    """
    if terms is None:
        return Terms(built_in_terms(args))
    own = Terms(terms)
    replaced = {term.name for term in own if not term.is_bound}
    for term in built_in_terms(args):
        bound = any(other.name == term.name and other.is_bound for other in own)
        if bound or (isinstance(term, TaskTerm) and term.name not in replaced):
            continue
        _refuse_without_effect(term)
    if any(isinstance(term, TaskTerm) for term in own):
        return own
    return Terms([TaskTerm.bound_to(args), *own])


def _refuse_without_effect(term: Term) -> None:
    """Raise `ValueError` if `args` change a term that a list of terms replaces or leaves out."""
    plain = type(term)()
    unchanged = (term.default_weight,) if isinstance(term, TaskTerm) else (None, 0.0)
    values = {f"{term.name}_weight": term.weight} if term.weight not in unchanged else {}
    values |= {f"{term.name}_warmup_steps": term.warmup_steps} if term.warmup_steps else {}
    values |= {name: value for name, value in term.settings().items() if value != getattr(plain, name)}
    for name, value in values.items():
        raise ValueError(
            f"`{name}` is {value!r} in `args`, which has no effect beside `terms`; set it on the term in "
            "that list, and leave it out of `args`."
        )


def first_student(
    model: nn.Module | str | Path | None,
    model_init: Callable[..., nn.Module] | None,
    task: type[Task] | None,
    data: Any,
    seed: int,
) -> nn.Module:
    """Return the student: loaded where it is named, made where `model_init` makes it; PEFT may wrap it.

    A student that is named learns the classes of the training data, if these come from one of the loaders,
    and `seed` draws the weights that it lacks.

    Raises:
        ValueError: If both or none are given.
    """
    if (model is None) == (model_init is None):
        raise ValueError(
            "exactly one of `model` and `model_init` must be given, got "
            f"{'none' if model is None else 'both'}; pass a model, or None and a function that makes one."
        )
    if model_init is not None:
        return model_init(None) if number_of_arguments(model_init) else model_init()
    if isinstance(model, nn.Module):
        refuse_unsavable(model_of(model))
        return model
    assert model is not None
    known: dict[str, Any] = {}
    if isinstance(data, LOADED):
        known = {"id2label": data.id2label, "ignore_index": data.ignore_index}
    set_seed(seed)  # Trainer does so too, but after the student has its weights
    loaded: nn.Module = load_student(model, task or task_of(model), **known)
    return loaded


def student_processor(
    student: PreTrainedModel, task: type[Task] | None, data: Mapping[str, Any]
) -> Any | None:
    """Return the image processor beside a student, or the one that does what a loader did to the images.

    Args:
        student: The student.
        task: Its task; None reads it off the student.
        data: `eval_dataset` and `train_dataset`; the first that a loader made counts.

    Returns:
        The saved one; without it the task's own, in the size of the data; None if no loader made the data,
        or they are normalised otherwise.
    """
    own = image_processor_of(config_of(student))
    saved = None if own is not None else load_image_processor(student.name_or_path)
    # Validation images are resized as a pipeline does it; training images are cropped too.
    parts = (data.get("eval_dataset"), data.get("train_dataset"))
    reader = next((part.reader for part in parts if isinstance(part, LOADED)), None)
    size = reader and (reader.size or (reader.augmentation and reader.augmentation.size))
    if saved is not None or reader is None or not size:
        return own if saved is None else saved
    made = own or (task or task_of(student)).image_processor(size, config_of(student))
    processor = resizing_to(made, size, keep_aspect_ratio=reader.fits_images)
    normalization = reader.normalization
    if normalization is None and own is None:
        processor.do_normalize = False
    elif normalization != ImageNormalization.from_image_processor(processor):
        if own is not None:
            raise ValueError(
                f"the data must be normalised as the student takes images, by `mean` {own.image_mean} and "
                f"`std` {own.image_std}, got {normalization}; load them with that `normalization`."
            )
        return None
    return processor


def training_plan(args: StructKDTrainingArguments, max_steps: int) -> TrainingPlan:
    """Return what terms must know of a training of so many optimiser steps."""

    def scheduler(optimizer: torch.optim.Optimizer) -> Any:
        return get_scheduler(
            args.lr_scheduler_type,
            optimizer,
            num_warmup_steps=args.get_warmup_steps(max_steps),
            num_training_steps=max_steps,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )

    return TrainingPlan(args.device, args.seed, scheduler)


def check_support(trainer: Trainer, task: Task) -> None:
    """Raise `ValueError` for options of `Trainer` that would be passed over in silence, or fail late."""
    adds_scores = type(trainer).evaluate is not Trainer.evaluate
    if isinstance(trainer.compute_metrics, StreamingScores) and not adds_scores:
        refuse_unknown_metric(trainer.args, task, trainer.eval_dataset)
    # On CPUs accelerate passes over a launch with FSDP in silence, and trains with DDP.
    if trainer.is_fsdp_enabled or parse_flag_from_env("ACCELERATE_USE_FSDP"):
        raise ValueError(FSDP_REFUSED)
    if trainer.is_deepspeed_enabled:
        raise ValueError("DeepSpeed is not supported by StructKDTrainer; launch without it, which is DDP.")
    compiles = trainer.accelerator.state.dynamo_plugin.backend != DynamoBackend.NO
    if compiles and not trainer.args.torch_compile:
        raise ValueError(
            "accelerate's `dynamo_backend` compiles the student unknown to this trainer, so that captured "
            "features could be lost; launch with `--dynamo_backend no` and pass `torch_compile=True`."
        )
    for name, is_set in (
        ("label_smoothing_factor", trainer.args.label_smoothing_factor != 0),
        ("compute_loss_func", trainer.compute_loss_func is not None),
    ):
        if is_set:
            raise ValueError(f"`{name}` has no effect on StructKDTrainer's loss; leave it out.")


def warn_of_missing_labels(trainer: Any, task: Task) -> None:
    """Say before a training if nothing in the validation data is labelled; usually this reads one row.

    Raises:
        ValueError: If the task refuses the labels that it meets, see `Task.check_batch`.
    """
    data = trainer.eval_dataset
    for name, rows in (data if isinstance(data, dict) else {"": data}).items():
        agrees = trainer.teacher is not None and not has_labels(rows)  # which needs no label
        if (
            rows is None
            or agrees
            or any(
                _is_labelled(row, trainer.data_collator, task) for row in islice(_rows_of(rows), _LOOKED_AT)
            )
        ):
            continue
        if trainer.is_world_process_zero():
            logger.warning(
                "Nothing is labelled in the validation data%s (at most their first %d images are looked at): "
                "scores are NaN without labels, and can choose no best model.",
                f" {name!r}" if name else "",
                _LOOKED_AT,
            )


def _rows_of(rows: Any) -> Iterator[Any]:
    # A map-style dataset need not end an iteration by an IndexError.
    return (rows[index] for index in range(len(rows))) if has_length(rows) else iter(rows)


def _is_labelled(row: Any, collate: Callable[[list[Any]], Any], task: Task) -> bool:
    batch = collate([row])
    if batch.get("labels") is None:
        return False
    task.check_batch(batch)
    return task.has_labels(batch)
