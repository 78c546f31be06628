"""Datasets of images with one value per pixel, stored or streamed, as model inputs, and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._datasets import RowDataset, StoredRows, StreamedRows
from ._rows import Normalization, Row, RowReader
from .targets import TargetMap
from .transforms import DenseAugmentation, resize_image


@dataclass(frozen=True, kw_only=True)
class DenseReader(RowReader[Row]):
    """How an image and its target map become tensors."""

    target: TargetMap

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.augmentation is not None and self.augmentation.nothing != self.target.nothing:
            raise ValueError(
                f"The augmentation's `nothing` must be the target's {self.target.nothing}, got "
                f"{self.augmentation.nothing}; otherwise padded pixels would be trained on."
            )

    @property
    def target_columns(self) -> dict[str, str]:
        """The column of the maps."""
        return {f"{self.target.kind}_column": self.target.column}

    def finish(self, row: Mapping[str, Any], image: Tensor, generator: torch.Generator, *, where: str) -> Row:
        """The row with its map as labels."""
        target, mask = self._target(row, image, where=where), None
        if self.augmentation is not None:
            image, target, mask = self.augmentation(image, target, generator, zoomed=self.target.zoomed)
            mask = mask if self.augmentation.can_pad else None
        elif self.size is not None:
            image = resize_image(image, self.size)
        return self.inputs(image, mask) | {"labels": target.to(self.target.dtype)}

    def _target(self, row: Mapping[str, Any], image: Tensor, *, where: str) -> Tensor:
        """The checked map (H, W) of an image; of an unlabelled one, a map of nothing."""
        size, column = image.shape[-2:], self.target.column
        if self.labeled is False:
            return torch.full(size, self.target.nothing, dtype=self.target.dtype)
        target = self.target.decode(row[column], where=f"{where}, column {column!r}")
        if size != target.shape:
            raise ValueError(
                f"Image and {self.target.kind} must have the same size, got {tuple(size)} and "
                f"{tuple(target.shape)} (height, width) in {where}; correct or remove this row."
            )
        return target


class _DenseRows(RowDataset[Row]):
    """The arguments of both classes below."""

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
        reader = DenseReader(
            target=target,
            image_column=image_column,
            labeled=labeled,
            normalization=normalization,
            augmentation=augmentation,
            size=size,
            seed=seed,
        )
        super().__init__(dataset, reader, skip_bad_images=skip_bad_images)


class DenseDataset(_DenseRows, StoredRows[Row]):
    """A stored `datasets.Dataset` of images and target maps as model inputs.

    A row is ``pixel_values`` (3, H, W) float32 and ``labels``: class ids (int64) or metres (float32), as the
    target says. With an augmentation the labels are (H, W) and, if its scale can leave a part of the crop
    empty, every row has ``pixel_mask`` (H, W) bool, True on the image. Without one (evaluation) the image is
    resized to ``size`` and the labels keep the file's own size.

    A row's augmentation depends on (seed, epoch, index) alone: not on batch size, workers, processes,
    resuming or any random state. Call `set_epoch` before each epoch: with several processes `accelerate`
    sets the epoch of its own sampler and not the dataset's.

    Args:
        dataset: the rows as stored: a format or transform set on it is not applied, and columns other than
            the two are not read.
        target: what the labels are, `ClassMap` or `DepthMap`.
        image_column: column of the images; any Pillow mode, see `decode_image`.
        labeled: for a part of a `MixedDataset`. False: images without labels; the target's column is not
            read, every label is the target's ``nothing``, the augmentation is another than that of a labelled
            row of the same index, and each row has ``labeled``, a bool of no axes, False. True: the same key,
            True. None: no such key.
        normalization: turns [0, 1] into the model's inputs; ``None`` leaves them in [0, 1].
        augmentation: random crops and colours for training, or ``None`` for evaluation.
        size: height and width of evaluation images; ``None`` keeps each image's own.
        seed: seed of the augmentation.
        skip_bad_images: whether a file that cannot be decoded is replaced by the next row that can, with a
            warning, instead of raising. `skipped` counts such rows. In evaluation the replacing row counts
            twice.

    Raises:
        ValueError: on a missing column, an argument outside its range, or an augmentation whose size or
            ``nothing`` is another. From ``dataset[i]``, naming the row: if image and target differ in size,
            or the target's own check fails.
        BadImageError: from ``dataset[i]``, if a file cannot be decoded (when skipping, if none can).
    """


class DenseIterableDataset(_DenseRows, StreamedRows[Row]):
    """A streamed `datasets.IterableDataset` of images and target maps as model inputs.

    Rows are those of `DenseDataset`. A streamed row has no index, so its augmentation depends on
    (seed, epoch, the encoded image): shuffling, workers and processes do not change it. Shuffle the stream
    before passing it; the epoch is handed on to it. Workers share the stream's files out among themselves,
    so workers beyond the number of files stay idle; processes are left to `accelerate`.

    Args:
        dataset: the stream.
        target: as in `DenseDataset`, like all that follow.
        image_column: column of the images.
        labeled: whether the images have labels, for a part of a `MixedIterableDataset`.
        normalization: turns [0, 1] into the model's inputs.
        augmentation: random crops and colours for training, or ``None`` for evaluation.
        size: height and width of evaluation images.
        seed: seed of the augmentation.
        skip_bad_images: whether a file that cannot be decoded is left out with a warning instead of raising.

    Raises:
        ValueError: as in `DenseDataset`; a row is named by its position in the worker's stream.
        BadImageError: while iterating, if a file cannot be decoded and is not to be skipped.
    """


def collate_dense(rows: Sequence[Row]) -> dict[str, Tensor | list[Tensor]]:
    """Stacks rows into a batch.

    Args:
        rows: what the datasets above deliver.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels`` (B, H, W), or a list of B maps when their sizes differ;
        and, if the rows have them, ``pixel_mask`` (B, H, W) and ``labeled`` (B,).

    Raises:
        ValueError: if the images differ in size.
    """
    batch: dict[str, Tensor | list[Tensor]] = {
        **stack_inputs([{key: row[key] for key in row if key != "labels"} for row in rows])
    }
    labels = [row["labels"] for row in rows]
    same = len({label.shape for label in labels}) == 1
    batch["labels"] = torch.stack(labels) if same else labels
    return batch


def stack_inputs(rows: Sequence[Row]) -> Row:
    """Stacks what all rows hold, key by key.

    Raises:
        ValueError: if the images differ in size.
    """
    sizes = {tuple(row["pixel_values"].shape[-2:]) for row in rows}
    if len(sizes) != 1:
        raise ValueError(
            f"The images of a batch must have one size, got {sorted(sizes)}; give the dataset a `size` or an "
            "augmentation, or use a batch size of 1."
        )
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
