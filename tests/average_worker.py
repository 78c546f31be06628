"""Train with an average, in one go and resumed; alone, in two processes that write what each has at the end.

python -m tests.average_worker FOLDER
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer

from .cases import SEGMENTATION, StopAt, arguments, make_trainer, state_of
from .tiny_models import tiny_segmentation_model
from .two_processes import run_in_two

CHEAP = {"holistic_weight": 0.0, "pairwise_weight": 0.0, "max_steps": 2}
# More steps of warm-up than of training; the third step comes after the checkpoint, and is measured too.
EXACT = {**CHEAP, "max_steps": 3, "ema_decay": 0.7, "pixel_warmup_steps": 4, "balance_steps": 3}


def student() -> PreTrainedModel:
    """With BatchNorm in training, whose statistics are averaged too."""
    return tiny_segmentation_model("segformer", num_labels=5)


def stopped_and_resumed(folder: Path, **settings: Any) -> Iterator[StructKDTrainer]:
    """Yield a run in one go, and one that is stopped at its second step and resumed."""
    for name, stops in (("whole", ()), ("stopped", (StopAt(2),))):
        args = arguments(folder / name, save_strategy="steps", save_steps=2, **settings)
        trainer = make_trainer(SEGMENTATION, args, student=student(), callbacks=list(stops))
        trainer.train()
        if stops:
            trainer = make_trainer(SEGMENTATION, copy.deepcopy(args), student=student())
            trainer.train(resume_from_checkpoint=True)
        yield trainer


def work(folder: Path) -> None:
    """Be one of two processes."""
    for name, trainer in zip(("whole", "resumed"), stopped_and_resumed(folder, **EXACT), strict=True):
        weights = torch.tensor(list(trainer.distillation.weights_in_use.values()))
        state = {**state_of(trainer), "weights": weights}
        torch.save(state, folder / f"{name}-{trainer.args.process_index}.pt")


if __name__ == "__main__":
    run_in_two(partial(work, Path(sys.argv[1])))
