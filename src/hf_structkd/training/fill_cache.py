"""Filling a teacher's cache before a training."""

from __future__ import annotations

import torch

from ..features.forward import run_model
from ..features.probe import probing
from .trainer import StructKDTrainer


@torch.no_grad()
def fill_teacher_cache(trainer: StructKDTrainer) -> int:
    """Show the teacher every view of the training data, and store its answers; several processes share it.

    A training then loads no teacher. What is stored already is not computed again, so that a filling that was
    interrupted goes on.

    Args:
        trainer: A trainer with `teacher_cache`, whose data have a number of `views`. It is not trained.

    Returns:
        How many answers this process has looked up or computed.

    Raises:
        ValueError: If there is no cache, or the data are augmented anew in every epoch.
    """
    data, pair = trainer.train_dataset, trainer.pair
    if trainer.args.teacher_cache is None or getattr(data, "views", None) is None or pair.teacher is None:
        raise ValueError(
            "`trainer` must have a teacher, `teacher_cache` and data with `augmentation_views`, got one "
            "without; set them."
        )
    pair.meet(data)
    terms = [term for term, _ in trainer.distillation.active()]
    model, count, loader = trainer.model.to(trainer.args.device), 0, trainer.get_train_dataloader()
    for view in range(data.views):
        data.set_epoch(view)
        if hasattr(loader, "set_epoch"):  # accelerate's, which else sets the data back to epoch 0
            loader.set_epoch(view)
        for batch in loader:
            inputs = trainer._prepare_inputs(batch)
            if "features" in pair.question(terms).reads:
                pair.capture_features(model, inputs["pixel_values"])
            with probing(model):
                student = run_model(model, pair.task.model_inputs(inputs), pair.student_capture)
            pair.answer(inputs, student, terms)
            count += len(inputs["pixel_values"])
    pair.teacher.flush()
    pair.drop_captures()
    return count
