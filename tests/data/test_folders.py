"""Folders as people keep them are read as they are, and what has no partner is named."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from hf_structkd.data import BadImageError, load_depth_data, load_detection_data, load_segmentation_data
from hf_structkd.data.loading import load_dataset_splits
from hf_structkd.matching.normalization import ImageNormalization

NAMES = ["sky", "road", "car"]
LOADERS = {"label": load_segmentation_data, "depth": load_depth_data, "objects": load_detection_data}


def write(path: Path, value: int, kind: type = np.uint8) -> None:
    """A constant gray picture of 4 x 6 whose value tells it from all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((4, 6), value, kind)).save(path)


def load(folder: Path, kind: str = "label", **settings: Any) -> Any:
    return LOADERS[kind](str(folder), normalization=ImageNormalization(), image_size=(4, 6), **settings)


def two_folders(root: Path, images: str, maps: str, *, kind: str = "label", suffix: str = "") -> None:
    """Three training and two validation pairs; the map of the image i holds i, or i metres."""
    for split, numbers in (("train", (0, 1, 2)), ("val", (1, 2))):
        for i in numbers:
            write(root / images.format(split) / f"frame {i}.png", 10 * i)
            value = (1000 * (i + 1), np.uint16) if kind == "depth" else (i, np.uint8)
            write(root / maps.format(split) / f"frame {i}{suffix}.png", *value)
    (root / "id2label.json").write_text(json.dumps(NAMES))


def pairs(rows: Any) -> list[tuple[int, float]]:
    """The value of each image and that of its labels."""
    return [(round(float(row["pixel_values"][0, 0, 0]) * 255), float(row["labels"][0, 0])) for row in rows]


@pytest.mark.parametrize(
    ("images", "maps", "suffix"),
    [
        ("images/{}", "masks/{}", ""),
        ("{}/images", "{}/labels", ""),
        ("{}/img", "{}/ground_truth", "_mask"),
        ("img/{}", "lbl/{}", ""),
        ("img_dir/{}", "ann_dir/{}", ""),
        ("{}", "{}_labels", "_gt"),
        ("images/{}/street", "annotations/{}/street", ""),
        ("JPEGImages_{}", "SegmentationClass_{}", ""),
    ],
)
def test_masks_stand_beside_the_image_of_their_name(
    tmp_path: Path, images: str, maps: str, suffix: str
) -> None:
    """The commonest layout was answered with "'int' object has no attribute 'load'"."""
    two_folders(tmp_path, images, maps, suffix=suffix)
    data = load(tmp_path, validation_split="val")
    assert data.id2label == dict(enumerate(NAMES))
    assert pairs(data.validation) == [(10, 1), (20, 2)]
    assert len(data.train) == 3


def test_folders_are_streamed(tmp_path: Path) -> None:
    two_folders(tmp_path, "{}/images", "{}/masks")
    data = load(tmp_path, validation_split="val", streaming=True)
    assert pairs(data.validation) == [(10, 1), (20, 2)]
    assert len(list(data.train)) == 3


@pytest.mark.parametrize("maps", ["depth/{}", "{}/depth_maps"])
def test_depth_maps_stand_beside_the_image_of_their_name(tmp_path: Path, maps: str) -> None:
    """Masks may lie in the same folder."""
    two_folders(tmp_path, "rgb/{}", "masks/{}")
    two_folders(tmp_path, "rgb/{}", maps, kind="depth")
    assert pairs(load(tmp_path, "depth", validation_split="val").validation) == [(10, 2), (20, 3)]


@pytest.mark.parametrize("streaming", [False, True])
def test_depth_may_lie_in_arrays(tmp_path: Path, streaming: bool) -> None:
    """Floats in metres have no picture format that everybody writes."""
    for split in ("train", "validation"):
        write(tmp_path / split / "images" / "a.png", 10)
        (tmp_path / split / "depth").mkdir()
        np.save(tmp_path / split / "depth" / "a.npy", np.full((4, 6), 2.5, np.float32))
    assert pairs(load(tmp_path, "depth", streaming=streaming).validation) == [(10, 2.5)]
    (tmp_path / "validation" / "depth" / "a.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(BadImageError, match="row 0, column 'depth' cannot be decoded"):
        list(load(tmp_path, "depth", streaming=streaming).validation)


def test_words_before_a_number_are_no_part_of_the_name(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / "images" / f"image_{i}.png", 10 * i)
        write(tmp_path / "masks" / f"mask{i}.png", i)
    rows = load_dataset_splits(str(tmp_path), target_kind="label")["train"]
    assert [(np.max(row["image"]), np.max(row["label"])) for row in rows] == [(0, 0), (10, 1)]


def test_files_without_a_partner_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An image that silently leaves the training set is missed by nobody."""
    two_folders(tmp_path, "{}/images", "{}/masks")
    write(tmp_path / "train" / "images" / "alone.png", 0)
    write(tmp_path / "val" / "masks" / "late.png", 0)
    data = load(tmp_path, validation_split="val")
    assert (len(data.train), len(data.validation)) == (3, 2)
    assert "without a partner of the same name are left out: 2 (train/images/alone.png, val/masks/late" in (
        caplog.text
    )


def test_folders_without_any_pair_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", 0)
    write(tmp_path / "masks" / "b.png", 0)
    with pytest.raises(
        ValueError, match=r"a label map of the same name, got no pair among 2 \(images/a\.png, "
    ):
        load(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of them would be trained on by chance."""
    for place in ("images/a.png", "images/a.jpg", "masks/a.png"):
        write(tmp_path / place, 0)
    with pytest.raises(
        ValueError, match=r"one image file of each name, got 'images/a.jpg' and 'images/a.png'"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("label", "label maps in a folder `masks`"), ("depth", "depth maps"), ("objects", "COCO file")],
)
def test_images_without_what_the_task_needs_are_refused(tmp_path: Path, kind: str, expected: str) -> None:
    write(tmp_path / "images" / "a.png", 0)
    write(tmp_path / "normals" / "a.png", 0)
    with pytest.raises(
        ValueError, match=rf"beside its images, .*{expected}.*got the folders images, normals;"
    ):
        load(tmp_path, kind)


def test_images_without_labels_are_taken_without_the_masks_beside_them(tmp_path: Path) -> None:
    """A mask taken for a photo is distilled on."""
    two_folders(tmp_path / "data", "{}/images", "{}/masks")
    for place in ("images/x.png", "masks/x.png"):
        write(tmp_path / "more" / place, 200)
    data = load(tmp_path / "data", validation_split="val", unlabeled_dataset_name=str(tmp_path / "more"))
    assert len(data.train) == 4


# ---- COCO ----


def coco(path: Path, files: list[str], *, first: int = 1, categories: Any = None, **image: Any) -> None:
    """One box for each image, of the category 7, then 3 and so on, and a crowd in the first image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + len(files))
    boxes = [
        {"id": i, "image_id": i, "category_id": 7 if i % 2 else 3, "bbox": [1, 1, 2 + i % 2, 2]}
        for i in numbers
    ]
    crowd = {"id": 99, "image_id": first, "category_id": 3, "bbox": [0, 0, 3, 3], "iscrowd": 1}
    content = {
        "images": [{"id": i, "file_name": name, **image} for i, name in zip(numbers, files, strict=True)],
        "annotations": [crowd, *boxes],
        "categories": categories or [{"id": 7, "name": "owl"}, {"id": 3, "name": "cat"}],
    }
    path.write_text(json.dumps(content))


COCO_LAYOUTS = {
    "annotations of COCO": (
        {"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"},
        "{}2017",
    ),
    "export of Roboflow": ({s: f"{s}/_annotations.coco.json" for s in ("train", "val")}, "{}"),
    "file and images in the split": ({s: f"{s}/annotations.json" for s in ("train", "val")}, "{}/images"),
    "splits below the images": ({s: f"{s}.json" for s in ("train", "val")}, "images/{}"),
}


@pytest.mark.parametrize("layout", COCO_LAYOUTS)
def test_a_coco_file_gives_the_boxes_of_its_images(tmp_path: Path, layout: str) -> None:
    """Ids of categories count up from 0 in the order of COCO's ids, as in its own evaluation."""
    places, images = COCO_LAYOUTS[layout]
    for split, names in (("train", ["a.png", "b.png"]), ("val", ["a.png"])):
        coco(tmp_path / places[split], names, first=1 if split == "train" else 5, height=4, width=6)
        for name in names:
            write(tmp_path / images.format(split) / name, 30 if split == "val" else 90)
    data = load(tmp_path, "objects", validation_split="val")
    assert data.id2label == {0: "cat", 1: "owl"}
    assert len(data.train) == 2
    (row,) = data.validation
    assert round(float(row["pixel_values"].max()) * 255) == 30
    labels = row["labels"]
    assert (labels["class_labels"].tolist(), labels["crowd"].tolist()) == ([0, 1], [True, False])
    assert labels["boxes"][1].tolist() == pytest.approx([2.5 / 6, 2 / 4, 3 / 6, 2 / 4])


def test_the_project_above_all_categories_of_roboflow_is_no_class(tmp_path: Path) -> None:
    """The student would have a class that no box teaches."""
    write(tmp_path / "valid" / "a.png", 0)
    write(tmp_path / "train" / "a.png", 0)
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 7, "name": "owl", "supercategory": "animals"},
    ]
    for split in ("train", "valid"):
        coco(tmp_path / split / "_annotations.coco.json", ["a.png"], categories=categories)
    data = load(tmp_path, "objects")
    assert data.id2label == {0: "cat", 1: "owl"}
    assert data.validation[0]["labels"]["class_labels"].tolist() == [0, 1]


def test_one_coco_file_is_divided_as_its_images_are(tmp_path: Path) -> None:
    names = ["train/0.png", "train/1.png", "validation/0.png"]
    for name in names:
        write(tmp_path / "images" / name, 0)
    coco(tmp_path / "annotations.json", names)
    data = load(tmp_path, "objects")
    assert (len(data.train), len(data.validation)) == (2, 1)


def test_images_and_entries_without_a_partner_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The lost image has a namesake in another split, whose boxes it must not get."""
    write(tmp_path / "train" / "a.png", 0)
    write(tmp_path / "train" / "new.png", 0)
    write(tmp_path / "valid" / "lost.png", 0)
    coco(tmp_path / "train" / "annotations.json", ["a.png", "lost.png"])
    coco(tmp_path / "valid" / "annotations.json", ["lost.png"])
    with caplog.at_level(logging.WARNING):
        data = load(tmp_path, "objects", validation_split="valid")
    assert (len(data.train), len(data.validation)) == (1, 1)
    assert "images that the COCO file lists do not exist: 1 (lost.png)." in caplog.text
    assert "images that no COCO file lists are left out: 1 (train/new.png)." in caplog.text


def test_an_image_is_not_taken_for_its_namesake_in_another_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The image of the second camera got the boxes of both."""
    write(tmp_path / "images" / "right" / "0.png", 0)
    coco(tmp_path / "annotations.json", ["left/0.png", "right\\0.png"])
    data = load(tmp_path, "objects", validation_split="train")
    assert len(data.train) == 1
    assert data.validation[0]["labels"]["class_labels"].tolist() == [0]
    assert "do not exist: 1 (left/0.png)" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, r"`image_id` and `category_id` must be listed .* got 1 and 3 in annotation 99 of"),
        ({"categories": [{"id": 3, "name": "cat"}]}, "got 1 and 7 in annotation 1 of annotations.json"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 7, "name": "a"}]}, "an integer `id` and a `name` of"),
        (
            {"annotations": [{"id": 4, "image_id": 1, "category_id": 3}]},
            "`bbox` must be x, y, w, h, got None in",
        ),
        ({"images": [{"id": 1, "file_name": "gone.png"}]}, r"got none of 1 \(gone.png\)"),
        ({"images": [{"id": 1, "file_name": "x/a.png"}]}, r"which fits 2 \(images/1/a.png, images/2/a.png\)"),
    ],
)
def test_coco_files_that_contradict_themselves_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for place in ("1", "2"):
        write(tmp_path / "images" / place / "a.png", 0)
    path = tmp_path / "annotations.json"
    coco(path, ["1/a.png"])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "objects")


def test_two_coco_files_for_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", 0)
    for name in ("annotations.json", "old_annotations.json"):
        coco(tmp_path / name, ["a.png"])
    with pytest.raises(ValueError, match=r"one COCO file for each split, got 'annotations.json' and 'old_"):
        load(tmp_path, "objects")


def test_a_coco_file_without_categories_is_refused(tmp_path: Path) -> None:
    """The student would have no class, which was told as "KeyError: 0"."""
    write(tmp_path / "images" / "1.png", 1)
    content = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [], "categories": []}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations\.json must list at least one category"):
        load(tmp_path, "objects")
