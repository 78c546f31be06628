"""A loss term of your own, beside the built-in ones.

    python examples/custom_term.py

trains a small student on the embedded scenes for a few steps against a random teacher, in seconds. The term
is one class: it appears by itself in the logs, the start table, the curves, the card and the checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from hf_structkd import (
    PairwiseTerm,
    PixelTerm,
    StructKDTrainer,
    StructKDTrainingArguments,
    Term,
    load_segmentation_data,
)
from hf_structkd.features.forward import Batch, Forward
from hf_structkd.matching import ImageNormalization
from hf_structkd.tasks import Task


@dataclass(eq=False)
class EdgeTerm(Term):
    """How differently the two models' class probabilities change from pixel to pixel."""

    name = "edge"
    title = "edge term"
    compares = "how the class probabilities change from one pixel to the next"

    distance: int = 1  # a setting: pixels between the two that are compared

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the mean absolute difference of the changes along both axes."""
        maps = task.logit_maps(student, teacher, batch)
        ours, theirs = maps.student.softmax(dim=1), maps.teacher.softmax(dim=1)
        rows = _change(ours, self.distance, 2) - _change(theirs, self.distance, 2)
        columns = _change(ours, self.distance, 3) - _change(theirs, self.distance, 3)
        return rows.abs().mean() + columns.abs().mean()


def _change(maps: Tensor, distance: int, axis: int) -> Tensor:
    length = maps.shape[axis] - distance
    return maps.narrow(axis, distance, length) - maps.narrow(axis, 0, length)


def segformer(widths: list[int], num_labels: int) -> SegformerForSemanticSegmentation:
    """Build a SegFormer of the given widths, from scratch."""
    config = SegformerConfig(
        hidden_sizes=widths, depths=[1] * 4, decoder_hidden_size=widths[-1], num_labels=num_labels
    )
    return SegformerForSemanticSegmentation(config)


def main(output_dir: str = "outputs/custom-term", steps: int = 10) -> StructKDTrainer:
    """Train for some steps with two built-in terms and the new one; return the trainer."""
    torch.manual_seed(0)
    data = load_segmentation_data(
        image_size=(64, 96), normalization=ImageNormalization(), max_train_samples=32, max_eval_samples=4
    )
    args = StructKDTrainingArguments(
        output_dir, max_steps=steps, logging_steps=5, save_steps=steps, use_cpu=True
    )
    trainer = StructKDTrainer(
        segformer([8, 16, 32, 64], len(data.id2label)),
        segformer([16, 32, 64, 128], len(data.id2label)),
        args,
        terms=[PixelTerm(1.0), PairwiseTerm(10.0, granularity=2), EdgeTerm(0.5)],
        train_dataset=data.train,
        eval_dataset=data.validation,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    main()
