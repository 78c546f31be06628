"""The folders of well-known datasets are read as they are, or refused with what is to be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from .test_folders import NAMES, coco, load, pairs, write

MASK_LAYOUTS = {
    "Cityscapes": ("leftImg8bit/{}/ulm/ulm_{}_leftImg8bit", "gtFine/{}/ulm/ulm_{}_gtFine_labelIds"),
    "Cityscapes as unpacked": (
        "leftImg8bit_trainvaltest/leftImg8bit/{}/ulm/ulm_{}_leftImg8bit",
        "gtFine_trainvaltest/gtFine/{}/ulm/ulm_{}_gtFine_labelTrainIds",
    ),
    "CamVid": ("{}/{}", "{}annot/{}"),
    "camel case": ("{}Images/{}", "{}Masks/{}"),
    "numbered camel case": ("{}/Images/{}", "{}/MasksV1/{}"),
    "input and target": ("input/{}/{}", "target/{}/{}"),
    "in and out of one split": ("{}/inputs/{}", "{}/targets/{}"),
    "imgs and gt": ("imgs/{}/{}", "gt/{}/{}"),
    "one folder": ("{}/{}", "{}/{}_mask"),
    "originals": ("{}/Original/{}", "{}/Ground Truth/{}"),
}


@pytest.mark.parametrize("layout", MASK_LAYOUTS)
def test_masks_of_a_known_layout_are_found(tmp_path: Path, layout: str) -> None:
    """Cityscapes was answered with "'int' object has no attribute 'load'"."""
    for split, numbers in (("train", (0, 1, 2)), ("val", (1, 2))):
        for i in numbers:
            image, mask = (tmp_path / f"{one.format(split, i)}.png" for one in MASK_LAYOUTS[layout])
            write(image, 10 * i)
            write(mask, i)
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load(tmp_path)
    assert pairs(data.validation) == [(10, 1), (20, 2)]
    assert len(data.train) == 3


def test_the_names_of_splits_of_ade20k_are_known(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        for i in (1, 2):
            write(tmp_path / "ADEData" / "images" / split / f"ADE_{i}.jpg", 90)
            write(tmp_path / "ADEData" / "annotations" / split / f"ADE_{i}.png", i)
    (tmp_path / "id2label.json").write_text(json.dumps(["wall", "building"]))
    labels = [row["labels"].unique().tolist() for row in load(tmp_path, reduce_labels=True).validation]
    assert labels == [[0], [1]]


def test_of_the_maps_of_cityscapes_one_sort_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Colours and instances lie beside the ids, and each would be a mask of the same image."""
    for split in ("train", "val"):
        write(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png", 0)
        for sort, value in {"color": 70, "instanceIds": 26, "labelIds": 7, "labelTrainIds": 1}.items():
            write(tmp_path / "gtFine" / split / "ulm" / f"ulm_1_gtFine_{sort}.png", value)
        (tmp_path / "gtFine" / split / "ulm" / "ulm_1_gtFine_polygons.json").write_text("{}")
    (tmp_path / "id2label.json").write_text(json.dumps(["road", "sidewalk"]))
    assert load(tmp_path).validation[0]["labels"].unique().tolist() == [1]
    assert "only the maps that end in 'labelTrainIds' are read" in caplog.text


@pytest.mark.parametrize("above", ["", "VOCdevkit/VOC2012"])
def test_the_lists_of_pascal_voc_divide_its_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, above: str
) -> None:
    """Without them, everything is one training split, the scored images included."""
    root = tmp_path / above
    for i in range(5):
        write(root / "JPEGImages" / f"2007_{i}.jpg", 10 * i)
    for i in range(4):
        write(root / "SegmentationClass" / f"2007_{i}.png", i % 3)
        write(root / "SegmentationObject" / f"2007_{i}.png", 9)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, numbers in {"train": (0, 2), "val": (1,), "trainval": (0, 1, 2)}.items():
        (lists / f"{name}.txt").write_text("".join(f"2007_{i}\n" for i in numbers))
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    data = load(tmp_path)
    assert [row["labels"].unique().tolist() for row in data.validation] == [[1]]
    assert len(data.train) == 2
    assert "lists in ImageSets" in caplog.text
    assert "1 (" in caplog.text  # the mask of 2007_3 is in no list


def test_the_tree_of_kitti_is_refused_with_what_is_to_be_done(tmp_path: Path) -> None:
    """Its images come in another download, and its maps count 256 a metre."""
    drive = "2011_09_26_drive_0001_sync"
    write(tmp_path / "train" / drive / "proj_depth" / "groundtruth" / "image_02" / "05.png", 5000, np.uint16)
    write(tmp_path / "raw" / "2011_09_26" / drive / "image_02" / "data" / "05.png", 0)
    with pytest.raises(
        ValueError, match=r"KITTI's tree with `proj_depth`.*`depth/train`.*depth_scale 0.0039"
    ):
        load(tmp_path, "depth")


def test_ground_truth_is_depth_where_depth_is_asked_for(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split / "input" / "1.png", 10)
        write(tmp_path / split / "gt" / "1.png", 2500, np.uint16)
    assert pairs(load(tmp_path, "depth").validation) == [(10, 2.5)]


@pytest.mark.parametrize(
    ("image", "depth"),
    [("{}/bath/rgb_{:05}", "{}/bath/sync_depth_{:05}"), ("{}/{}_colors", "{}/{}_depth")],
)
def test_the_depth_of_nyu_lies_beside_its_images(tmp_path: Path, image: str, depth: str) -> None:
    for split in ("train", "val"):
        for i in (1, 2):
            write(tmp_path / f"{image.format(split, i)}.jpg", 10 * i)
            write(tmp_path / f"{depth.format(split, i)}.png", 1000 * i, np.uint16)
    assert pairs(load(tmp_path, "depth").validation) == [(10, 1), (20, 2)]


# ---- YOLO ----

LINES = {"train": "1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.5 1\n", "val": "1 0.5 0.5 0.5 0.25\n"}


def yolo(root: Path, images: str, labels: str, **names: Any) -> None:
    for split, lines in LINES.items():
        write(root / images.format(split) / "a.png", 0)
        write(root / images.format(split) / "empty.png", 0)
        path = root / labels.format(split) / "a.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines)
    for name, text in names.items():
        (root / name.replace("_", ".")).write_text(text)


@pytest.mark.parametrize(
    "names",
    [
        {"data_yaml": "names: [cat, owl]\nnc: 2\n"},
        {"data_yaml": "names:\n  0: cat\n  1: owl\n"},
        {"classes_txt": "cat\nowl\n"},
        {"id2label_json": '["cat", "owl"]'},
    ],
)
@pytest.mark.parametrize(("images", "labels"), [("images/{}", "labels/{}"), ("{}/images", "{}/labels")])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_files_of_yolo_are_read(
    tmp_path: Path, names: dict[str, str], images: str, labels: str, streaming: bool
) -> None:
    """An image without a file has no object, as in YOLO's own training."""
    yolo(tmp_path, images, labels, **names)
    data = load(tmp_path, "objects", streaming=streaming)
    assert data.id2label == {0: "cat", 1: "owl"}
    first, second = (row["labels"] for row in data.validation)
    assert first["boxes"].tolist() == [[0.5, 0.5, 0.5, 0.25]]
    assert (first["class_labels"].tolist(), second["class_labels"].tolist()) == ([1], [])
    assert len(list(data.train)) == 2


def test_a_polygon_of_yolo_is_its_box(tmp_path: Path) -> None:
    yolo(tmp_path, "images/{}", "labels/{}", data_yaml="names: [cat, owl]")
    (tmp_path / "labels" / "val" / "a.txt").write_text("0 0.25 0.5 0.75 0.25 0.5 1.0\n")
    assert load(tmp_path, "objects").validation[0]["labels"]["boxes"].tolist() == [[0.5, 0.625, 0.5, 0.75]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.5 0.5", r"class from 0 to 1.*got '2 0.5 0.5 0.5 0.5' in line 1 of labels.val.a.txt"),
        ("cat 0.5 0.5 0.5 0.5", "got 'cat 0.5"),
        ("0 0.5 0.5 0.5", "got '0 0.5 0.5 0.5'"),
        ("0 0.5 0.5 0.5 0.5 0.9", "got '0 0.5 0.5 0.5 0.5 0.9'"),
    ],
)
def test_a_line_that_is_none_of_yolos_is_named(tmp_path: Path, line: str, message: str) -> None:
    yolo(tmp_path, "images/{}", "labels/{}", data_yaml="names: [cat, owl]")
    (tmp_path / "labels" / "val" / "a.txt").write_text(line)
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "objects")


# ---- COCO ----


@pytest.mark.parametrize("place", ["result.json", "annotations/bees.json", "valley-export-7.json"])
def test_the_only_coco_file_is_found_under_any_name(tmp_path: Path, place: str) -> None:
    """Label Studio writes `result.json`; only some names were looked at."""
    write(tmp_path / "images" / "a.png", 0)
    coco(tmp_path / place, ["a.png"])
    (tmp_path / "licence.json").write_text("[1]")
    assert len(load(tmp_path, "objects", validation_split="train").validation) == 1


def test_annotations_of_pascal_voc_are_to_be_converted(tmp_path: Path) -> None:
    write(tmp_path / "JPEGImages" / "a.jpg", 0)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation/>")
    with pytest.raises(ValueError, match=r"COCO file.*text files.*convert"):
        load(tmp_path, "objects")


def test_a_picture_in_capitals_is_a_picture(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split / "images" / "A.PNG", 0)
        PIL.Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / split / "images" / "B.JPG")
        for name in "AB":
            write(tmp_path / split / "masks" / f"{name}.PNG", 0)
    (tmp_path / "id2label.json").write_text(json.dumps(["all"]))
    assert len(load(tmp_path).train) == 2
