"""One call turns the name of a dataset with boxes, or none, into data that a trainer takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from hf_structkd.data import (
    StoredRows,
    StreamedRows,
    collate_detection,
    load_detection_data,
)
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.scenes.scenes import OBJECT_CLASS_NAMES, VALIDATION_OFFSET, render_scene

from .test_detection import images

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
NAMES = ["cat", "dog", "owl"]
PLAIN = {"normalization": ImageNormalization(), "image_size": (12, 16)}
OFF = {"scale": (1, 1), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def split(count: int, *, category: Any = None, objects_column: str = "objects") -> datasets.Dataset:
    """Images of 12 x 16 with one box each."""
    boxes = [{"bbox": [[1.0 + i % 4, 2.0, 6.0, 5.0]], "category": [i % 3]} for i in range(count)]
    features = {
        "bbox": datasets.List(datasets.List(datasets.Value("float32"))),
        "category": datasets.List(category or datasets.Value("int64")),
    }
    return datasets.Dataset.from_dict(
        {"image": images(*[(12, 16)] * count), objects_column: boxes},
        features=datasets.Features({"image": datasets.Image(), objects_column: features}),
    )


def saved(folder: Path, *, names: bool = True, **settings: Any) -> str:
    """Six training and three validation rows."""
    rows = {"train": split(6, **settings), "validation": split(3, **settings)}
    datasets.DatasetDict(rows).save_to_disk(folder)
    if names:
        (folder / "id2label.json").write_text(json.dumps(NAMES))
    return str(folder)


def load(name: str | None = None, **settings: Any) -> Any:
    return load_detection_data(name, **{**PLAIN, **settings})


def in_pixels(labels: dict[str, Tensor], height: float, width: float) -> Tensor:
    """x, y, w, h."""
    boxes = labels["boxes"] * torch.tensor([width, height, width, height])
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], dim=1)


# ---- the embedded scenes ----


def test_without_a_name_the_scenes_are_rendered() -> None:
    data = load(image_size=(32, 48), max_train_samples=3, max_eval_samples=2, **OFF)
    assert isinstance(data.train, StoredRows)
    assert (len(data.train), len(data.validation)) == (3, 2)
    assert data.id2label == dict(enumerate(OBJECT_CLASS_NAMES))
    assert data.labeled is data.train
    for row, index in ((data.train[1], 1), (data.validation[1], VALIDATION_OFFSET + 1)):
        objects = render_scene(index, height=32, width=48).objects
        assert row["pixel_values"].shape == (3, 32, 48)
        assert row["labels"]["class_labels"].tolist() == objects["category"].tolist()
        boxes = in_pixels(row["labels"], 32, 48)
        torch.testing.assert_close(boxes, torch.from_numpy(objects["bbox"]), atol=1e-4, rtol=0)
    assert not any(data.train.reader.box_counts.values())


def test_scenes_can_be_streamed() -> None:
    data = load(image_size=(32, 32), max_train_samples=3, max_eval_samples=2, streaming=True)
    assert isinstance(data.train, StreamedRows)
    assert (len(list(data.train)), len(list(data.validation))) == (3, 2)


# ---- a folder ----


@pytest.mark.parametrize("streaming", [False, True])
def test_a_saved_folder_is_read(tmp_path: Path, streaming: bool) -> None:
    data = load(saved(tmp_path), image_size=(8, 8), streaming=streaming)
    train, validation = list(data.train), list(data.validation)
    assert (len(train), len(validation)) == (6, 3)
    assert data.id2label == dict(enumerate(NAMES))
    assert train[0].keys() == {"pixel_values", "pixel_mask", "labels"}
    assert train[0]["pixel_values"].shape == validation[0]["pixel_values"].shape == (3, 8, 8)
    assert validation[0]["labels"]["canvas_size"].tolist() == [12, 16]
    assert in_pixels(validation[1]["labels"], 12, 16)[0].tolist() == pytest.approx([2, 2, 6, 5], abs=1e-5)


def test_settings_reach_the_rows(tmp_path: Path) -> None:
    """Corners taken for sizes, a share, and a kept aspect."""
    name = saved(tmp_path)
    corners = load(name, bbox_format="xyxy").validation
    assert in_pixels(corners[0]["labels"], 12, 16)[0].tolist() == pytest.approx([1, 2, 5, 3], abs=1e-5)
    strict = load(name, min_visibility=1.0, image_size=(4, 4), base_size=(12, 16), **OFF).train
    lenient = load(name, min_visibility=0.0, image_size=(4, 4), base_size=(12, 16), **OFF).train
    assert sum(len(row["labels"]["boxes"]) for row in strict) == 0
    assert sum(len(row["labels"]["boxes"]) for row in lenient) > 0
    kept = load(name, image_size=(32, 32), keep_aspect_ratio=True).validation
    assert kept[0]["pixel_values"].shape == (3, 24, 32)
    assert collate_detection([kept[0]])["pixel_values"].shape == (1, 3, 32, 32)


def test_the_column_of_the_objects_can_be_named(tmp_path: Path) -> None:
    name = saved(tmp_path, objects_column="things")
    assert len(load(name, objects_column="things").train[0]["labels"]["boxes"]) <= 1
    message = (
        r"`objects_column` must be a column of the dataset, got 'objects'; it has: image, things; name it"
    )
    with pytest.raises(ValueError, match=message):
        load(name)


def test_names_come_from_a_file_then_the_feature_then_the_folder_then_the_default(tmp_path: Path) -> None:
    own = tmp_path / "names.json"
    own.write_text(json.dumps(["a", "b", "c"]))
    feature = saved(tmp_path / "feature", category=datasets.ClassLabel(names=["x", "y", "z"]))
    assert load(feature, id2label_path=str(own)).id2label[0] == "a"
    assert load(feature).id2label == {0: "x", 1: "y", 2: "z"}
    bare = saved(tmp_path / "bare", names=False)
    teacher = {0: "p", 1: "q", 2: "r"}
    assert load(bare, default_id2label=teacher, labels_are_teacher_ids=True).id2label == teacher
    with pytest.raises(ValueError, match=rf"nothing names the classes of '{bare}'; pass `id2label_path`"):
        load(bare)


@pytest.mark.parametrize("streaming", [False, True])
def test_ids_without_names_are_not_taken_for_the_teachers(tmp_path: Path, streaming: bool) -> None:
    """Ids 0 to 2 of playing cards would become "person", "bicycle" and "car" of a teacher of COCO."""
    teacher = dict(enumerate(["person", "bicycle", "car", "bus"]))
    message = (
        r"names for the categories 0, 1 and 2 of its boxes, or `labels_are_teacher_ids` if they mean the "
        r"teacher's classes, where 0 is 'person', 1 is 'bicycle' and 2 is 'car'\."
    )
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path, names=False), default_id2label=teacher, streaming=streaming)


def test_categories_that_are_written_as_names_may_be_the_teachers(tmp_path: Path) -> None:
    rows = split(3).map(lambda row: {"objects": {"bbox": row["objects"]["bbox"], "category": ["q"]}})
    rows = datasets.DatasetDict({"train": rows, "validation": rows})
    rows.save_to_disk(tmp_path)
    data = load(str(tmp_path), default_id2label={0: "p", 1: "q"})
    assert {int(row["labels"]["class_labels"]) for row in data.validation} == {1}


def test_categories_beyond_the_names_are_refused_or_dropped(tmp_path: Path) -> None:
    """A file of names that belongs to other data is found out before anything is trained."""
    own = tmp_path / "names.json"
    own.write_text(json.dumps(["a", "b"]))
    name = saved(tmp_path / "data")
    with pytest.raises(ValueError, match=r"in row 2, column 'objects' must be ids in \[0, 2\) .* got 2"):
        load(name, id2label_path=str(own))
    data = load(name, id2label_path=str(own), unknown_categories="drop")
    assert data.train.reader.box_counts["unknown_category"] == 2
    assert data.validation.reader.box_counts["unknown_category"] == 1


def test_damaged_images_are_skipped_as_asked(tmp_path: Path) -> None:
    rows = split(3).cast_column("image", datasets.Image(decode=False)).to_dict()
    rows["image"][1] = {"bytes": b"damaged", "path": None}
    spoilt = datasets.Dataset.from_dict(rows, features=split(1).features)
    datasets.DatasetDict({"train": spoilt, "validation": spoilt}).save_to_disk(tmp_path)
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load(str(tmp_path), skip_bad_images=True)
    assert len(list(data.train)) == 3
    assert data.train.skipped == 1


def test_a_folder_of_images_with_metadata_is_read(tmp_path: Path) -> None:
    """As people lay detection data out by hand: files, and a line for each."""
    for part in ("train", "validation"):
        folder = tmp_path / part
        folder.mkdir()
        PIL.Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(folder / "0.png")
        line = {"file_name": "0.png", "objects": {"bbox": [[12.0, 2.0, 6.0, 5.0]], "category": ["owl"]}}
        (folder / "metadata.jsonl").write_text(json.dumps(line))
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load(str(tmp_path))
    assert data.validation.reader.box_counts["clipped"] == 1
    assert data.validation[0]["labels"]["class_labels"].tolist() == [2]


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data not found at ../shared/data")
@pytest.mark.parametrize(
    ("name", "classes", "boxes"), [("cards", 6, 78), ("fruit", 3, 66), ("bccd", 3, 1137), ("nyuv2", 18, 537)]
)
def test_real_data_are_read(name: str, classes: int, boxes: int) -> None:
    """The number of boxes was counted in the files."""
    path = str(SHARED / "nyuv2" / "id2label_boxes.json") if name == "nyuv2" else None
    data = load(str(SHARED / name), image_size=(32, 32), id2label_path=path, max_train_samples=2)
    assert len(data.id2label) == classes
    assert sum(len(row["labels"]["boxes"]) for row in data.validation) == boxes
    dropped = {rule: n for rule, n in data.validation.reader.box_counts.items() if rule != "clipped"}
    assert not any(dropped.values())
