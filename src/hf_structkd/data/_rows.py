"""From a row of a dataset to tensors: what all tasks share, which is everything but the target."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import datasets
import torch
from torch import Tensor

from .decoding import decode_image
from .loading import check_columns
from .transforms import DenseAugmentation, check_size

Row = dict[str, Tensor]
RowT = TypeVar("RowT")


class Normalization(Protocol):
    """What turns colours into a model's inputs."""

    def normalize(self, images: Tensor) -> Tensor:
        """Normalises images (B, 3, H, W) in [0, 1]; the shape stays."""


@dataclass(frozen=True, kw_only=True)
class RowReader(ABC, Generic[RowT]):
    """How one row becomes tensors; a task says what stands beside the image."""

    image_column: str
    labeled: bool | None
    normalization: Normalization | None
    augmentation: DenseAugmentation | None
    size: tuple[int, int] | None
    seed: int

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size("size", self.size)
        if self.augmentation is None or self.size is None:
            return
        if tuple(self.size) != self.augmentation.size:
            raise ValueError(
                f"`size` must be the augmentation's {self.augmentation.size} or left out, got {self.size}; "
                "training images always take the augmentation's size."
            )

    @property
    @abstractmethod
    def target_columns(self) -> dict[str, str]:
        """The columns of the target, by the arguments that name them."""

    @abstractmethod
    def finish(
        self, row: Mapping[str, Any], image: Tensor, generator: torch.Generator, *, where: str
    ) -> RowT:
        """Decodes, checks and augments (or only resizes) what the row holds beside its decoded image."""

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by the arguments that name them."""
        columns = {"image_column": self.image_column}
        return columns if self.labeled is False else columns | self.target_columns

    def rows_of(self, dataset: Any) -> Any:
        """The columns of the dataset, still encoded, so that a damaged file fails in `read`."""
        check_columns(dataset, **self.columns)
        columns = list(self.columns.values())
        rows = dataset.select_columns(columns).with_format(None)
        for column in columns:
            if rows.features is not None and isinstance(rows.features[column], datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        return rows

    def read(self, row: Mapping[str, Any], *, index: int, epoch: int, identity: bytes) -> RowT:
        """One row as model inputs; only seed, epoch and identity decide the chances of the augmentation."""
        where = f"unlabelled row {index}" if self.labeled is False else f"row {index}"
        image = decode_image(row[self.image_column], where=f"{where}, column {self.image_column!r}")
        return self.finish(row, image, self._generator(epoch, identity), where=where)

    def inputs(self, image: Tensor, mask: Tensor | None = None) -> Row:
        """What every row holds, from the finished image in [0, 1] and its mask."""
        normalization = self.normalization
        inputs = {"pixel_values": image if normalization is None else normalization.normalize(image[None])[0]}
        if mask is not None:
            inputs["pixel_mask"] = mask
        if self.labeled is not None:
            inputs["labeled"] = torch.tensor(self.labeled)
        return inputs

    def _generator(self, epoch: int, identity: bytes) -> torch.Generator:
        part = "unlabeled/" if self.labeled is False else ""
        digest = hashlib.blake2b(f"{self.seed}/{epoch}/{part}".encode() + identity, digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
