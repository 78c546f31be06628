"""Objects are read from whatever form and name they have, and what cannot be read is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from hf_structkd.data import ObjectBoxes, collate_dense, load_detection_data
from hf_structkd.data.object_fields import BOX_FIELDS, CATEGORY_FIELDS, read_objects

from .test_detection import images

BOXES = [[2.0, 3.0, 10.0, 5.0], [0.0, 0.0, 4.0, 4.0]]
NAMES = {0: "cat", 1: "dog", 2: "owl"}
ROW = "row 3, column 'objects'"
LISTED = [{"bbox": box, "category": one} for box, one in zip(BOXES, (2, 1), strict=True)]


def decode(value: Any) -> Any:
    return ObjectBoxes(id2label=NAMES).decode(value, size=(20, 30), where=ROW).objects


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("category", CATEGORY_FIELDS)
@pytest.mark.parametrize("bbox", BOX_FIELDS)
def test_fields_have_any_usual_name_in_both_layouts(bbox: str, category: str, as_list: bool) -> None:
    value: Any = {bbox: BOXES, category: [2, "dog"], "area": [50, 16]}
    if as_list:
        value = [{name: value[name][index] for name in value} for index in range(2)]
    found = decode(value)
    assert found.boxes.tolist() == [[2, 3, 12, 8], [0, 0, 4, 4]]
    assert found.class_labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(LISTED),
        json.dumps({"bbox": BOXES, "category": ["owl", "dog"]}),
        [json.dumps(one) for one in LISTED],
        {"bbox": np.array(BOXES, np.float32), "category": np.array([2, 1])},
        {"bbox": torch.tensor(BOXES), "category": torch.tensor([2, 1])},
        np.array(LISTED, dtype=object),
        tuple(LISTED),
        {"bbox": [tuple(box) for box in BOXES], "category": [2.0, np.int32(1)]},
    ],
)
def test_json_and_arrays_are_read(value: Any) -> None:
    found = decode(value)
    assert found.boxes.tolist() == [[2, 3, 12, 8], [0, 0, 4, 4]]
    assert found.class_labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    "value", [None, "", "[]", "null", [], np.zeros(0), {"bbox": np.zeros((0, 4)), "label": []}]
)
def test_no_objects_are_none_in_every_form(value: Any) -> None:
    assert len(read_objects(value, where=ROW).boxes) == 0


def test_a_crowd_flag_that_some_objects_lack_is_no_crowd() -> None:
    assert decode([{**LISTED[0], "iscrowd": 1}, LISTED[1]]).crowd.tolist() == [True, False]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"bbox": BOXES, "boxes": BOXES, "label": [1, 2]},
            "one of the fields 'bbox' and 'boxes', got several",
        ),
        (
            {"bbox": BOXES, "category": ["cat", "dog"], "category_id": [1, 2]},
            "one of the fields 'category' and 'category_id', got several",
        ),
        ("cat, dog", r"must be JSON where they are a string, got 'cat, dog'"),
        (["cat", "dog"], r"must be JSON where they are a string, got 'cat'"),
        (BOXES, r"must be a dict of lists, a list of dicts or JSON of either, got \[2.0, 3.0, 10.0, 5.0\]"),
        (7, "must be a dict of lists, a list of dicts or JSON of either, got 7 in a int"),
        (
            [*LISTED, {"category": 1}],
            "must have the field 'bbox' that others have, got object 2 with: category",
        ),
        ({"bbox": BOXES, "category": 1}, "The field 'category' in .* must be a list .* got 1;"),
        ({"bbox": BOXES, "category": "cat"}, "The field 'category' in .* must be a list .* got 'cat'"),
        ({"bbox": BOXES[0], "category": [1]}, "A box in .* must be four numbers, got 2.0"),
        ({"bbox": ["1234"], "category": [1]}, "A box in .* must be four numbers, got '1234'"),
        (
            {"bbox": [{"x": 1, "y": 2, "w": 3, "h": 4}], "category": [1]},
            "A box in .* must be four numbers, got {'x'",
        ),
        (
            {"bbox": BOXES[:1], "category": [{"id": 1}]},
            "categories in .* must be ids or class names, got {'id': 1}",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(value: Any, message: str) -> None:
    """Where Python's own error came, "string indices must be integers", nobody knew which row to look at."""
    with pytest.raises(ValueError, match=message) as error:
        decode(value)
    assert ROW in str(error.value)


@pytest.mark.parametrize("field", ["label", "category_id"])
@pytest.mark.parametrize("as_list", [False, True])
def test_class_names_are_read_off_the_feature_of_any_name(field: str, as_list: bool, tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=[*NAMES.values()])
    box = datasets.List(datasets.Value("float32"))
    feature: Any = {"boxes": datasets.List(box), field: datasets.List(names)}
    value: Any = {"boxes": BOXES, field: [2, 1]}
    if as_list:
        feature = datasets.List({"boxes": box, field: names})
        value = [{"boxes": one, field: label} for one, label in zip(BOXES, (2, 1), strict=True)]
    rows = datasets.Dataset.from_dict(
        {"image": images((20, 30)), "objects": [value]},
        features=datasets.Features({"image": datasets.Image(), "objects": feature}),
    )
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path)
    data = load_detection_data(str(tmp_path), normalization=None)
    assert data.id2label == NAMES
    assert data.validation[0]["labels"]["class_labels"].tolist() == [2, 1]


def test_rows_of_arrays_are_stacked_as_those_of_tensors() -> None:
    """What an image processor returns without `return_tensors`."""
    images_of = np.random.default_rng(0).random((2, 3, 8, 8))
    labels = np.arange(128).reshape(2, 8, 8)
    batch = collate_dense(
        [{"pixel_values": one, "labels": label} for one, label in zip(images_of, labels, strict=True)]
    )
    assert torch.equal(batch["pixel_values"], torch.from_numpy(images_of).float())
    assert torch.equal(batch["labels"], torch.from_numpy(labels))
    with pytest.raises(ValueError, match=r"`path` of a row must be a tensor, .* got str"):
        collate_dense([{"pixel_values": images_of[0], "labels": labels[0], "path": "a.png"}])
