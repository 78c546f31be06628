"""Loaders whose batches are checked, and how what processes found is gathered: every image counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers.trainer_utils import has_length

from ..data import has_labels
from ..tasks import Task
from .arguments import StructKDTrainingArguments


class LoaderOwner(Protocol):
    """What building a loader reads of a trainer."""

    args: StructKDTrainingArguments
    accelerator: Accelerator
    data_collator: Callable[[list[Any]], Any]

    @property
    def task(self) -> Task:
        """What labels mean."""
        ...


class CheckedCollator:
    """Makes batches, and checks their labels while they are in the CPU's memory.

    A label that is no class ends in an assertion on a GPU, from which a process does not recover, and looking
    for it there would wait for the device in every step.

    Args:
        collate: Makes a batch of rows.
        check: Raises `ValueError` for a batch that the task does not take.
    """

    def __init__(self, collate: Callable[[list[Any]], Any], check: Callable[[Any], None]) -> None:
        """Keep both."""
        self._collate, self._check = collate, check

    def __call__(self, rows: list[Any]) -> Any:
        """Return the batch of some rows."""
        batch = self._collate(rows)
        if "labels" in batch:
            self._check(batch)
        return batch


class CountedStream(IterableDataset[Any]):
    """A stream that counts its rows, in shared memory because a worker may read them.

    Several processes fill up the last batch of a stream with copies; only the count tells how many.
    """

    def __init__(self, rows: Any) -> None:
        """Start with no row."""
        self.rows = rows
        self.has_labels = has_labels(rows)
        self.count: Tensor = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows and count them."""
        self.count.zero_()
        for row in self.rows:
            self.count += 1
            yield row

    def set_epoch(self, epoch: int) -> None:
        """Hand the epoch on to a stream that has one."""
        if hasattr(self.rows, "set_epoch"):
            self.rows.set_epoch(epoch)


@contextmanager
def replaced(owner: Any, **values: Any) -> Iterator[None]:
    """Let attributes have other values inside the `with` block."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def build_loader(
    trainer: LoaderOwner, build: Callable[..., Any], dataset: Any, *args: Any, **options: Any
) -> Any:
    """Build Trainer's loader; one for evaluation drops no image, also where training drops the last batch.

    Every process reads a stream itself: dispatching cuts and joins batches, and label maps of different sizes
    cannot be. On several processes at most one worker reads an evaluation stream, because each further worker
    would fill up a last batch of its own.

    Args:
        trainer: The trainer.
        build: Trainer's `_get_dataloader`.
        dataset: The rows.
        *args: Passed to `build`.
        **options: Passed to `build`; `is_training` tells whether the loader is for training.
    """
    trainer.accelerator.dataloader_config.dispatch_batches = False
    collate = CheckedCollator(trainer.data_collator, trainer.task.check_batch)
    with replaced(trainer, data_collator=collate):
        return _build_checked(trainer, build, dataset, *args, **options)


def _build_checked(
    trainer: LoaderOwner, build: Callable[..., Any], dataset: Any, *args: Any, **options: Any
) -> Any:
    workers = trainer.args.dataloader_num_workers
    if options.get("is_training"):
        if workers and getattr(dataset, "keeps_views", False):
            raise ValueError(
                f"`dataloader_num_workers` must be 0 beside `keep_views`, got {workers}: a worker "
                "has its own memory and loses it after an epoch; set it to 0, or leave `keep_views` out."
            )
        return build(dataset, *args, **options)
    if isinstance(dataset, IterableDataset) and trainer.accelerator.num_processes > 1:
        dataset, workers = CountedStream(dataset), min(workers, 1)
    with replaced(trainer.args, dataloader_drop_last=False, dataloader_num_workers=workers):
        return build(dataset, *args, **options)


class ImageGather:
    """Gathers what processes found in a batch, without the copies that fill up the last one.

    `Accelerator.gather_for_metrics` does not know how long a stream is, and cuts inside the entries of a
    list, for example the boxes of an image.

    Args:
        trainer: The trainer.
        loader: The loader that is iterated.

    Attributes:
        images: The number of images in this process's batch, to which the loss that Trainer repeats for a
            full batch is cut; None cuts nothing.
    """

    images: int | None = None

    def __init__(self, trainer: LoaderOwner, loader: Any) -> None:
        """Find out what tells the number of images."""
        self._accelerator = trainer.accelerator
        # `split_batches` divides a batch among the processes.
        parts = 1 if self._accelerator.split_batches else self._accelerator.num_processes
        self._step: int = trainer.args.eval_batch_size * parts
        dataset: Any = getattr(loader, "dataset", None)
        self._stream = getattr(dataset, "dataset", None)
        self._length = len(dataset) if has_length(dataset) else None

    def __call__(self, values: Any) -> Any:
        """Return the values of all images of a step, in the order of the dataset.

        Args:
            values: A tensor or a list with an entry for each image, or a tuple or mapping of such.
        """
        if self._accelerator.num_processes > 1:
            return self._gathered(values, self._images_of_step())
        return values[: self.images] if isinstance(values, Tensor) and values.dim() == 1 else values

    def _images_of_step(self) -> int:
        if not self._accelerator.gradient_state.end_of_dataloader:
            return self._step
        total = int(self._stream.count) if isinstance(self._stream, CountedStream) else self._length
        return self._step if total is None else total % self._step or self._step

    def _gathered(self, values: Any, count: int) -> Any:
        if isinstance(values, tuple):
            return tuple(self._gathered(value, count) for value in values)
        if isinstance(values, Mapping):
            return {name: self._gathered(value, count) for name, value in values.items()}
        if isinstance(values, list):
            return gather_object(send_to_device(values, "cpu"))[:count]
        return self._accelerator.gather(values)[:count]
