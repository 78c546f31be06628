"""A few steps on one batch, of which nothing is kept, and what they say of the length of a run."""

from __future__ import annotations

import math
import tempfile
import time
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, has_length

from ...teacher_cache import CachedTeacher
from ...training.arguments import StructKDTrainingArguments
from ...training.loaders import replaced
from ...training.trainer import StructKDTrainer

_STEPS = 4
_EVALUATED = 8


class Rehearsal(NamedTuple):
    """What was measured.

    Attributes:
        batch: The batch of the steps, on the device.
        reading: Seconds to read and augment one image, in one process.
        step: Seconds of a step without reading; the median of all but the first.
        evaluation: Seconds to evaluate one image; None without validation data.
        answer_bytes: Size of the teacher's answer to one image in a cache; 0 without a teacher.
    """

    batch: dict[str, Any]
    reading: float
    step: float
    evaluation: float | None
    answer_bytes: int


class _Repeated(Dataset[Any]):
    """A few rows, again and again, with what else the training data say of themselves."""

    def __init__(self, rows: list[Any], length: int, data: Any) -> None:
        self._rows, self._length = rows, length
        self.notes = getattr(data, "notes", {})

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        return self._rows[index % len(self._rows)]


class _Clock(TrainerCallback):
    """Takes the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._begin)


def keep_nothing(args: StructKDTrainingArguments, folder: str) -> None:
    """Let a training write nothing and tell nobody: this must stand before the trainer is made."""
    args.output_dir, args.resume_from_checkpoint = folder, None
    args.push_to_hub, args.report_to, args.disable_tqdm = False, [], True
    args.save_strategy, args.eval_strategy = SaveStrategy.NO, IntervalStrategy.NO
    args.logging_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False


def rehearse(trainer: StructKDTrainer) -> Rehearsal:
    """Take a few steps on one batch and score a few images; the student is worth nothing afterwards."""
    args, data = trainer.args, trainer.train_dataset
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.pair.meet(data)  # refuses a cache for views that never come again
    size = args.train_batch_size * args.gradient_accumulation_steps
    begin = time.perf_counter()
    rows = some_rows(data, args.train_batch_size)
    reading = (time.perf_counter() - begin) / len(rows)
    clock = _Clock()
    trainer.add_callback(clock)
    trainer.train_dataset = _Repeated(rows, size, data)
    steps = {"max_steps": _STEPS, "dataloader_drop_last": False, "dataloader_num_workers": 0}
    with replaced(args, **steps):
        trainer.train()
    trainer.train_dataset = data
    batch = trainer._prepare_inputs(trainer.data_collator(rows))
    return Rehearsal(
        batch, reading, median(clock.seconds[1:]), _evaluation(trainer), _answer_bytes(trainer, batch)
    )


def some_rows(data: Any, count: int) -> list[Any]:
    """Return so many rows, spread over the data, or the first ones of a stream."""
    if not has_length(data):
        return list(islice(data, count))
    places = np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int).tolist()
    return [data[place] for place in places]


def planned_steps(trainer: StructKDTrainer) -> int | None:
    """Return how many steps the run has, or None where nothing tells it."""
    args = trainer.args
    if args.max_steps > 0:
        return int(args.max_steps)
    loader: Any = trainer.get_train_dataloader()
    if not has_length(loader):
        return None
    steps: int = math.ceil(args.num_train_epochs * math.ceil(len(loader) / args.gradient_accumulation_steps))
    return steps


def _evaluation(trainer: StructKDTrainer) -> float | None:
    """Return the seconds that reading and scoring one validation image takes."""
    if trainer.eval_dataset is None:
        return None
    begin = time.perf_counter()
    rows = some_rows(trainer.eval_dataset, min(_EVALUATED, trainer.args.eval_batch_size))
    trainer.evaluate(_Repeated(rows, len(rows), None))
    return (time.perf_counter() - begin) / len(rows)


@torch.no_grad()
def _answer_bytes(trainer: StructKDTrainer, batch: dict[str, Any]) -> int:
    """Return how much of the disk the teacher's answer to one image takes in a cache."""
    pair, teacher = trainer.pair, trainer.teacher
    if teacher is None or isinstance(teacher, CachedTeacher):
        return 0 if teacher is None else teacher.answer_bytes
    terms = [term for term, _ in trainer.distillation.active()]
    one = {name: value[:1] for name, value in batch.items()}
    with tempfile.TemporaryDirectory() as folder, replaced(trainer.args, teacher_cache=folder):
        cached = pair._frozen(teacher.source)
        assert isinstance(cached, CachedTeacher)
        if any("features" in term.reads_for(trainer.task) for term in terms):
            pair.capture_features(trainer.model, one["pixel_values"])
        student = trainer.task.student_forward(trainer.model.eval(), one, pair.student_capture)
        cached.answer(one, student, pair.question(terms), keep=False)
        cached.drop_capture()
        pair.drop_captures()
    return cached.answer_bytes
