"""Images that stand alone are read without labels, and nothing that could be a label is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
from transformers import PretrainedConfig

from hf_structkd.data import load_depth_data, load_detection_data, load_segmentation_data
from hf_structkd.data.folders import read_folder
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.tasks import DetectionTask, SegmentationTask, Task

from .test_loaders import NAMES, png, saved, split

TEACHER = {0: "sky", 1: "road", 2: "car", 3: "pole"}
COMMON: dict[str, Any] = {"normalization": ImageNormalization(), "image_size": (32, 32)}
OF_CLASSES = {**COMMON, "default_id2label": TEACHER}


def load_segmentation(name: str, **settings: Any) -> Any:
    return load_segmentation_data(name, **{**OF_CLASSES, **settings})


def load_depth(name: str, **settings: Any) -> Any:
    return load_depth_data(name, **{**COMMON, **settings})


def load_detection(name: str, **settings: Any) -> Any:
    return load_detection_data(name, **{**OF_CLASSES, **settings})


over_loaders = pytest.mark.parametrize("load", [load_segmentation, load_depth, load_detection])


def pictures(folder: Path, *names: str) -> str:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colours = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        PIL.Image.fromarray(colours).save(path)
    return str(folder)


def is_empty(labels: Any) -> bool:
    if isinstance(labels, dict):
        return len(labels["boxes"]) == 0
    return bool(((labels == 255) | (labels == 0)).all() and labels.unique().numel() == 1)


@over_loaders
@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_a_folder_of_photos_trains_without_labels(
    load: Callable[..., Any], streaming: bool, tmp_path: Path
) -> None:
    """It was refused, although every term of the distillation can do without a label."""
    data = load(pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg"), streaming=streaming)
    rows = list(data.train)
    assert len(rows) == 4
    assert not any(bool(row["labeled"]) for row in rows)
    assert all(is_empty(row["labels"]) for row in rows)
    assert not data.train.has_labels
    assert data.labeled is None
    assert data.validation is None
    assert data.id2label == (None if load is load_depth else TEACHER)


@over_loaders
def test_held_out_photos_are_there_to_compare_on(load: Callable[..., Any], tmp_path: Path) -> None:
    name = pictures(tmp_path, *(f"{i}.jpg" for i in range(4)))
    data = load(name, validation_fraction=0.25)
    assert (len(data.train), len(data.validation)) == (3, 1)
    assert not data.validation.has_labels
    row = data.validation[0]
    assert not row["labeled"]
    assert row["pixel_values"].shape == (3, 32, 32)
    if load is not load_detection:
        assert row["labels"].shape == (24, 32), "predictions are compared at the size of the photo"


def test_splits_of_photos_are_found_by_their_folders(tmp_path: Path) -> None:
    data = load_segmentation(pictures(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg"))
    assert (len(data.train), len(data.validation), data.validation.split) == (2, 1, "val")


def test_labels_of_the_validation_alone_score_it(tmp_path: Path) -> None:
    """The usual case of somebody who has drawn a few masks to check with."""
    pictures(tmp_path, "images/train/1.jpg", "images/train/2.jpg", "images/val/3.jpg")
    (tmp_path / "masks" / "val").mkdir(parents=True)
    PIL.Image.fromarray(np.eye(24, 32, dtype=np.uint8)).save(tmp_path / "masks" / "val" / "3.png")
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load_segmentation(str(tmp_path))
    assert (len(data.train), len(data.validation)) == (2, 1)
    assert not data.train.has_labels
    assert data.validation.has_labels
    assert data.validation[0]["labels"].sum() == 24
    assert data.id2label == dict(enumerate(NAMES)), "the classes are those of the labels"


@pytest.mark.parametrize("load", [load_segmentation, load_depth])
def test_labels_that_are_there_are_not_read_where_they_are_not_wanted(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    """A run that claims to have done without labels must not have seen one."""
    rows = split(4, 0)
    bad = datasets.Dataset.from_dict(
        {
            "image": rows["image"],
            **{name: [{"bytes": b"no", "path": None}] * 4 for name in ("label", "depth")},
        },
        features=rows.features,
    )
    datasets.DatasetDict({"train": bad, "validation": split(2, 1)}).save_to_disk(tmp_path)
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load(str(tmp_path), without_labels=True)
    assert all(is_empty(row["labels"]) for row in data.train)
    assert data.validation.has_labels
    assert not is_empty(data.validation[0]["labels"])


def with_column(**columns: list[Any]) -> datasets.Dataset:
    image = png(np.zeros((8, 8, 3), dtype=np.uint8))
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [image] * 2}, features=features)
    for name, values in columns.items():
        rows = rows.add_column(name, values)
    return rows


def test_numbers_beside_the_images_are_no_labels(tmp_path: Path) -> None:
    with_column(image_id=[1, 2]).save_to_disk(tmp_path)
    assert not load_segmentation(str(tmp_path)).train.has_labels


def refused(tmp_path: Path) -> dict[str, tuple[Callable[[], Any], str]]:
    """Data that may have labels under another name, by what they are."""
    words, folder = tmp_path / "words", tmp_path / "folder"
    with_column(mask_path=["a.png", "b.png"]).save_to_disk(words)
    pictures(folder / "classes", "cat/1.jpg", "dog/2.jpg")
    pictures(folder / "two", "images/1.jpg", "others/1.png")
    pictures(folder / "same", "1.jpg", "1.png")
    pictures(folder / "texts", "images/1.jpg")
    (folder / "texts" / "Annotations").mkdir()
    (folder / "texts" / "Annotations" / "1.xml").write_text("<annotation/>")
    return {
        "a column of another name": (
            lambda: load_segmentation(str(words), validation_fraction=0.5),
            "has: image, mask_path; name it",
        ),
        "a column that the user names": (
            lambda: load_segmentation(str(words), label_column="mask", validation_fraction=0.5),
            "got 'mask'; it has: image, mask_path; name it",
        ),
        "folders of classes": (
            lambda: load_segmentation(str(folder / "classes"), validation_fraction=0.5),
            r"\(cat and dog\)",
        ),
        "a second folder of images": (
            lambda: load_depth(str(folder / "two")),
            "the folders images, others; add",
        ),
        "two images of one name": (
            lambda: load_segmentation(str(folder / "same")),
            r"one folder, in which 2 \(1.jpg, 1.png\) may be labels",
        ),
        "files of another kind": (lambda: load_detection(str(folder / "texts")), "files .jpg and .xml"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "a column of another name",
        "a column that the user names",
        "folders of classes",
        "a second folder of images",
        "two images of one name",
        "files of another kind",
    ],
)
def test_what_could_be_a_label_is_not_passed_over(kind: str, tmp_path: Path) -> None:
    """A misspelt column would turn a supervised run into another one, in silence."""
    load, message = refused(tmp_path)[kind]
    with pytest.raises(ValueError, match=message) as raised:
        load()
    assert "pass `without_labels` to learn from a teacher alone" in str(raised.value)


def test_what_is_no_folder_of_images_is_left_to_the_hub(tmp_path: Path) -> None:
    """A dataset on the Hub has no folder here, and would have had no rows."""
    for folder in (Path("somebody/photos"), tmp_path):
        assert read_folder(folder, "label", without_labels=True) is None


def test_folders_of_classes_can_be_read_for_their_photos(tmp_path: Path) -> None:
    """The classes of whole photos are none of the places in them."""
    data = load_segmentation(pictures(tmp_path, "cat/1.jpg", "dog/2.jpg"), without_labels=True)
    assert len(data.train) == 2
    assert data.id2label == TEACHER


def test_classes_can_be_named_and_must_come_from_somewhere(tmp_path: Path) -> None:
    name = pictures(tmp_path / "photos", "1.jpg")
    (tmp_path / "names.json").write_text(json.dumps(["road", "car"]))
    data = load_segmentation(name, id2label_path=str(tmp_path / "names.json"))
    assert data.id2label == {0: "road", 1: "car"}
    with pytest.raises(ValueError, match="which has no labels; name a teacher"):
        load_segmentation(name, default_id2label=None)


@pytest.mark.parametrize("task", [SegmentationTask, DetectionTask])
def test_the_classes_that_a_teacher_is_asked_for_are_the_students(task: type[Task], tmp_path: Path) -> None:
    """A teacher that reads text has no classes of its own, and photos name none."""
    name = pictures(tmp_path / "photos", "1.jpg")
    prompts = json.dumps({"apple": ["a red apple", "a green apple"], "pear": "a pear"})
    options = task.options(dataset_name=name, teacher_prompts=prompts)
    teacher = PretrainedConfig(num_labels=2)
    data = task.load_data(options, normalization=ImageNormalization(), teacher=teacher, seed=0)
    assert data.id2label == {0: "apple", 1: "pear"}


def test_photos_join_images_with_boxes(tmp_path: Path) -> None:
    """It was refused: the student would have learned that they are empty."""
    boxes = {"bbox": [[2.0, 3.0, 8.0, 9.0]], "category": [1]}
    row = {"image": PIL.Image.new("RGB", (32, 24)), "objects": boxes}
    rows = datasets.Dataset.from_list([row, row])
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path / "data")
    photos = pictures(tmp_path / "photos", "1.jpg")
    settings = {"unlabeled_dataset_name": photos, "labels_are_teacher_ids": True}
    data = load_detection(str(tmp_path / "data"), **settings)
    assert [bool(row["labeled"]) for row in data.train] == [True, True, False]
    assert data.train.has_labels
    assert len(data.labeled) == 2
    assert is_empty(data.train[2]["labels"])


def test_images_do_not_join_where_nothing_is_labelled(tmp_path: Path) -> None:
    name = pictures(tmp_path / "photos", "1.jpg")
    with pytest.raises(ValueError, match="`unlabeled_dataset_name` joins images to labelled ones"):
        load_segmentation(name, unlabeled_dataset_name=name)
    with pytest.raises(ValueError, match="`unlabeled_dataset_name` joins images to labelled ones"):
        load_segmentation(saved(tmp_path / "own"), without_labels=True, unlabeled_dataset_name=name)
