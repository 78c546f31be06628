"""The objects of a row, in any of the forms and under any of the names that datasets have for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

BOX_FIELDS = ("bbox", "bboxes", "boxes")
CATEGORY_FIELDS = ("category", "category_id", "categories", "label", "labels", "class_labels")
CROWD_FIELDS = ("iscrowd", "is_crowd")


class WrittenObjects(NamedTuple):
    """The objects of one image as they are written."""

    boxes: Tensor  # (N, 4) float64, NaN for a number that is missing
    categories: list[Any]  # ids or names
    crowd: Tensor  # (N,) bool


def read_objects(value: Any, *, where: str) -> WrittenObjects:
    """Read the objects of one image.

    Args:
        value: a dict of lists, a list of dicts, JSON of either, or None; lists may be arrays. Boxes, classes
            and crowds have one of the names in `BOX_FIELDS`, `CATEGORY_FIELDS` and `CROWD_FIELDS`.
        where: what an error calls the row.

    Raises:
        ValueError: if the value is nothing of this, a field is missing, is there under two names or has
            another length, or a box is not four numbers.
    """
    fields = _fields(_from_json(value, where=where), where=where)
    if not fields:
        return WrittenObjects(torch.zeros(0, 4, dtype=torch.float64), [], torch.zeros(0, dtype=torch.bool))
    box_field = _one_of(BOX_FIELDS, fields, where=where)
    category_field = _one_of(CATEGORY_FIELDS, fields, where=where)
    boxes = _boxes(_listed(fields[box_field], box_field, where=where), where=where)
    categories = [_plain(one) for one in _listed(fields[category_field], category_field, where=where)]
    crowd = torch.zeros(len(boxes), dtype=torch.bool)
    lengths = {box_field: len(boxes), category_field: len(categories)}
    for name in (name for name in CROWD_FIELDS if name in fields):
        flags = _listed(fields[name], name, where=where)
        if any(isinstance(one, str) for one in flags):
            raise ValueError(
                f"The field {name!r} in {where} must hold 0 or 1 for each object, got {flags!r:.60}; correct "
                "this row."
            )
        crowd = torch.tensor([bool(one) for one in flags], dtype=torch.bool)
        lengths[name] = len(crowd)
    if len(set(lengths.values())) != 1:
        raise ValueError(f"The fields of {where} must be of one length, got {lengths}; correct this row.")
    return WrittenObjects(boxes, categories, crowd)


def category_field(features: Mapping[str, Any] | None, column: str) -> str:
    """Return the field of a column of objects that holds their classes, as far as the features tell."""
    feature = (features or {}).get(column)
    while feature is not None and not isinstance(feature, Mapping):
        feature = getattr(feature, "feature", None)
    return next((name for name in CATEGORY_FIELDS if name in (feature or {})), CATEGORY_FIELDS[0])


def _from_json(value: Any, *, where: str) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"The objects in {where} must be JSON where they are a string, got {value[:40]!r} ({error}); "
            "correct this row, or pass the column that has the objects as `objects_column`."
        ) from error


def _fields(value: Any, *, where: str) -> Mapping[str, Any]:
    """Return the objects as lists by field; empty if there are none."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    ones = list(value) if hasattr(value, "__iter__") else [value]
    ones = [_from_json(one, where=where) for one in ones]
    for one in ones:
        if not isinstance(one, Mapping):
            raise ValueError(
                f"The objects in {where} must be a dict of lists, a list of dicts or JSON of either, got "
                f"{one!r:.60} in a {type(value).__name__}; pass the column that has boxes with their classes "
                "as `objects_column`."
            )
    names = dict.fromkeys(name for one in ones for name in one)
    for index, one in enumerate(ones):
        for name in (name for name in names if name in BOX_FIELDS + CATEGORY_FIELDS and name not in one):
            raise ValueError(
                f"Every object in {where} must have the field {name!r} that others have, got object {index} "
                f"with: {', '.join(one)}; correct this row."
            )
    return {name: [one.get(name) for one in ones] for name in names}


def _one_of(names: Sequence[str], fields: Mapping[str, Any], *, where: str) -> str:
    """Return the one of the names that the fields have."""
    present = [name for name in names if name in fields]
    if not present:
        raise ValueError(
            f"The objects in {where} must have the field {names[0]!r} (or {', '.join(names[1:])}), got: "
            f"{', '.join(map(str, fields))}; rename it, or pass the column that has it as `objects_column`."
        )
    if len(present) > 1:
        raise ValueError(
            f"The objects in {where} must have one of the fields {' and '.join(map(repr, present))}, got "
            "several, which may contradict each other; remove or rename all but the one to be read."
        )
    return present[0]


def _listed(values: Any, name: str, *, where: str) -> list[Any]:
    if values is None:
        return []
    if isinstance(values, str) or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise ValueError(
            f"The field {name!r} in {where} must be a list with one entry for each object, got "
            f"{values!r:.60}; correct this row."
        )
    return list(values)


def _plain(value: Any) -> Any:
    """Return a number of numpy or torch as one of Python, whose hash is that of its value."""
    return value.item() if hasattr(value, "item") else value


def _boxes(values: list[Any], *, where: str) -> Tensor:
    """Return four numbers for each box, (N, 4) float64."""
    rows = []
    for box in values:
        try:
            numbers = [float("nan") if number is None else float(number) for number in box]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != 4 or isinstance(box, str):
            raise ValueError(f"A box in {where} must be four numbers, got {box!r:.60}; correct this row.")
        rows.append(numbers)
    return torch.tensor(rows, dtype=torch.float64).view(-1, 4)
