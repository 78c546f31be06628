"""Stored and streamed datasets of any task: the order of the rows, the epoch, and what is skipped."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Generic

import datasets
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ._rows import RowReader, RowT
from .decoding import BadImageError

logger = logging.getLogger(__name__)

MAX_WORKERS = 1024


def shared_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in shared memory, so that workers that outlive an epoch see and report changes."""
    zeros = torch.zeros(shape, dtype=dtype)
    zeros.share_memory_()  # type: ignore[no-untyped-call]
    return zeros


def worker_slot() -> int:
    """The place of this worker in counters of `MAX_WORKERS` places: two writers never share one."""
    worker = get_worker_info()
    return 0 if worker is None else worker.id % MAX_WORKERS


def position(index: int, count: int) -> int:
    """The index of a list of ``count``, counted from the front.

    Raises:
        IndexError: if there is none.
    """
    if not -count <= index < count:
        raise IndexError(f"`index` must lie in [{-count}, {count}), got {index}.")
    return index % count


class RowDataset(Generic[RowT]):
    """What stored and streamed datasets share: the reader, the encoded rows and the epoch."""

    def __init__(self, dataset: Any, reader: RowReader[RowT], *, skip_bad_images: bool) -> None:
        """Checks the columns; see the public classes for the arguments."""
        self._reader = reader
        self._rows = reader.rows_of(dataset)
        self.labeled = reader.labeled
        self.augmentation = reader.augmentation
        self.skip_bad_images = skip_bad_images
        self._epoch = shared_zeros((), torch.int64)
        slots = len(self._rows) if isinstance(self._rows, datasets.Dataset) else MAX_WORKERS
        self._skips = shared_zeros((slots,), torch.int64)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the augmentation depends on, in running workers too."""
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> int:
        """Rows left out so far by all workers: distinct rows if stored, times it happened if streamed."""
        return int(self._skips.sum())


class StoredRows(RowDataset[RowT], Dataset[RowT]):
    """The rows of a `datasets.Dataset`; a bad one is replaced by the next good one if it may be skipped."""

    def __len__(self) -> int:
        """Number of rows, bad ones included."""
        return len(self._rows)

    def __getitem__(self, index: int) -> RowT:
        """One row; see the class."""
        count = len(self)
        index = position(index, count)
        epoch, identity = int(self._epoch), str(index).encode()
        for row in itertools.chain(range(index, count), range(index)):
            if self._skips[row]:
                continue
            try:
                return self._reader.read(self._rows[row], index=row, epoch=epoch, identity=identity)
            except BadImageError as error:
                if not self.skip_bad_images:
                    raise
                self._skips[row] = 1
                logger.warning("Row %d is replaced by the next good one: %s", row, error)
        columns = " and ".join(f"`{argument}`={name!r}" for argument, name in self._reader.columns.items())
        raise BadImageError(f"At least one of the {count} rows must be decodable, got none; check {columns}.")


class StreamedRows(RowDataset[RowT], IterableDataset[RowT]):
    """The rows of a `datasets.IterableDataset`; bad ones are left out if they may be skipped."""

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the augmentation and the stream's shuffling depend on."""
        super().set_epoch(epoch)
        self._rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[RowT]:
        """The rows this worker has to deliver."""
        slot = worker_slot()
        for index, row in enumerate(self._rows):
            identity = _content(row[self._reader.image_column])
            try:
                sample = self._reader.read(row, index=index, epoch=int(self._epoch), identity=identity)
            except BadImageError as error:
                if not self.skip_bad_images:
                    raise
                self._skips[slot] += 1
                logger.warning("Row %d of the stream is left out: %s", index, error)
            else:
                yield sample


def _content(value: Any) -> bytes:
    """What tells one streamed image from another, wherever in the stream it comes."""
    if isinstance(value, Mapping):
        return bytes(value["bytes"]) if value["bytes"] is not None else str(value["path"]).encode()
    return bytes(value.tobytes()) if hasattr(value, "tobytes") else repr(value).encode()
