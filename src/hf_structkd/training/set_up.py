"""What a trainer is made of: the terms, the student, the schedule of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset
from transformers import PreTrainedModel, Trainer, get_scheduler
from transformers.trainer_utils import number_of_arguments

from ..models import load_student
from ..tasks import Task, task_of
from ..terms import TaskTerm, Term, Terms, TrainingPlan, built_in_terms
from .arguments import StructKDTrainingArguments


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
    values |= {name: value for name, value in term.settings().items() if value != getattr(plain, name)}
    for name, value in values.items():
        raise ValueError(
            f"`{name}` is {value!r} in `args`, which has no effect beside `terms`; set it on the term in "
            "that list, and leave it out of `args`."
        )


def first_student(
    model: PreTrainedModel | str | Path | None,
    model_init: Callable[..., PreTrainedModel] | None,
    task: type[Task] | None,
) -> PreTrainedModel:
    """Return the student: loaded where it is named, made where `model_init` makes it.

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
    if isinstance(model, PreTrainedModel):
        return model
    assert model is not None
    return load_student(model, task or task_of(model))


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


def answers_to_expect(args: StructKDTrainingArguments, dataset: Any) -> int | None:
    """Return how many answers of the teacher a cache needs for a dataset, or None where it is not known.

    Raises:
        ValueError: If a cache is wanted and the dataset never shows an image twice in the same way.
    """
    if args.teacher_cache is None or not hasattr(dataset, "views"):
        return None
    if dataset.views is None:
        raise ValueError(
            "`teacher_cache` needs training data with a fixed number of views, got data that is augmented "
            "anew in every epoch; load it with `augmentation_views`, for example 4."
        )
    return len(dataset) * int(dataset.views) if hasattr(dataset, "__len__") else None


def check_support(trainer: Trainer) -> None:
    """Raise `ValueError` for options of `Trainer` that would be passed over in silence.

    Streams are read by every process itself: dispatching concatenates batches, and label maps of different
    sizes cannot be.
    """
    if any(isinstance(data, IterableDataset) for data in (trainer.train_dataset, trainer.eval_dataset)):
        trainer.accelerator.dataloader_config.dispatch_batches = False
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ValueError("StructKDTrainer is not tested with FSDP or DeepSpeed; use DDP.")
    for name, is_set in (
        ("label_smoothing_factor", trainer.args.label_smoothing_factor != 0),
        ("compute_loss_func", trainer.compute_loss_func is not None),
    ):
        if is_set:
            raise ValueError(f"`{name}` has no effect on StructKDTrainer's loss; leave it out.")
