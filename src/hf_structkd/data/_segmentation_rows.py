"""From a row of a segmentation dataset to tensors: decoded, checked, augmented and normalised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import datasets
import torch
from torch import Tensor

from hf_structkd.data.decoding import decode_image, decode_label
from hf_structkd.data.loading import check_columns
from hf_structkd.data.transforms import SegmentationAugmentation, check_size, resize_image

Row = dict[str, Tensor]
MAX_WORKERS = 1024


class Normalization(Protocol):
    """What turns colours into a model's inputs."""

    def normalize(self, images: Tensor) -> Tensor:
        """Normalises images (B, 3, H, W) in [0, 1]; the shape stays."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """How one row becomes tensors: the part that stored and streamed datasets share."""

    image_column: str
    label_column: str
    num_labels: int
    ignore_index: int
    reduce_labels: bool
    normalization: Normalization | None
    augmentation: SegmentationAugmentation | None
    size: tuple[int, int] | None
    seed: int

    def __post_init__(self) -> None:
        if self.num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, got {self.num_labels}; count the classes.")
        if self.size is not None:
            check_size("size", self.size)
        if self.augmentation is None:
            return
        if self.size is not None and tuple(self.size) != self.augmentation.size:
            raise ValueError(
                f"`size` must be the augmentation's {self.augmentation.size} or left out, got {self.size}; "
                "training images always take the augmentation's size."
            )
        if self.augmentation.ignore_index != self.ignore_index:
            raise ValueError(
                f"`ignore_index` must be the augmentation's {self.augmentation.ignore_index}, got "
                f"{self.ignore_index}; otherwise padded pixels would be trained on."
            )

    def rows_of(self, dataset: Any) -> Any:
        """The two columns of the dataset, still encoded, so that a damaged file fails in `read`."""
        check_columns(dataset, image_column=self.image_column, label_column=self.label_column)
        columns = [self.image_column, self.label_column]
        rows = dataset.select_columns(columns).with_format(None)
        for column in columns:
            if rows.features is not None and isinstance(rows.features[column], datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
        return rows

    def read(self, row: Mapping[str, Any], *, where: str) -> tuple[Tensor, Tensor]:
        """Decodes and checks one row: image (3, H, W) in [0, 1] and label (H, W)."""
        image = decode_image(row[self.image_column], where=f"{where}, column {self.image_column!r}")
        label = decode_label(row[self.label_column], where=f"{where}, column {self.label_column!r}")
        if image.shape[-2:] != label.shape:
            raise ValueError(
                f"Image and label must have the same size, got {tuple(image.shape[-2:])} and "
                f"{tuple(label.shape)} (height, width) in {where}; correct or remove this row."
            )
        if self.reduce_labels:
            label = label.long()
            ignored = (label == 0) | (label == self.ignore_index)
            label = torch.where(ignored, self.ignore_index, label - 1)
        self._check_label(label, where)
        return image, label

    def _check_label(self, label: Tensor, where: str) -> None:
        # Every row passes here: two extremes of the file's own small integers cost next to nothing.
        low, high = label.masked_fill(label == self.ignore_index, 0).aminmax()
        if low < 0 or high >= self.num_labels:
            raise ValueError(
                f"Labels must lie in [0, {self.num_labels}) or be ignore_index={self.ignore_index}, got "
                f"{int(low if low < 0 else high)} in {where}, column {self.label_column!r}; check "
                f"`num_labels`, `ignore_index` and `reduce_labels`={self.reduce_labels}."
            )

    def prepare(self, image: Tensor, label: Tensor, *, epoch: int, identity: bytes) -> Row:
        """Augments (or only resizes) and normalises; only seed, epoch and identity decide the chances."""
        if self.augmentation is None:
            pixels = image if self.size is None else resize_image(image, self.size)
            return {"pixel_values": self._normalized(pixels), "labels": label.long()}
        digest = hashlib.blake2b(f"{self.seed}/{epoch}/".encode() + identity, digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        pixels, labels, mask = self.augmentation(image, label, generator)
        row = {"pixel_values": self._normalized(pixels), "labels": labels}
        if self.augmentation.can_pad:
            row["pixel_mask"] = mask
        return row

    def _normalized(self, pixels: Tensor) -> Tensor:
        return pixels if self.normalization is None else self.normalization.normalize(pixels[None])[0]


def shared_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in shared memory, so that workers that outlive an epoch see and report changes."""
    zeros = torch.zeros(shape, dtype=dtype)
    zeros.share_memory_()  # type: ignore[no-untyped-call]
    return zeros


class SegmentationRows:
    """What stored and streamed datasets share: settings, the encoded rows and the epoch."""

    def __init__(
        self,
        dataset: Any,
        *,
        num_labels: int,
        image_column: str = "image",
        label_column: str = "label",
        ignore_index: int = 255,
        reduce_labels: bool = False,
        normalization: Normalization | None = None,
        augmentation: SegmentationAugmentation | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
    ) -> None:
        """Checks the columns and settings; see the public classes for the arguments."""
        self._reader = RowReader(
            image_column=image_column,
            label_column=label_column,
            num_labels=num_labels,
            ignore_index=ignore_index,
            reduce_labels=reduce_labels,
            normalization=normalization,
            augmentation=augmentation,
            size=size,
            seed=seed,
        )
        self._rows = self._reader.rows_of(dataset)
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
