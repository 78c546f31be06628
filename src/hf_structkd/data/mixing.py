"""Labelled and unlabelled images in one training set: without labels, the distillation terms still learn."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from torch.utils.data import Dataset, IterableDataset

from ._datasets import RowDataset, StoredRows, StreamedRows, position
from ._rows import Row

PartT = TypeVar("PartT", bound=RowDataset)


class _Mix(Generic[PartT]):
    """Two datasets that share the epoch and one augmentation.

    Args:
        labeled: its reader is made with ``labeled=True``.
        unlabeled: its reader is made with ``labeled=False`` and the same augmentation object.

    Raises:
        ValueError: if ``labeled`` or the augmentation of a part is another.
    """

    id2label: dict[int, str] | None = None
    ignore_index: int | None = None
    has_labels = True

    def __init__(self, labeled: PartT, unlabeled: PartT) -> None:
        """Check and keep the parts."""
        first, second = labeled.reader, unlabeled.reader
        if first.labeled is not True or second.labeled is not False:
            raise ValueError(
                "The parts of a mix must be made with `labeled`=True and `labeled`=False, got "
                f"{first.labeled} and {second.labeled}; otherwise the missing labels would be trained on."
            )
        if first.augmentation is not second.augmentation:
            raise ValueError(
                "The parts of a mix must share one `augmentation`, got two; otherwise their rows might not "
                "stack."
            )
        self.labeled, self.unlabeled = labeled, unlabeled
        self.reader = first

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of both parts."""
        self.labeled.set_epoch(epoch)
        self.unlabeled.set_epoch(epoch)

    def show_teacher(self, size: tuple[int, int] | None) -> None:
        """Let the rows of both parts have their images in the teacher's size too, or none."""
        self.labeled.show_teacher(size)
        self.unlabeled.show_teacher(size)

    @property
    def teacher_size(self) -> tuple[int, int] | None:
        """Height and width in which rows have their image for the teacher too, or None."""
        return self.labeled.teacher_size

    @property
    def views(self) -> int | None:
        """The number of views of each image, or None if every epoch augments anew."""
        return self.labeled.views

    @property
    def keeps_views(self) -> bool:
        """Whether the views of both parts stay in memory."""
        return self.labeled.keeps_views

    @property
    def notes(self) -> dict[str, str]:
        """Lines of the start table that say what the labelled rows hold, text by label."""
        return self.labeled.notes

    @property
    def skipped(self) -> int:
        """Rows of both parts left out so far."""
        return self.labeled.skipped + self.unlabeled.skipped


class MixedDataset(_Mix[StoredRows], Dataset[Row]):
    """The rows of a labelled dataset, then those of an unlabelled one.

    Every row has ``labeled``; apart from it, a labelled row is what it would be without the unlabelled ones.
    """

    def __len__(self) -> int:
        """Return the number of rows of both parts."""
        return len(self.labeled) + len(self.unlabeled)

    def __getitem__(self, index: int) -> Row:
        """Return one row; the labelled ones come first."""
        index = position(index, len(self))
        first = len(self.labeled)
        return self.labeled[index] if index < first else self.unlabeled[index - first]


class MixedIterableDataset(_Mix[StreamedRows], IterableDataset[Row]):
    """The rows of a labelled and of an unlabelled stream in turns, as long as there are labelled ones.

    The labelled stream decides how long an epoch is. A shorter unlabelled stream starts again, with the same
    augmentation until the next epoch; of a longer one an epoch sees the beginning in its shuffled order. A
    worker that gets no file of the unlabelled stream delivers labelled rows alone.
    """

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that this worker has to deliver."""
        with closing(_again_and_again(self.unlabeled)) as unlabeled:
            for row in self.labeled:
                yield row
                extra = next(unlabeled, None)
                if extra is not None:
                    yield extra


def _again_and_again(stream: StreamedRows) -> Generator[Row]:
    """Yield the stream's rows without end, or none if it has none."""
    found = True
    while found:
        found = False
        for row in stream:
            found = True
            yield row
