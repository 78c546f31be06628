"""From a row of a dataset to tensors: decoded, checked, augmented and normalised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import datasets
import torch
from torch import Tensor

from hf_structkd.data.decoding import decode_image
from hf_structkd.data.loading import check_columns
from hf_structkd.data.targets import TargetMap
from hf_structkd.data.transforms import DenseAugmentation, check_size, resize_image

Row = dict[str, Tensor]
MAX_WORKERS = 1024


class Normalization(Protocol):
    """What turns colours into a model's inputs."""

    def normalize(self, images: Tensor) -> Tensor:
        """Normalises images (B, 3, H, W) in [0, 1]; the shape stays."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """How one row becomes tensors: the part that stored and streamed datasets share."""

    target: TargetMap
    image_column: str
    labeled: bool | None
    normalization: Normalization | None
    augmentation: DenseAugmentation | None
    size: tuple[int, int] | None
    seed: int

    def __post_init__(self) -> None:
        if self.size is not None:
            check_size("size", self.size)
        if self.augmentation is None:
            return
        if self.size is not None and tuple(self.size) != self.augmentation.size:
            raise ValueError(
                f"`size` must be the augmentation's {self.augmentation.size} or left out, got {self.size}; "
                "training images always take the augmentation's size."
            )
        if self.augmentation.nothing != self.target.nothing:
            raise ValueError(
                f"The augmentation's `nothing` must be the target's {self.target.nothing}, got "
                f"{self.augmentation.nothing}; otherwise padded pixels would be trained on."
            )

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, by the arguments that name them."""
        columns = {"image_column": self.image_column}
        return (
            columns if self.labeled is False else columns | {f"{self.target.kind}_column": self.target.column}
        )

    def rows_of(self, dataset: Any) -> Any:
        """The columns of the dataset, still encoded, so that a damaged file fails in `read`."""
        check_columns(dataset, **self.columns)
        columns = list(self.columns.values())
        rows = dataset.select_columns(columns).with_format(None)
        for column in columns:
            if rows.features is not None and isinstance(rows.features[column], datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        return rows

    def read(self, row: Mapping[str, Any], *, index: int) -> tuple[Tensor, Tensor]:
        """Decodes and checks one row: image (3, H, W) in [0, 1] and target map (H, W)."""
        where = f"unlabelled row {index}" if self.labeled is False else f"row {index}"
        image = decode_image(row[self.image_column], where=f"{where}, column {self.image_column!r}")
        if self.labeled is False:
            return image, torch.full(image.shape[-2:], self.target.nothing, dtype=self.target.dtype)
        column = self.target.column
        target = self.target.decode(row[column], where=f"{where}, column {column!r}")
        if image.shape[-2:] != target.shape:
            raise ValueError(
                f"Image and {self.target.kind} must have the same size, got {tuple(image.shape[-2:])} and "
                f"{tuple(target.shape)} (height, width) in {where}; correct or remove this row."
            )
        return image, target

    def prepare(self, image: Tensor, target: Tensor, *, epoch: int, identity: bytes) -> Row:
        """Augments (or only resizes) and normalises; only seed, epoch and identity decide the chances."""
        mask = None
        if self.augmentation is not None:
            generator = self._generator(epoch, identity)
            image, target, mask = self.augmentation(image, target, generator, zoomed=self.target.zoomed)
        elif self.size is not None:
            image = resize_image(image, self.size)
        row = {"pixel_values": self._normalized(image), "labels": target.to(self.target.dtype)}
        if mask is not None and self.augmentation is not None and self.augmentation.can_pad:
            row["pixel_mask"] = mask
        if self.labeled is not None:
            row["labeled"] = torch.tensor(self.labeled)
        return row

    def _generator(self, epoch: int, identity: bytes) -> torch.Generator:
        part = "unlabeled/" if self.labeled is False else ""
        digest = hashlib.blake2b(f"{self.seed}/{epoch}/{part}".encode() + identity, digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little"))

    def _normalized(self, pixels: Tensor) -> Tensor:
        return pixels if self.normalization is None else self.normalization.normalize(pixels[None])[0]


def shared_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in shared memory, so that workers that outlive an epoch see and report changes."""
    zeros = torch.zeros(shape, dtype=dtype)
    zeros.share_memory_()  # type: ignore[no-untyped-call]
    return zeros


def position(index: int, count: int) -> int:
    """The index of a list of ``count``, counted from the front.

    Raises:
        IndexError: if there is none.
    """
    if not -count <= index < count:
        raise IndexError(f"`index` must lie in [{-count}, {count}), got {index}.")
    return index % count


class DenseRows:
    """What stored and streamed datasets share: settings, the encoded rows and the epoch."""

    def __init__(
        self,
        dataset: Any,
        target: TargetMap,
        *,
        image_column: str = "image",
        labeled: bool | None = None,
        normalization: Normalization | None = None,
        augmentation: DenseAugmentation | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
    ) -> None:
        """Checks the columns and settings; see the public classes for the arguments."""
        self._reader = RowReader(
            target=target,
            image_column=image_column,
            labeled=labeled,
            normalization=normalization,
            augmentation=augmentation,
            size=size,
            seed=seed,
        )
        self._rows = self._reader.rows_of(dataset)
        self.labeled = labeled
        self.augmentation = augmentation
        self.skip_bad_images = skip_bad_images
        self._epoch = shared_zeros((), torch.int64)
        # One slot per stored row, or per worker that reads the stream: two writers never share one.
        slots = len(self._rows) if isinstance(self._rows, datasets.Dataset) else MAX_WORKERS
        self._skips = shared_zeros((slots,), torch.int64)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the augmentation depends on, in running workers too."""
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> int:
        """Rows left out so far by all workers: distinct rows if stored, times it happened if streamed."""
        return int(self._skips.sum())
