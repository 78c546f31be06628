"""Datasets of images with one value per pixel, stored or streamed, as model inputs, and their batches."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from hf_structkd.data._rows import MAX_WORKERS, DenseRows, Row, position
from hf_structkd.data.decoding import BadImageError

logger = logging.getLogger(__name__)


class DenseDataset(DenseRows, Dataset[Row]):
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

    def __len__(self) -> int:
        """Number of rows, bad ones included."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """One row; see the class."""
        count = len(self)
        index = position(index, count)
        for row in itertools.chain(range(index, count), range(index)):
            if self._skips[row]:
                continue
            try:
                image, target = self._reader.read(self._rows[row], index=row)
            except BadImageError as error:
                if not self.skip_bad_images:
                    raise
                self._skips[row] = 1
                logger.warning("Row %d is replaced by the next good one: %s", row, error)
                continue
            identity = str(index).encode()
            return self._reader.prepare(image, target, epoch=int(self._epoch), identity=identity)
        columns = " and ".join(f"`{argument}`={name!r}" for argument, name in self._reader.columns.items())
        raise BadImageError(f"At least one of the {count} rows must be decodable, got none; check {columns}.")


class DenseIterableDataset(DenseRows, IterableDataset[Row]):
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

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the augmentation and the stream's shuffling depend on."""
        super().set_epoch(epoch)
        self._rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[Row]:
        """The rows this worker has to deliver."""
        worker = get_worker_info()
        slot = 0 if worker is None else worker.id % MAX_WORKERS
        for index, row in enumerate(self._rows):
            try:
                image, target = self._reader.read(row, index=index)
            except BadImageError as error:
                if not self.skip_bad_images:
                    raise
                self._skips[slot] += 1
                logger.warning("Row %d of the stream is left out: %s", index, error)
                continue
            identity = _content(row[self._reader.image_column])
            yield self._reader.prepare(image, target, epoch=int(self._epoch), identity=identity)


def _content(value: Any) -> bytes:
    """What tells one streamed image from another, wherever in the stream it comes."""
    if isinstance(value, Mapping):
        return bytes(value["bytes"]) if value["bytes"] is not None else str(value["path"]).encode()
    return bytes(value.tobytes()) if hasattr(value, "tobytes") else repr(value).encode()


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
    sizes = {tuple(row["pixel_values"].shape[-2:]) for row in rows}
    if len(sizes) != 1:
        raise ValueError(
            f"The images of a batch must have one size, got {sorted(sizes)}; give the dataset a `size` or an "
            "augmentation, or use a batch size of 1."
        )
    batch: dict[str, Tensor | list[Tensor]] = {
        key: torch.stack([row[key] for row in rows]) for key in rows[0] if key != "labels"
    }
    labels = [row["labels"] for row in rows]
    same = len({label.shape for label in labels}) == 1
    batch["labels"] = torch.stack(labels) if same else labels
    return batch
