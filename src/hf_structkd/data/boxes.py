"""Boxes around objects: how they are read from a row, cleaned by named rules, and moved into a crop."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..losses.boxes import boxes_from_corners
from .box_conventions import BoxFormat, Written
from .box_frames import BoxFrame, ImageFrame
from .object_fields import read_objects
from .transforms import Crop

UnknownCategories = Literal["error", "drop"]

BOX_RULES = {
    "unknown_category": "dropped (unknown category)",
    "not_finite": "dropped (not finite)",
    "no_area": "dropped (no area)",
    "outside": "dropped (outside the image)",
    "clipped": "clipped to the image",
    "below_pixel": "dropped from a training crop (a side below one pixel)",
    "scaled": "scaled from the recorded size of their image to its own",
    "turned": "turned with their photo",
}
"""What is done with boxes that cannot be used as they are, by the name of the rule. Of the rules up to
``clipped`` the first that fits a box counts. ``below_pixel`` is counted for each training crop that is read,
and what was ``scaled`` or ``turned`` is counted beside the rest."""

# Files hold two decimals or float32, so that a smaller overhang is a rounding error.
_ROUNDING = 0.01
_DIGITS = re.compile(r"-?\d+")


class Objects(NamedTuple):
    """The objects of one image."""

    boxes: Tensor  # (N, 4) float64, corners x1, y1, x2, y2 in pixels
    class_labels: Tensor  # (N,) int64
    crowd: Tensor  # (N,) bool, True where one box holds several objects

    def where(self, kept: Tensor) -> Objects:
        """Return the objects for which ``kept`` (N,) is True."""
        return Objects(*(field[kept] for field in self))

    def labels(self, size: Sequence[int]) -> dict[str, Tensor]:
        """Return what models take: boxes relative to a canvas of ``size``, height and width in pixels."""
        return {"class_labels": self.class_labels, "boxes": normalized_boxes(self.boxes, size)}


class Cleaned(NamedTuple):
    """Objects that can be used, and what was done with the others."""

    objects: Objects
    counts: Tensor  # (len(BOX_RULES),) int64, number of boxes under each rule
    unknown: list[Any]  # categories that were dropped as unknown, one entry for each box
    categories: list[Any]  # as written, one for each box
    written: Written


class Shown(NamedTuple):
    """What a training crop shows of boxes."""

    boxes: Tensor  # (N, 4) corners in pixels of the result, clipped to the part that shows the image
    kept: Tensor  # (N,) bool
    below_pixel: Tensor  # (N,) bool, True where only its size keeps a box out


def no_objects() -> Objects:
    """Return the objects of an image without any."""
    labels = torch.zeros(0, dtype=torch.int64)
    return Objects(torch.zeros(0, 4, dtype=torch.float64), labels, labels.bool())


@dataclass(frozen=True, kw_only=True)
class ObjectBoxes:
    """A box and a class for each object, in a column as on the Hub.

    The column holds ``bbox`` and ``category``, and ``iscrowd`` or ``is_crowd`` if crowds are marked: lists of
    one length, or one list of objects with these fields, or JSON of either; see `read_objects` for other
    names of the fields. A row without objects may hold None.

    Args:
        id2label: class id, 0 to K - 1, to name.
        column: column of the objects.
        bbox_format: ``xywh``, the upper left corner and the size as in COCO; ``xyxy``, two corners as in
            Pascal VOC; or ``cxcywh``, the centre and the size; all in pixels of the image. With
            ``normalized_`` before it, in shares of the image's width and height: ``normalized_cxcywh`` is
            YOLO's.
        box_frame: whether boxes belong to photos as they are ``shown``, turned by the orientation tag of a
            camera, or as they are ``stored``. ``auto`` finds it out for each photo, see `ImageFrame.place`.
        first_category_id: the id that the data give to class 0; 1 where ids start at 1.
        unknown_categories: whether a category that is neither an id nor a name of ``id2label`` is an
            ``error``, or its box is dropped (``drop``).
        min_visibility: the share of its area in [0, 1] that a box must keep in a training crop; a box that
            keeps less, or has a side below one pixel, is dropped.

    Raises:
        ValueError: if an argument is outside its range. From `decode`, naming the row, if a field is missing
            or has another length, a box is not four numbers, or a category is unknown.
    """

    id2label: Mapping[int, str]
    column: str = "objects"
    bbox_format: BoxFormat = "xywh"
    box_frame: BoxFrame = "auto"
    first_category_id: int = 0
    unknown_categories: UnknownCategories = "error"
    min_visibility: float = 0.3

    def __post_init__(self) -> None:
        """Check the settings."""
        choices_of = {
            "bbox_format": BoxFormat,
            "box_frame": BoxFrame,
            "unknown_categories": UnknownCategories,
        }
        for name, choices in choices_of.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` must be one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}."
                )
        if not 0 <= self.min_visibility <= 1:
            raise ValueError(
                f"`min_visibility` must lie in [0, 1], got {self.min_visibility}; it is the share of a box "
                "that a training crop must show."
            )

    def decode(
        self,
        value: Any,
        *,
        size: Sequence[int],
        orientation: int = 1,
        recorded: Sequence[int] | None = None,
        where: str,
    ) -> Cleaned:
        """Return the objects of an image.

        Args:
            value: what the column holds.
            size: height and width of the image as it is shown, in pixels.
            orientation: orientation tag that has been applied to the image.
            recorded: height and width that the dataset has for it in columns, if any.
            where: what an error calls the row.
        """
        boxes, written, crowd = read_objects(value, where=where)
        categories = [self._known(one) for one in written]
        frame = ImageFrame(size, orientation, recorded, self.box_frame)
        placed = frame.place(boxes, self.bbox_format, where=where)
        class_labels = self._class_labels(categories, where=where)
        unknown = class_labels < 0
        boxes, geometric = clean_boxes(placed.corners, size)
        found = {"unknown_category": unknown, **{rule: at & ~unknown for rule, at in geometric.items()}}
        dropped = torch.stack([at for rule, at in found.items() if rule != "clipped"]).any(dim=0)
        return Cleaned(
            objects=Objects(boxes, class_labels, crowd).where(~dropped),
            counts=rule_counts(
                {rule: int(at.sum()) for rule, at in found.items()}
                | {"scaled": placed.scaled * len(boxes), "turned": placed.turned * len(boxes)}
            ),
            unknown=[categories[index] for index in unknown.nonzero().flatten().tolist()],
            categories=categories,
            written=placed.written,
        )

    def _known(self, category: Any) -> Any:
        """Return an id as an integer and a name as in `id2label`, where only the spelling is another."""
        if isinstance(category, float) and category.is_integer():
            return int(category)
        if not isinstance(category, str) or category in self.id2label.values():
            return category
        if _DIGITS.fullmatch(category.strip()):
            return int(category)
        alike = [
            name for name in self.id2label.values() if name.strip().casefold() == category.strip().casefold()
        ]
        return alike[0] if len(alike) == 1 else category

    def _class_labels(self, categories: Sequence[Any], *, where: str) -> Tensor:
        """Return class ids (N,) int64, -1 where a category is unknown and is to be dropped."""
        first, end = self.first_category_id, self.first_category_id + len(self.id2label)
        ids = {name: i for i, name in self.id2label.items()} | {i + first: i for i in self.id2label}
        for category in categories:
            if not isinstance(category, Hashable) or isinstance(category, bool):
                raise ValueError(
                    f"The categories in {where} must be ids or class names, got {category!r:.60}; correct "
                    "this row."
                )
        labels = [ids.get(category, -1) for category in categories]
        if -1 in labels and self.unknown_categories == "error":
            unknown = categories[labels.index(-1)]
            advice = (
                # Every other id would then be taken for the class after its own: dropping hides that.
                f"do your ids start at {first + 1}? Then pass first_category_id={first + 1}, and otherwise "
                "correct the class names (`id2label_path`)"
                if unknown == end
                else "correct the class names (`id2label_path`), or pass unknown_categories='drop' to leave "
                "such boxes out and count them"
            )
            raise ValueError(
                f"The categories in {where} must be ids in [{first}, {end}) or class names, got {unknown!r}; "
                f"{advice}."
            )
        return torch.tensor(labels, dtype=torch.int64)


def rule_counts(counts: Mapping[str, int]) -> Tensor:
    """Return the number of boxes under each of `BOX_RULES`, (len(BOX_RULES),) int64."""
    return torch.tensor([counts.get(rule, 0) for rule in BOX_RULES], dtype=torch.int64)


def clean_boxes(boxes: Tensor, size: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """Clip boxes (N, 4), corners in pixels, to an image of ``size``, and find those that break a rule.

    Returns:
        The boxes (N, 4), with zeros for those that are not finite; and for each geometric rule of `BOX_RULES`
        a bool (N,) that says which boxes it applies to, at most one rule for each box: ``not_finite``;
        ``no_area``, a side of 0 or less; ``outside``, no area inside the image; ``clipped``, partly outside
        by more than a rounding error.
    """
    finite = boxes.isfinite().all(dim=1)
    boxes = torch.where(finite[:, None], boxes, 0.0)
    clipped = _clipped(boxes, size)
    area, inside = _has_area(boxes), _has_area(clipped)
    moved = ((clipped - boxes).abs() > _ROUNDING).any(dim=1)
    return clipped, {
        "not_finite": ~finite,
        "no_area": finite & ~area,
        "outside": area & ~inside,
        "clipped": inside & moved,
    }


def through_crop(boxes: Tensor, crop: Crop, *, min_visibility: float) -> Shown:
    """Move boxes (N, 4), corners in pixels and with an area, to their places in the augmented image.

    See `ObjectBoxes` for ``min_visibility``.
    """
    rows, columns = crop.source
    (height, width), (top, left) = crop.content, crop.corner
    x = (boxes[:, 0::2] - columns.start) * (width / (columns.stop - columns.start))
    y = (boxes[:, 1::2] - rows.start) * (height / (rows.stop - rows.start))
    if crop.flipped:
        x = (width - x).flip(-1)
    moved = torch.stack([x, y], dim=-1).flatten(1)
    shown = _clipped(moved, crop.content)
    sides = shown[:, 2:] - shown[:, :2]
    share = sides.prod(dim=1) / (moved[:, 2:] - moved[:, :2]).prod(dim=1)
    seen, large = (share >= min_visibility) & (sides > 0).all(dim=1), (sides >= 1).all(dim=1)
    return Shown(shown + shown.new_tensor([left, top, left, top]), seen & large, seen & ~large)


def normalized_boxes(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Return boxes (N, 4), corners in pixels, as models take them.

    These are cx, cy, w, h in [0, 1] float32, relative to a canvas of ``size``, height and width in pixels.
    """
    return boxes_from_corners(boxes / _limits(boxes, size)).float()


def _clipped(boxes: Tensor, size: Sequence[int]) -> Tensor:
    return boxes.clamp(min=0).minimum(_limits(boxes, size))


def _limits(boxes: Tensor, size: Sequence[int]) -> Tensor:
    height, width = size
    return boxes.new_tensor([width, height, width, height])


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
