"""From the arguments to the objects that know no arguments."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from transformers import PreTrainedModel, get_scheduler

from ..adversary.critic import Critic
from ..adversary.owner import Adversary, build_optimizer
from ..models.loading import load_image_processor
from ..models.teacher import FrozenTeacher, matching_normalizations
from ..tasks import Task
from .arguments import StructKDTrainingArguments
from .criterion import Criterion


def build_criterion(task: Task, terms: Collection[str], args: StructKDTrainingArguments) -> Criterion:
    """The criterion that the arguments describe, for the terms that are on."""
    return Criterion(
        task,
        terms,
        temperature=args.temperature,
        granularity=(args.granularity[0], args.granularity[-1]),
        node_grid=args.node_grid,
        connection_range=args.connection_range,
        node_pooling=args.node_pooling,
    )


def build_teacher(
    model: PreTrainedModel,
    task: Task,
    args: StructKDTrainingArguments,
    *,
    processor: Any,
    teacher_processor: Any,
) -> FrozenTeacher:
    """The teacher, frozen, shown images of its own normalisation and size.

    Args:
        model: The trained model.
        task: Reads its output.
        args: The settings.
        processor: The student's image processor, or None.
        teacher_processor: The teacher's; None loads the one beside it.
    """
    teacher_processor = teacher_processor or load_image_processor(model.name_or_path)
    own, theirs = matching_normalizations(processor, teacher_processor)
    size = args.teacher_image_size
    return FrozenTeacher(
        model,
        task,
        student_normalization=own,
        teacher_normalization=theirs,
        image_size=(size[0], size[1]) if size else None,
        device=args.device,
    )


def build_adversary(args: StructKDTrainingArguments, map_channels: int, max_steps: int) -> Adversary:
    """A fresh critic and its owner, as the arguments describe them.

    Args:
        args: The settings; the schedule is the student's `lr_scheduler_type`.
        map_channels: Channels of the maps that the critic sees.
        max_steps: Optimiser steps of the whole training.
    """
    # Its own seed: a student is initialised, dropped out and ordered the same with a critic and without.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(args.seed)
        critic = Critic(
            map_channels,
            image_channels=3 if args.critic_conditional else 0,
            spectral_norm=args.critic_spectral_norm,
        ).to(args.device)
    optimizer = build_optimizer(critic, name=args.critic_optimizer, learning_rate=args.critic_learning_rate)
    scheduler = get_scheduler(
        args.lr_scheduler_type,
        optimizer,
        num_warmup_steps=args.get_warmup_steps(max_steps),
        num_training_steps=max_steps,
        scheduler_specific_kwargs=args.lr_scheduler_kwargs,
    )
    return Adversary(
        critic,
        optimizer,
        scheduler,
        kind=args.critic_loss,
        gradient_penalty_weight=args.gradient_penalty_weight,
        max_grad_norm=args.critic_max_grad_norm,
        seed=args.seed,
    )
