"""From a row of a dataset to tensors: everything but the target, which is a task's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from torch import Tensor

from .decoding import decode_image
from .image_files import fetched
from .loading import check_columns
from .transforms import Crop, DenseAugmentation, check_size, resize_image
from .views import TEACHER_IMAGE, sample_key, seeded_generator, view_in_epoch

Row = dict[str, Any]
MOST_STORED, MOST_STREAMED = 100, 16  # rows of a split that are looked at


class Normalization(Protocol):
    """What turns colours into a model's inputs."""

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise images (B, 3, H, W) in [0, 1]; the shape stays."""


@dataclass(frozen=True, kw_only=True)
class RowReader(ABC):
    """How one row becomes tensors; a task says what stands beside the image.

    Args:
        image_column: column of the images; any Pillow mode, see `decode_image`.
        labeled: for a part of a `MixedDataset`, whether its images have labels. False: the column of the
            target is not read, the target is empty, and the augmentation differs from that of a labelled row
            of the same index. Each row then has ``labeled``, a bool without axes. None: no such key.
        normalization: turns [0, 1] into the model's inputs; None leaves the images in [0, 1].
        augmentation: random crops and colours for training; None for evaluation.
        size: height and width of evaluation images in pixels; None keeps the size of each image.
        seed: seed of the augmentation.
        views: number of views of each image, each with an augmentation of its own; every row then has
            ``sample_key`` (2,) int64, see `views.sample_key`. None augments anew in every epoch.

    Raises:
        ValueError: if an argument is outside its range, or the augmentation has another size.
    """

    image_column: str = "image"
    labeled: bool | None = None
    normalization: Normalization | None = None
    augmentation: DenseAugmentation | None = None
    size: tuple[int, int] | None = None
    seed: int = 0
    views: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size("size", self.size)
        if self.size is not None and self.augmentation is not None and self.size != self.augmentation.size:
            raise ValueError(
                f"`size` must be the augmentation's {self.augmentation.size} or left out, got {self.size}; "
                "training images always take the augmentation's size."
            )

    @property
    @abstractmethod
    def target_columns(self) -> dict[str, str]:
        """The columns of the target, by the arguments that name them."""

    @property
    def fits_images(self) -> bool:
        """Whether images are resized to fit into `size` instead of to fill it."""
        return False

    @abstractmethod
    def finish(
        self,
        row: Mapping[str, Any],
        image: Tensor,
        generator: torch.Generator,
        *,
        where: str,
        teacher_size: tuple[int, int] | None,
    ) -> Row:
        """Decode, check and augment (or only resize) what the row holds beside its decoded image."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by the arguments that name them."""
        columns = {"image_column": self.image_column}
        return columns if self.labeled is False else columns | self.target_columns

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Columns that are read too if the dataset has them all."""
        return ()

    def rows_of(self, dataset: Any) -> Any:
        """Select the columns that are read, still encoded, so that a damaged file fails in `read`."""
        check_columns(dataset, **self.columns)
        columns, further = list(self.columns.values()), self.further_columns
        # A stream may not know its columns before its first row.
        if further and {*further} <= {*(dataset.column_names or next(iter(dataset.take(1)), ()))}:
            columns += [name for name in further if name not in columns]
        return encoded_rows(dataset, columns)

    def read(
        self,
        row: Mapping[str, Any],
        *,
        index: int,
        epoch: int,
        identity: bytes,
        teacher_size: tuple[int, int] | None = None,
    ) -> Row:
        """Turn one row into model inputs; the augmentation depends on seed, epoch and identity alone.

        With a ``teacher_size``, height and width, the row also has ``teacher_pixel_values`` (3, H, W) of that
        size: what the student is shown, read off the file itself with all the detail that it has.
        """
        where = f"unlabelled row {index}" if self.labeled is False else f"row {index}"
        row = {name: fetched(value, where=where) for name, value in row.items()}
        image = decode_image(row[self.image_column], where=f"{where}, column {self.image_column!r}")
        epoch = self.view_shown(epoch, identity=identity)
        part = ("unlabeled",) if self.labeled is False else ()
        generator = seeded_generator(self.seed, epoch, *part, identity=identity)
        return self.finish(row, image, generator, where=where, teacher_size=teacher_size)

    def view_shown(self, epoch: int, *, identity: bytes) -> int:
        """Return which view of an image an epoch shows; without a fixed number, each epoch has its own."""
        if self.views is None:
            return epoch
        return view_in_epoch(epoch, self.views, seed=self.seed, identity=identity)

    def inputs(self, image: Tensor, mask: Tensor | None = None, **further: Tensor) -> Row:
        """Return what every row holds, from the finished image in [0, 1], its mask and further inputs."""
        inputs = {"pixel_values": self.normalized(image)}
        if mask is not None:
            inputs["pixel_mask"] = mask
        inputs |= further
        if self.views is not None:
            inputs["sample_key"] = sample_key(list(inputs.values()))
        if self.labeled is not None:
            inputs["labeled"] = torch.tensor(self.labeled)
        return inputs

    def normalized(self, image: Tensor) -> Tensor:
        """Return an image (3, H, W) in [0, 1] as the student takes it."""
        return image if self.normalization is None else self.normalization.normalize(image[None])[0]

    def for_teacher(
        self, image: Tensor, crop: Crop | None, size: tuple[int, int] | None
    ) -> dict[str, Tensor]:
        """Return the image of a row in the teacher's size, if it has one, as a further input.

        Args:
            image: The decoded image (3, H0, W0), in [0, 1].
            crop: What the student is shown of it in training; None is all.
            size: Height and width for the teacher, or None.
        """
        if size is None:
            return {}
        if crop is None:
            return {TEACHER_IMAGE: self.normalized(resize_image(image, size))}
        assert self.augmentation is not None
        return {TEACHER_IMAGE: self.normalized(self.augmentation.image(image, crop.resized(size)))}


def sample_rows(
    dataset: Any, column: str, *, stored: int = MOST_STORED, streamed: int = MOST_STREAMED, split: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield what an error calls the place, and the encoded value, of some rows of a column.

    Stored rows are evenly spread; of a stream they are the first ones.
    """
    rows = encoded_rows(dataset, [column])
    if isinstance(rows, datasets.IterableDataset):
        places, chosen = range(streamed), rows.take(streamed)
    else:
        places = np.linspace(0, len(rows) - 1, min(len(rows), stored)).round().astype(int).tolist()
        chosen = (rows[place] for place in places)
    for place, row in zip(places, chosen, strict=False):  # a stream may be shorter
        yield f"row {place}{f' of {split!r}' if split else ''}, column {column!r}", row[column]


def encoded_rows(dataset: Any, columns: list[str]) -> Any:
    """Select columns; their images stay encoded."""
    rows = dataset.select_columns(columns).with_format(None)
    for column in columns:
        if rows.features is not None and isinstance(rows.features[column], datasets.Image):
            rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows
