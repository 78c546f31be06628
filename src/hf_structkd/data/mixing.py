"""Labelled and unlabelled images in one training set: without labels, the distillation terms still learn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Generic

from torch.utils.data import Dataset, IterableDataset

from ._datasets import RowDataset, StoredRows, StreamedRows, position
from ._rows import RowT


class MixedDataset(Dataset[RowT], Generic[RowT]):
    """The rows of a labelled dataset, then those of an unlabelled one.

    Every row has ``labeled``; apart from it, a labelled row is what it would be without the unlabelled ones.

    Args:
        labeled: made with ``labeled=True``.
        unlabeled: made with ``labeled=False`` and the same augmentation object.

    Raises:
        ValueError: if ``labeled`` or the augmentation of a part is another.
    """

    def __init__(self, labeled: StoredRows[RowT], unlabeled: StoredRows[RowT]) -> None:
        """Checks and keeps the parts."""
        _check_parts(labeled, unlabeled)
        self.labeled = labeled
        self.unlabeled = unlabeled

    def __len__(self) -> int:
        """Number of rows of both parts."""
        return len(self.labeled) + len(self.unlabeled)

    def __getitem__(self, index: int) -> RowT:
        """One row; the labelled ones come first."""
        index = position(index, len(self))
        first = len(self.labeled)
        return self.labeled[index] if index < first else self.unlabeled[index - first]

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the augmentation of both parts depends on."""
        self.labeled.set_epoch(epoch)
        self.unlabeled.set_epoch(epoch)

    @property
    def skipped(self) -> int:
        """Rows of both parts left out so far."""
        return self.labeled.skipped + self.unlabeled.skipped


class MixedIterableDataset(IterableDataset[RowT], Generic[RowT]):
    """The rows of a labelled and of an unlabelled stream in turns, as long as there are labelled ones.

    The labelled stream decides how long an epoch is. A shorter unlabelled stream starts again, with the same
    augmentation until the next epoch; of a longer one an epoch sees the beginning in its shuffled order. A
    worker that no file of the unlabelled stream falls to delivers labelled rows alone.

    Args:
        labeled: made with ``labeled=True``.
        unlabeled: made with ``labeled=False`` and the same augmentation object.

    Raises:
        ValueError: if ``labeled`` or the augmentation of a part is another.
    """

    def __init__(self, labeled: StreamedRows[RowT], unlabeled: StreamedRows[RowT]) -> None:
        """Checks and keeps the parts."""
        _check_parts(labeled, unlabeled)
        self.labeled = labeled
        self.unlabeled = unlabeled

    def __iter__(self) -> Iterator[RowT]:
        """The rows this worker has to deliver."""
        with closing(_again_and_again(self.unlabeled)) as unlabeled:
            for row in self.labeled:
                yield row
                extra = next(unlabeled, None)
                if extra is not None:
                    yield extra

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that augmentation and shuffling of both parts depend on."""
        self.labeled.set_epoch(epoch)
        self.unlabeled.set_epoch(epoch)

    @property
    def skipped(self) -> int:
        """Times a row of either part was left out so far."""
        return self.labeled.skipped + self.unlabeled.skipped


def _again_and_again(stream: StreamedRows[RowT]) -> Generator[RowT]:
    """The stream's rows without end, or none if it has none."""
    found = True
    while found:
        found = False
        for row in stream:
            found = True
            yield row


def _check_parts(labeled: RowDataset[RowT], unlabeled: RowDataset[RowT]) -> None:
    if labeled.labeled is not True or unlabeled.labeled is not False:
        raise ValueError(
            "The parts of a mix must be made with `labeled`=True and `labeled`=False, got "
            f"{labeled.labeled} and {unlabeled.labeled}; otherwise the missing labels would be trained on."
        )
    if labeled.augmentation is not unlabeled.augmentation:
        raise ValueError(
            "The parts of a mix must share one `augmentation`, got two; otherwise their rows might not stack."
        )
