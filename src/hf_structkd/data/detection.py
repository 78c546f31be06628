"""How an image with boxes around objects becomes model inputs, and how such rows become a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import torch
import torch.nn.functional as F
from torch import Tensor

from ._box_tally import BoxTally
from ._rows import Row, RowReader
from .boxes import Cleaned, ObjectBoxes, Objects, no_objects, through_crop
from .decoding import BadImageError, read_image_size
from .dense import stack_inputs
from .transforms import resize_image

# The sides of a padded batch are multiples of it, so that few shapes occur.
_BUCKET = 32


@dataclass(frozen=True, kw_only=True)
class DetectionReader(RowReader):
    """How an image and its objects become tensors.

    A row is ``pixel_values`` (3, H, W) float32 and ``labels``, a dict of ``class_labels`` (N,) int64 and
    ``boxes`` (N, 4) float32, cx, cy, w, h relative to the canvas, which is the image with its padding. N may
    be 0, and is 0 for an image without labels. With an augmentation whose scale can leave a part of the crop
    empty, every row has ``pixel_mask`` (H, W) bool, True on the image. Crowds are not trained on.

    Without an augmentation (evaluation) the image is resized to ``size``, and the labels also hold ``crowd``
    (N,) bool and ``canvas_size`` (2,) float32, height and width of the canvas in pixels of the original
    image, so that ``boxes`` times it are pixels of the original image.

    The objects are cleaned by `BOX_RULES`, for the size of their image. In a stored dataset one pass counts
    the boxes concerned before anything is read, and one warning tells the counts; the pass takes the sizes
    from the columns ``width`` and ``height`` if there are such, otherwise from the headers of the files. In a
    stream boxes are counted as they come, with a warning at the first box that each rule concerns.

    See `RowReader` for the other arguments.

    Args:
        target: what the labels are and how they are cleaned.
        keep_aspect_ratio: whether evaluation images are resized to fit into ``size`` instead of to fill it.
            Then each row has a ``pixel_mask``, all True, and `collate_detection` pads.

    Raises:
        ValueError: if a setting contradicts another, or `ObjectBoxes` refuses the objects.
    """

    target: ObjectBoxes
    keep_aspect_ratio: bool = False
    tally: BoxTally = field(default_factory=BoxTally, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the settings."""
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

    @property
    def fits_images(self) -> bool:
        """As `keep_aspect_ratio` says."""
        return self.keep_aspect_ratio

    @property
    def box_counts(self) -> dict[str, int]:
        """Boxes that were clipped or dropped, by the names in `BOX_RULES`.

        The counts cover a whole stored dataset, or what all workers met of a stream in all epochs so far.
        """
        return self.tally.counts

    def rows_of(self, dataset: Any) -> Any:
        """Select the columns that are read, and count the boxes of a stored dataset."""
        rows = super().rows_of(dataset)
        split = f" ({dataset.split})" if dataset.split else ""
        self.tally.name = (dataset.info.dataset_name or "dataset") + split
        if isinstance(rows, datasets.Dataset) and self.labeled is not False:
            self.tally.add_all(self._cleaned_rows(dataset, rows))
        return rows

    def finish(self, row: Mapping[str, Any], image: Tensor, generator: torch.Generator, *, where: str) -> Row:
        """Return the row with its objects as labels."""
        objects = self._objects(row, image, where=where)
        if self.augmentation is None:
            return self._fitted(image, objects)
        crop = self.augmentation.draw(image.shape[-2:], generator)
        mask = self.augmentation.mask(crop) if self.augmentation.can_pad else None
        objects = objects.where(~objects.crowd)
        boxes, kept = through_crop(objects.boxes, crop, min_visibility=self.target.min_visibility)
        labels = objects._replace(boxes=boxes).where(kept).labels(crop.size)
        return self.inputs(self.augmentation.image(image, crop), mask) | {"labels": labels}

    def _objects(self, row: Mapping[str, Any], image: Tensor, *, where: str) -> Objects:
        if self.labeled is False:
            return no_objects()
        where = f"{where}, column {self.target.column!r}"
        cleaned = self.target.decode(row[self.target.column], size=image.shape[-2:], where=where)
        self.tally.add(cleaned, where=where)
        return cleaned.objects

    def _fitted(self, image: Tensor, objects: Objects) -> Row:
        """Resize the image for evaluation; relative boxes stay as they are."""
        original, mask = image.shape[-2:], None
        if self.size is not None:
            size = _fitting(original, self.size) if self.keep_aspect_ratio else self.size
            image = resize_image(image, size)
            mask = torch.ones(size, dtype=torch.bool) if self.keep_aspect_ratio else None
        canvas = {"canvas_size": torch.tensor(original, dtype=torch.float32), "crowd": objects.crowd}
        return self.inputs(image, mask) | {"labels": objects.labels(original) | canvas}

    def _cleaned_rows(self, dataset: Any, rows: Any) -> Iterator[Cleaned]:
        """Yield the objects of every image whose size is known; other rows fail or are skipped when read."""
        column = self.target.column
        has_sizes = {"height", "width"} <= set(dataset.column_names)
        if has_sizes:
            rows = dataset.select_columns([column, "height", "width"]).with_format(None)
        for index, row in enumerate(rows):
            where = f"row {index}"
            try:
                size = (
                    (row["height"], row["width"])
                    if has_sizes
                    else read_image_size(row[self.image_column], where=where)
                )
            except BadImageError:
                continue
            yield self.target.decode(row[column], size=size, where=f"{where}, column {column!r}")


def _fitting(image_size: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """Return the largest height and width of the image's aspect inside ``size``, at least one pixel each."""
    ratio = min(wanted / side for side, wanted in zip(image_size, size, strict=True))
    height, width = (max(1, round(side * ratio)) for side in image_size)
    return height, width


def collate_detection(rows: Sequence[Row]) -> Row:
    """Stack rows of a `DetectionReader` into a batch.

    Evaluation images that kept their aspect are padded at the bottom and on the right, with zeros, to the
    next multiples of 32 of the batch's largest height and width; their ``boxes`` and ``canvas_size`` are
    converted to the padded canvas.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels``, a list of B dicts; and, if the rows have them,
        ``pixel_mask`` (B, H, W) bool, True on the image, and ``labeled`` (B,) bool. Rows without ``labels``,
        of images that are only predicted, give a batch without them.

    Raises:
        ValueError: if the images differ in size and have no ``pixel_mask``.
    """
    if "labels" not in rows[0]:
        return stack_inputs(rows)
    if all("canvas_size" in row["labels"] and "pixel_mask" in row for row in rows):
        sizes = torch.tensor([row["pixel_mask"].shape for row in rows])
        height, width = (_BUCKET * math.ceil(side / _BUCKET) for side in sizes.amax(dim=0).tolist())
        rows = [_padded(row, height, width) for row in rows]
    return stack_inputs(rows) | {"labels": [row["labels"] for row in rows]}


def _padded(row: Row, height: int, width: int) -> Row:
    """Place an image in the upper left corner of a canvas (height, width)."""
    own_height, own_width = row["pixel_mask"].shape
    room = (0, width - own_width, 0, height - own_height)
    share = torch.tensor([own_height / height, own_width / width])
    labels = row["labels"]
    return {
        **row,
        **{name: F.pad(row[name], room) for name in ("pixel_values", "pixel_mask")},
        "labels": labels
        | {
            "boxes": labels["boxes"] * share.flip(0).repeat(2),
            "canvas_size": labels["canvas_size"] / share,
        },
    }
