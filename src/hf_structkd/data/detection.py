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

from ..metrics._targets import canvas_size
from ._box_tally import BoxTally
from ._rows import Row, RowReader
from .boxes import Cleaned, ObjectBoxes, Objects, no_objects, through_crop
from .decoding import read_header
from .dense import as_tensor, stack_inputs
from .image_files import BadImageError
from .transforms import resize_image

_SIZE_COLUMNS = ("height", "width")
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
    the boxes concerned before anything is read, and one warning tells the counts; the pass reads the headers
    of the files. If there are columns ``width`` and ``height``, boxes belong to an image of that size and are
    scaled and turned to that in the file, see `ImageFrame.place`; a size of another shape is refused. In a
    stream boxes are counted as they come, with a warning at the first box that each rule concerns. Boxes that
    contradict the ``bbox_format`` are refused, see `check_format`: in a stored dataset by the same pass, in a
    stream by the first 1000 boxes that a worker reads.

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
    def further_columns(self) -> tuple[str, ...]:
        """The size for which the boxes are written, as in COCO."""
        return () if self.labeled is False else _SIZE_COLUMNS

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
            left = self.tally.add_all(self._cleaned_rows(rows), self.target)
            if not left and self.augmentation is not None:
                raise ValueError(
                    f"`objects_column` {self.target.column!r} must hold at least one box to train on, got "
                    f"none that can be used and is no crowd in {len(rows)} rows of {self.tally.name}; "
                    "correct the data."
                )
        return rows

    def finish(
        self,
        row: Mapping[str, Any],
        image: Tensor,
        generator: torch.Generator,
        *,
        where: str,
        teacher_size: tuple[int, int] | None,
    ) -> Row:
        """Return the row with its objects as labels."""
        objects = self._objects(row, where=where)
        if self.augmentation is None:
            return self._fitted(image, objects, teacher_size)
        crop = self.augmentation.draw(image.shape[-2:], generator)
        mask = self.augmentation.mask(crop) if self.augmentation.can_pad else None
        objects = objects.where(~objects.crowd)
        shown = through_crop(objects.boxes, crop, min_visibility=self.target.min_visibility)
        self.tally.add_lost(int(shown.below_pixel.sum()), where=where)
        labels = objects._replace(boxes=shown.boxes).where(shown.kept).labels(crop.size)
        further = self.for_teacher(image, crop, teacher_size)
        return self.inputs(self.augmentation.image(image, crop), mask, **further) | {"labels": labels}

    def _objects(self, row: Mapping[str, Any], *, where: str) -> Objects:
        if self.labeled is False:
            return no_objects()
        where = f"{where}, column {self.target.column!r}"
        cleaned = self._cleaned(row, where=where)
        self.tally.add(cleaned, self.target, where=where)
        return cleaned.objects

    def _cleaned(self, row: Mapping[str, Any], *, where: str) -> Cleaned:
        """Return the objects for the size and the orientation tag in the file, and for the recorded size."""
        size, orientation = read_header(row[self.image_column], where=where)
        return self.target.decode(
            row[self.target.column],
            size=size,
            orientation=orientation,
            recorded=_recorded_size(row),
            where=where,
        )

    def _fitted(self, image: Tensor, objects: Objects, teacher_size: tuple[int, int] | None) -> Row:
        """Resize the image for evaluation; relative boxes stay as they are."""
        original, mask = image.shape[-2:], None
        # An image that keeps its aspect is padded in its batch first, and resized for the teacher with that.
        further = self.for_teacher(image, None, None if self.keep_aspect_ratio else teacher_size)
        if self.size is not None:
            size = _fitting(original, self.size) if self.keep_aspect_ratio else self.size
            image = resize_image(image, size)
            mask = torch.ones(size, dtype=torch.bool) if self.keep_aspect_ratio else None
        canvas = {"canvas_size": torch.tensor(original, dtype=torch.float32), "crowd": objects.crowd}
        return self.inputs(image, mask, **further) | {"labels": objects.labels(original) | canvas}

    def _cleaned_rows(self, rows: Any) -> Iterator[Cleaned]:
        """Yield the objects of every image that has a header; other rows fail or are skipped when read."""
        for index, row in enumerate(rows):
            try:
                yield self._cleaned(row, where=f"row {index}, column {self.target.column!r}")
            except BadImageError:
                continue


def _recorded_size(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width from their columns, or None if the row does not have both."""
    height, width = (row.get(name) for name in _SIZE_COLUMNS)
    return (int(height), int(width)) if height and width else None


def _fitting(image_size: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """Return the largest height and width of the image's aspect inside ``size``, at least one pixel each."""
    ratio = min(wanted / side for side, wanted in zip(image_size, size, strict=True))
    height, width = (max(1, round(side * ratio)) for side in image_size)
    return height, width


def collate_detection(rows: Sequence[Row]) -> Row:
    """Stack rows of a `DetectionReader`, or of one of Transformers' image processors, into a batch.

    Evaluation images that kept their aspect are padded at the bottom and on the right, with zeros, to the
    next multiples of 32 of the batch's largest height and width; their ``boxes`` and ``canvas_size`` are
    converted to the padded canvas. So are images of an image processor, tensors or arrays, if they differ in
    size and have a ``pixel_mask``.

    Returns:
        ``pixel_values`` (B, 3, H, W); ``labels``, a list of B dicts; and, if the rows have them,
        ``pixel_mask`` (B, H, W), True or 1 on the image, and ``labeled`` (B,) bool. Rows without ``labels``,
        of images that are only predicted, give a batch without them.

    Raises:
        ValueError: if the images differ in size and have no ``pixel_mask``, or a row holds no numbers.
    """
    if "labels" not in rows[0]:
        return stack_inputs(rows)
    rows = [_as_tensors(row) for row in rows]
    is_own = all("canvas_size" in row["labels"] for row in rows)
    if all("pixel_mask" in row for row in rows):
        sizes = [tuple(row["pixel_mask"].shape) for row in rows]
        if is_own or len({*sizes}) > 1:
            height, width = (_BUCKET * math.ceil(max(sides) / _BUCKET) for sides in zip(*sizes, strict=True))
            rows = [_padded(row, height, width) for row in rows]
    return stack_inputs(rows) | {"labels": [row["labels"] for row in rows]}


def _as_tensors(row: Row) -> Row:
    labels = row["labels"]
    if not isinstance(labels, Mapping):
        raise ValueError(
            "`labels` of a row must be a dict with `class_labels` and `boxes`, got "
            f"{type(labels).__name__}; take the labels of one image from what an image processor returns."
        )
    tensors = {name: as_tensor(value, name) for name, value in row.items() if name != "labels"}
    return tensors | {"labels": {name: as_tensor(value, name) for name, value in labels.items()}}


def _padded(row: Row, height: int, width: int) -> Row:
    """Place an image in the upper left corner of a canvas (height, width)."""
    own_height, own_width = row["pixel_mask"].shape
    room = (0, width - own_width, 0, height - own_height)
    share = torch.tensor([own_height / height, own_width / width])
    labels, mask = row["labels"], row["pixel_mask"]
    return {
        **row,
        **{name: F.pad(row[name], room) for name in ("pixel_values", "pixel_mask")},
        "labels": labels
        | {
            "boxes": labels["boxes"] * share.flip(0).repeat(2),
            "canvas_size": canvas_size(labels, mask) / share,
        },
    }
