"""Stored and streamed datasets of any task: the order of the rows, the epoch, and what is skipped."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ._rows import Row, RowReader
from .image_files import BadImageError

logger = logging.getLogger(__name__)

MAX_WORKERS = 1024


def shared_zeros(*shape: int) -> Tensor:
    """Return int64 zeros in shared memory, so that workers that outlive an epoch see and report changes."""
    zeros: Tensor = torch.zeros(shape, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
    return zeros


def worker_slot() -> int:
    """Return this worker's place in counters of `MAX_WORKERS` places; no two workers write to one place."""
    worker = get_worker_info()
    return 0 if worker is None else worker.id % MAX_WORKERS


def has_labels(dataset: Any) -> bool:
    """Return whether a dataset, perhaps wrapped by others, has labels; one that does not say it has them."""
    while dataset is not None and not hasattr(dataset, "has_labels"):
        dataset = getattr(dataset, "dataset", None)
    return dataset is None or bool(dataset.has_labels)


def show_teacher(dataset: Any, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Let the rows of a dataset, perhaps wrapped by others, have their images in the teacher's size too.

    A dataset that cannot does nothing: its images are resized for the teacher as they are for the student.

    Args:
        dataset: The dataset.
        size: Height and width; None ends it.

    Returns:
        The size that they had before, or None.
    """
    while dataset is not None and not hasattr(dataset, "show_teacher"):
        dataset = getattr(dataset, "dataset", None)
    if dataset is None:
        return None
    before: tuple[int, int] | None = dataset.teacher_size
    dataset.show_teacher(size)
    return before


@contextmanager
def in_teacher_size(dataset: Any, size: tuple[int, int] | None) -> Iterator[None]:
    """Do so for the length of a block; see `show_teacher`."""
    before = show_teacher(dataset, size)
    try:
        yield
    finally:
        show_teacher(dataset, before)


def position(index: int, count: int) -> int:
    """Return an index into ``count`` rows, counted from the front; raise `IndexError` if there is none."""
    if not -count <= index < count:
        raise IndexError(f"`index` must lie in [{-count}, {count}), got {index}.")
    return index % count


class RowDataset:
    """What stored and streamed datasets share: the reader, the encoded rows and the epoch.

    Args:
        dataset: a `datasets.Dataset` or `datasets.IterableDataset`. A format or transform that is set on it
            is not applied, and columns that the reader does not name are not read.
        reader: turns a row into tensors; a reader serves one dataset.
        skip_bad_images: whether a file that cannot be decoded is left out with a warning, instead of raising.
            `skipped` counts such rows.

    Attributes:
        notes: lines of the start table that say what the rows hold, text by label.
        split: name of the split that the rows come from, None if unknown.

    Raises:
        ValueError: if a column is missing; while reading, naming the row, if a target does not fit its image.
        BadImageError: while reading, if a file cannot be decoded and is not to be skipped.
    """

    # What a loader knows of the classes, for a student that is named by its folder.
    id2label: dict[int, str] | None = None
    ignore_index: int | None = None
    keeps_views = False

    def __init__(self, dataset: Any, reader: RowReader, *, skip_bad_images: bool = False) -> None:
        """Check the columns."""
        self.reader = reader
        self.notes: dict[str, str] = {}
        self.split: str | None = None
        self._rows = reader.rows_of(dataset)
        self._skip_bad_images = skip_bad_images
        self._epoch, self._teacher_size = shared_zeros(), shared_zeros(2)
        self._skips = shared_zeros(len(self._rows) if isinstance(self, StoredRows) else MAX_WORKERS)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the augmentation depends on, in running workers too."""
        self._epoch.fill_(epoch)

    def show_teacher(self, size: tuple[int, int] | None) -> None:
        """Let rows have their image in the teacher's size too, or none, also in running workers."""
        self._teacher_size.copy_(torch.tensor(size or (0, 0)))

    @property
    def teacher_size(self) -> tuple[int, int] | None:
        """Height and width in which rows have their image for the teacher too, or None."""
        height, width = self._teacher_size.tolist()
        return (height, width) if height else None

    def _read(self, row: Any, *, index: int, epoch: int, identity: bytes) -> Row:
        size = self.teacher_size
        return self.reader.read(row, index=index, epoch=epoch, identity=identity, teacher_size=size)

    @property
    def has_labels(self) -> bool:
        """Whether the rows have labels; otherwise the teacher alone teaches, and is what is agreed with."""
        return self.reader.labeled is not False

    @property
    def views(self) -> int | None:
        """The number of views of each image, or None if every epoch augments anew."""
        return self.reader.views

    @property
    def skipped(self) -> int:
        """Rows left out so far by all workers: distinct rows if stored, every occurrence if streamed."""
        return int(self._skips.sum())


class StoredRows(RowDataset, Dataset[Row]):
    """The rows of a `datasets.Dataset`; a bad one is replaced by the next good one if it may be skipped.

    With ``keeps_views`` every view stays in memory once it is made. A worker process would keep views of its
    own, and lose them at the end of its epoch.

    The augmentation of a row depends on (seed, epoch, index) alone: not on batch size, workers, processes,
    resuming or any random state. Call `set_epoch` before each epoch: with several processes `accelerate` sets
    the epoch of its own sampler and not that of the dataset. In evaluation a row that replaces a bad one
    counts twice.
    """

    def __len__(self) -> int:
        """Return the number of rows, bad ones included."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Return one row; see the class."""
        count = len(self)
        index = position(index, count)
        epoch, identity = int(self._epoch), str(index).encode()
        for row in itertools.chain(range(index, count), range(index)):
            if self._skips[row]:
                continue
            try:
                return self._view(row, epoch=epoch, identity=identity)
            except BadImageError as error:
                if not self._skip_bad_images:
                    raise
                self._skips[row] = 1
                logger.warning("Row %d is replaced by the next good one: %s", row, error)
        columns = " and ".join(f"`{argument}`={name!r}" for argument, name in self.reader.columns.items())
        raise BadImageError(f"At least one of the {count} rows must be decodable, got none; check {columns}.")

    def keep_views(self) -> None:
        """Keep every view in memory from now on."""
        self.keeps_views, self._kept = True, dict[tuple[Any, ...], Row]()

    def _view(self, row: int, *, epoch: int, identity: bytes) -> Row:
        """Return what an epoch shows of a row, made or kept."""
        if not self.keeps_views:
            return self._read(self._rows[row], index=row, epoch=epoch, identity=identity)
        view = row, self.reader.view_shown(epoch, identity=identity), identity, self.teacher_size
        if view not in self._kept:
            self._kept[view] = self._read(self._rows[row], index=row, epoch=epoch, identity=identity)
        return copy.deepcopy(self._kept[view])  # whoever gets it may change it in place


class StreamedRows(RowDataset, IterableDataset[Row]):
    """The rows of a `datasets.IterableDataset`; bad ones are left out if they may be skipped.

    A streamed row has no index, so its augmentation depends on (seed, epoch, the encoded image): shuffling,
    workers and processes do not change it. An error names a row by its position in the worker's stream.
    Shuffle the stream before passing it; the epoch is handed on to it. Workers share the files of the stream
    out among themselves, so workers beyond the number of files stay idle; processes are left to `accelerate`.
    """

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the augmentation and the stream's shuffling depend on."""
        super().set_epoch(epoch)
        self._rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that this worker has to deliver."""
        for index, row in enumerate(self._rows):
            identity = _content(row[self.reader.image_column])
            try:
                sample = self._read(row, index=index, epoch=int(self._epoch), identity=identity)
            except BadImageError as error:
                if not self._skip_bad_images:
                    raise
                self._skips[worker_slot()] += 1
                logger.warning("Row %d of the stream is left out: %s", index, error)
            else:
                yield sample


def _content(value: Any) -> bytes:
    """Return what tells one streamed image from another, at whatever place of the stream it comes."""
    if isinstance(value, Mapping):
        return bytes(value["bytes"]) if value["bytes"] is not None else str(value["path"]).encode()
    return bytes(value.tobytes()) if hasattr(value, "tobytes") else repr(value).encode()
