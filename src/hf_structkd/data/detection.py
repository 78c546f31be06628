"""Datasets of images with boxes around objects, stored or streamed, as model inputs, and their batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._box_tally import BoxTally
from ._datasets import RowDataset, StoredRows, StreamedRows
from ._rows import Normalization, Row, RowReader
from .boxes import Cleaned, ObjectBoxes, Objects, no_objects, through_crop
from .decoding import BadImageError, read_image_size
from .dense import stack_inputs
from .transforms import DenseAugmentation, resize_image

DetectionRow = dict[str, Tensor | dict[str, Tensor]]
DetectionBatch = dict[str, Tensor | list[dict[str, Tensor]]]

# Sides of a padded batch are multiples of it, so that few shapes occur.
_BUCKET = 32


@dataclass(frozen=True, kw_only=True)
class DetectionReader(RowReader[DetectionRow]):
    """How an image and its objects become tensors; ``tally`` counts what was not counted before."""

    target: ObjectBoxes
    keep_aspect_ratio: bool
    tally: BoxTally | None

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        if self.keep_aspect_ratio and (self.size is None or self.augmentation is not None):
            raise ValueError(
                "`keep_aspect_ratio` needs a `size` and no augmentation, got size="
                f"{self.size} and {'an' if self.augmentation else 'no'} augmentation; it is for evaluation, "
                "and training crops keep the aspect anyway."
            )

    @property
    def target_columns(self) -> dict[str, str]:
        """The column of the objects."""
        return {"objects_column": self.target.column}

    def finish(
        self, row: Mapping[str, Any], image: Tensor, generator: torch.Generator, *, where: str
    ) -> DetectionRow:
        """The row with its objects as labels."""
        objects = self._objects(row, image, where=where)
        if self.augmentation is None:
            return self._fitted(image, objects)
        crop = self.augmentation.draw(image.shape[-2:], generator)
        mask = self.augmentation.mask(crop) if self.augmentation.can_pad else None
        objects = objects.where(~objects.crowd)
        boxes, kept = through_crop(objects.boxes, crop, min_visibility=self.target.min_visibility)
        labels = objects._replace(boxes=boxes).where(kept).labels(crop.size)
        return {**self.inputs(self.augmentation.image(image, crop), mask), "labels": labels}

    def _objects(self, row: Mapping[str, Any], image: Tensor, *, where: str) -> Objects:
        if self.labeled is False:
            return no_objects()
        where = f"{where}, column {self.target.column!r}"
        cleaned = self.target.decode(row[self.target.column], size=image.shape[-2:], where=where)
        if self.tally is not None:
            self.tally.add(cleaned, where=where)
        return cleaned.objects

    def _fitted(self, image: Tensor, objects: Objects) -> DetectionRow:
        """The image resized for evaluation; in relative coordinates its boxes stay where they are."""
        original, mask = image.shape[-2:], None
        if self.size is not None:
            size = _fitting(original, self.size) if self.keep_aspect_ratio else self.size
            image = resize_image(image, size)
            mask = torch.ones(size, dtype=torch.bool) if self.keep_aspect_ratio else None
        labels = {
            **objects.labels(original),
            "canvas_size": torch.tensor(original, dtype=torch.float32),
            "crowd": objects.crowd,
        }
        return {**self.inputs(image, mask), "labels": labels}


class _DetectionRows(RowDataset[DetectionRow]):
    """The arguments of both classes below."""

    def __init__(
        self,
        dataset: Any,
        target: ObjectBoxes,
        *,
        image_column: str = "image",
        labeled: bool | None = None,
        normalization: Normalization | None = None,
        augmentation: DenseAugmentation | None = None,
        size: tuple[int, int] | None = None,
        keep_aspect_ratio: bool = False,
        seed: int = 0,
        skip_bad_images: bool = False,
    ) -> None:
        """Checks the columns and settings; see the public classes for the arguments."""
        self._tally = BoxTally(dataset)
        reader = DetectionReader(
            target=target,
            image_column=image_column,
            labeled=labeled,
            normalization=normalization,
            augmentation=augmentation,
            size=size,
            keep_aspect_ratio=keep_aspect_ratio,
            seed=seed,
            tally=self._tally if isinstance(self, StreamedRows) else None,
        )
        super().__init__(dataset, reader, skip_bad_images=skip_bad_images)
        if isinstance(self, StoredRows) and labeled is not False:
            self._tally.add_all(_cleaned_rows(dataset, self._rows, reader))

    @property
    def box_counts(self) -> dict[str, int]:
        """Boxes that were clipped or dropped, by the names in `BOX_RULES`.

        Of a stored dataset all of them, of a stream those met so far, by all workers and in all epochs.
        """
        return self._tally.counts


class DetectionDataset(_DetectionRows, StoredRows[DetectionRow]):
    """A stored `datasets.Dataset` of images and objects as model inputs.

    A row is ``pixel_values`` (3, H, W) float32 and ``labels``, a dict of ``class_labels`` (N,) int64 and
    ``boxes`` (N, 4) float32, cx, cy, w, h relative to the canvas, that is the image with its padding. N may
    be 0. With an augmentation whose scale can leave a part of the crop empty, every row has ``pixel_mask``
    (H, W) bool, True on the image. Crowds are not trained on.

    Without an augmentation (evaluation) the image is resized to ``size``, and the labels also hold
    ``canvas_size`` (2,) float32, height and width of the canvas in pixels of the original image, so that
    ``boxes`` times it are pixels of the original image; and ``crowd`` (N,) bool.

    The augmentation and bad images are those of `DenseDataset`. The objects are cleaned by `BOX_RULES`; one
    pass over them when the dataset is made counts the boxes concerned, and one warning tells the counts. It
    takes the sizes of the images from the columns ``width`` and ``height`` if the dataset has them, otherwise
    from the files' headers; a row is always cleaned for the size its image has.

    Args:
        dataset: the rows as stored; columns other than the two are not read into rows.
        target: what the labels are and how they are cleaned.
        image_column: column of the images; any Pillow mode, see `decode_image`.
        labeled: for a part of a `MixedDataset`, as in `DenseDataset`. False: the column of the objects is not
            read and N is 0.
        normalization: turns [0, 1] into the model's inputs; ``None`` leaves them in [0, 1].
        augmentation: random crops and colours for training, or ``None`` for evaluation.
        size: height and width of evaluation images; ``None`` keeps each image's own.
        keep_aspect_ratio: whether evaluation images are resized to fit into ``size`` instead of to fill it.
            Then each row has a ``pixel_mask``, all True, and `collate_detection` pads.
        seed: seed of the augmentation.
        skip_bad_images: whether a file that cannot be decoded is replaced by the next row that can.

    Raises:
        ValueError: on a missing column, an argument outside its range, or objects that `ObjectBoxes` refuses.
        BadImageError: from ``dataset[i]``, if a file cannot be decoded (when skipping, if none can).
    """


class DetectionIterableDataset(_DetectionRows, StreamedRows[DetectionRow]):
    """A streamed `datasets.IterableDataset` of images and objects as model inputs.

    Rows are those of `DetectionDataset`; order, augmentation, workers and bad images those of
    `DenseIterableDataset`. Boxes are cleaned and counted as they come, with a warning at the first box that
    each rule concerns.

    Args:
        dataset: the stream.
        target: as in `DetectionDataset`, like all that follow.
        image_column: column of the images.
        labeled: whether the images have labels, for a part of a `MixedIterableDataset`.
        normalization: turns [0, 1] into the model's inputs.
        augmentation: random crops and colours for training, or ``None`` for evaluation.
        size: height and width of evaluation images.
        keep_aspect_ratio: whether evaluation images are resized to fit into ``size``.
        seed: seed of the augmentation.
        skip_bad_images: whether a file that cannot be decoded is left out with a warning instead of raising.

    Raises:
        ValueError: as in `DetectionDataset`, but for objects while iterating.
        BadImageError: while iterating, if a file cannot be decoded and is not to be skipped.
    """


def _cleaned_rows(dataset: Any, rows: Any, reader: DetectionReader) -> Iterator[Cleaned]:
    """The objects of every row whose image can be measured; the others fail or are skipped when read."""
    column = reader.target.column
    measured = {"height", "width"} <= set(dataset.column_names)
    if measured:
        rows = dataset.select_columns([column, "height", "width"]).with_format(None)
    for index, row in enumerate(rows):
        where = f"row {index}"
        try:
            size = (
                (row["height"], row["width"])
                if measured
                else read_image_size(row[reader.image_column], where=where)
            )
        except BadImageError:
            continue
        yield reader.target.decode(row[column], size=size, where=f"{where}, column {column!r}")


def _fitting(image_size: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """The largest height and width of the image's aspect inside ``size``, at least one pixel each."""
    ratio = min(wanted / side for side, wanted in zip(image_size, size, strict=True))
    height, width = (max(1, round(side * ratio)) for side in image_size)
    return height, width


def collate_detection(rows: Sequence[DetectionRow]) -> DetectionBatch:
    """Stacks rows into a batch.

    Evaluation images that kept their aspect are padded at the bottom and on the right, with zeros, to the
    next multiples of 32 of the batch's largest height and width; their ``boxes`` and ``canvas_size`` are
    converted to the padded canvas.

    Args:
        rows: what the datasets above deliver.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels``, a list of B dicts; and, if the rows have them,
        ``pixel_mask`` (B, H, W) bool, True on the image, and ``labeled`` (B,) bool.

    Raises:
        ValueError: if the images differ in size and have no ``pixel_mask``.
    """
    parts = [_parts(row) for row in rows]
    if all("canvas_size" in labels and "pixel_mask" in inputs for inputs, labels in parts):
        sizes = torch.tensor([inputs["pixel_mask"].shape for inputs, _ in parts])
        height, width = (_BUCKET * math.ceil(side / _BUCKET) for side in sizes.amax(dim=0).tolist())
        parts = [_padded(inputs, labels, (height, width)) for inputs, labels in parts]
    return {**stack_inputs([inputs for inputs, _ in parts]), "labels": [labels for _, labels in parts]}


def _parts(row: DetectionRow) -> tuple[Row, dict[str, Tensor]]:
    """The tensors to stack, and the labels."""
    inputs = {key: value for key, value in row.items() if isinstance(value, Tensor)}
    (labels,) = (value for value in row.values() if not isinstance(value, Tensor))
    return inputs, labels


def _padded(inputs: Row, labels: dict[str, Tensor], size: tuple[int, int]) -> tuple[Row, dict[str, Tensor]]:
    """An image on a canvas of ``size``, height and width, in its upper left corner."""
    height, width = inputs["pixel_mask"].shape
    room = (0, size[1] - width, 0, size[0] - height)
    inputs = inputs | {name: F.pad(inputs[name], room) for name in ("pixel_values", "pixel_mask")}
    share = torch.tensor([height / size[0], width / size[1]])
    return inputs, labels | {
        "boxes": labels["boxes"] * share.flip(0).repeat(2),
        "canvas_size": labels["canvas_size"] / share,
    }
