"""Further ways to write masks, boxes and depth: each is read rightly, refused or said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from hf_structkd.data import ClassMap, DepthMap, ObjectBoxes, load_depth_data, load_detection_data
from hf_structkd.data.box_conventions import Written, check_format
from hf_structkd.matching.normalization import ImageNormalization

from .test_depth_check import ROOM, stored
from .test_depth_check import load as load_depth
from .test_label_values import load as load_masks
from .test_label_values import saved

THREE = ["sky", "cat", "dog"]
IDS = np.random.default_rng(0).integers(0, 3, (12, 16)).astype(np.uint8)


def classes(value: Any, count: int = 3) -> np.ndarray:
    return ClassMap(num_labels=count).decode(value, where="row 3").numpy()


# ---- masks ----


@pytest.mark.parametrize(
    "mask",
    [
        IDS.astype(np.float32),
        IDS[None],
        IDS[..., None].tolist(),
        PIL.Image.fromarray(IDS.astype(np.float32)),
        PIL.Image.fromarray(np.stack([IDS, np.full_like(IDS, 255)], axis=-1), "LA"),
    ],
    ids=["floats", "one channel first", "one channel last", "a file of floats", "gray with alpha"],
)
def test_ids_in_another_form_are_ids(mask: Any) -> None:
    assert (classes(mask) == IDS).all()


def test_shares_are_no_ids() -> None:
    with pytest.raises(ValueError, match=r"integer class id per pixel, got shape \(12, 16\) of float64"):
        classes(IDS / 2)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_that_is_kept_in_transparency_is_refused(mode: str) -> None:
    """Its colour is the same everywhere, so that the whole image became one class."""
    alpha = np.where(IDS > 0, 255, 0).astype(np.uint8)
    picture = np.stack([np.zeros_like(alpha)] * (len(mode) - 1) + [alpha], axis=-1)
    with pytest.raises(ValueError, match="only the transparency tells its pixels apart"):
        classes(PIL.Image.fromarray(picture, mode))


def test_palettes_that_differ_are_refused(tmp_path: Path) -> None:
    """A tool that makes files smaller numbers the colours of each file anew."""

    def mask(palette: list[int]) -> PIL.Image.Image:
        picture = PIL.Image.fromarray(IDS, "P")
        picture.putpalette(palette)
        return picture

    one, other = mask([0, 0, 0, 128, 0, 0, 0, 128, 0]), mask([0, 0, 0, 0, 128, 0, 128, 0, 0])
    assert load_masks(saved(tmp_path / "same", [one, one], THREE)).id2label[2] == "dog"
    folder = saved(tmp_path / "other", [one, other], THREE)
    with pytest.raises(ValueError, match=r"index 1 is #800000 in row 0 of 'train'.* and #008000 in row 1"):
        load_masks(folder)
    colors = load_masks(folder, label_values=["#000000", "#800000", "#008000"])
    swapped = np.array([0, 2, 1])[IDS]
    assert [row["labels"].tolist() for row in colors.train.reader and colors.validation] == [
        IDS.tolist(),
        swapped.tolist(),
    ]
    assert load_masks(folder, label_values=["0", "1", "2"]).id2label[1] == "cat"


@pytest.mark.parametrize("complete", [True, False])
def test_ids_that_start_at_1_are_asked_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, complete: bool
) -> None:
    """Where the last class never occurs, no id is out of range, and every class has its neighbour's name."""
    load_masks(saved(tmp_path, [1 + IDS % 2] * 2, THREE), streaming=not complete)
    said = "do your ids start at 1? Then pass `reduce_labels`" in caplog.text
    assert said
    caplog.clear()
    load_masks(saved(tmp_path / "right", [IDS % 2] * 2, THREE))
    assert "start at 1" not in caplog.text


def test_instances_of_cityscapes_are_known(tmp_path: Path) -> None:
    mask = np.where(IDS == 2, 26003, 7).astype(np.uint16)
    with pytest.raises(ValueError, match=r"id \* 1000 \+ number.*`labelIds`"):
        load_masks(saved(tmp_path, [mask] * 2, [f"class {i}" for i in range(34)]))


# ---- boxes ----


def corners(count: int) -> np.ndarray:
    """Shares of the image."""
    random = np.random.default_rng(0)
    sides = random.uniform(0.1, 0.5, (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * (1 - sides)
    return np.concatenate([corner, corner + sides], axis=1)


def check(numbers: np.ndarray, kind: Any, size: tuple[int, int] = (480, 640)) -> None:
    parts = [
        Written.of(torch.from_numpy(numbers[at : at + 4]), size, size, f"row {at // 4}")
        for at in range(0, len(numbers), 4)
    ]
    check_format(Written.joined(parts), kind, name="it", complete=True)


@pytest.mark.parametrize(("whole", "size"), [(100, (480, 640)), (1000, (2000, 3000))])
@pytest.mark.parametrize("kind", ["xywh", "xyxy", "cxcywh"])
def test_shares_of_100_and_of_1000_are_no_pixels(whole: int, size: tuple[int, int], kind: str) -> None:
    """All boxes were read into the upper left corner of the images, without a word."""
    boxes = corners(24)
    if kind != "xyxy":
        start = boxes[:, :2] if kind == "xywh" else (boxes[:, :2] + boxes[:, 2:]) / 2
        boxes = np.concatenate([start, boxes[:, 2:] - boxes[:, :2]], axis=1)
    with pytest.raises(
        ValueError, match=rf"shares of {whole}.*divide .* by {whole} and pass bbox_format='norm"
    ):
        check(boxes * whole, kind, size)
    check(boxes * whole, kind, (whole, whole))  # pixels of images of this size


def test_boxes_of_a_smaller_copy_are_said(caplog: pytest.LogCaptureFixture) -> None:
    check(corners(24) * [320, 240, 320, 240], "xyxy", (480, 640))
    assert "a smaller copy" in caplog.text
    caplog.clear()
    check(corners(24) * [640, 480, 640, 480], "xyxy", (480, 640))
    assert caplog.records == []


def test_axes_that_are_swapped_are_refused() -> None:
    """TensorFlow writes y first; on wide images only some of the boxes reach past the border."""
    boxes = corners(24)[:, [1, 0, 3, 2]] * [480, 640, 480, 640]
    with pytest.raises(ValueError, match="write x before y"):
        check(boxes, "xyxy")


def labels_of(categories: list[Any], **settings: Any) -> list[int]:
    target = ObjectBoxes(id2label=dict(enumerate(THREE)), **settings)
    value = {"bbox": [[1, 2, 3, 4]] * len(categories), "category": categories}
    return target.decode(value, size=(20, 20), where="row 3").objects.class_labels.tolist()


def test_categories_in_another_spelling_are_known() -> None:
    assert labels_of(["1", " Dog", "SKY", 2.0, "cat"]) == [1, 2, 0, 2, 1]
    assert labels_of(["1", "3"], first_category_id=1) == [0, 2]


@pytest.mark.parametrize("category", [True, 4, "bird", 1.5, None])
def test_what_is_no_category_is_refused(category: Any) -> None:
    """`True` was the class 1."""
    with pytest.raises(ValueError, match=rf"or class names, got {category!r}"):
        labels_of([category])


def test_names_that_differ_by_case_alone_are_told_apart() -> None:
    target = ObjectBoxes(id2label={0: "Mercury", 1: "mercury"})
    value = {"bbox": [[1, 2, 3, 4]] * 2, "category": ["mercury", "Mercury"]}
    assert target.decode(value, size=(20, 20), where="").objects.class_labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="got 'MERCURY'"):
        target.decode({"bbox": [[1, 2, 3, 4]], "category": ["MERCURY"]}, size=(20, 20), where="row 0")


def test_ids_from_1_in_strings_are_seen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do your ids start at 1"):
        labels_of(["1", "2", "3"])


# ---- depth ----


@pytest.mark.parametrize("axis", [0, 2])
def test_a_depth_map_may_have_an_axis_of_one_channel(axis: int) -> None:
    value = np.expand_dims(ROOM.astype(np.float32), axis)
    assert DepthMap().decode(value, where="").numpy() == pytest.approx(ROOM, rel=1e-6)


def test_centimetres_in_a_room_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Read as millimetres, everything in the room is within a metre."""
    load_depth(tmp_path, stored(ROOM, 100))
    assert "up to 0.98 m, with 0 % not measured, which is unusual" in caplog.text
    assert "--depth_scale 0.01 (centimetres: 5.2" in caplog.text


def test_negative_depth_is_refused(tmp_path: Path) -> None:
    """Some renderers look along the negative axis; all pixels counted as not measured."""
    with pytest.raises(ValueError, match=r"100 % of the values .* negative, .*change their sign"):
        load_depth(tmp_path, stored(-ROOM, 1, np.float32))


def test_some_negative_values_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Logarithms of depth are negative below a metre; -1 alone stands for no measurement."""
    load_depth(tmp_path / "log", stored(np.log(ROOM / 2), 1, np.float32))
    assert "logarithms" in caplog.text
    caplog.clear()
    load_depth(tmp_path / "hole", np.where(ROOM < 2, -1, ROOM).astype(np.float32))
    assert caplog.records == []


@pytest.mark.parametrize("what", ["disparity", "inverse depth"])
def test_what_is_nearest_at_the_top_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """Disparity in pixels lies in the range of metres; but the ground is nearest at the bottom."""
    ground = np.repeat(np.linspace(40, 4, 20)[:, None], 24, axis=1) + np.linspace(0, 1, 24)
    load_depth(tmp_path / "depth", stored(ground, 1, np.float32))
    assert "disparity" not in caplog.text
    kept = 700 * 0.54 / ground if what == "disparity" else 20 / ground
    load_depth(tmp_path / "inverse", stored(kept, 1, np.float32))
    assert "grow from the top to the bottom" in caplog.text


@pytest.mark.parametrize(("ending", "kept"), [(".NPY", True), (".exr", False), (".npz", False)])
def test_depth_in_files_that_are_not_read_is_named(tmp_path: Path, ending: str, kept: bool) -> None:
    for split in ("train", "val"):
        for kind in ("images", "depth"):
            (tmp_path / split / kind).mkdir(parents=True)
        PIL.Image.new("RGB", (12, 8)).save(tmp_path / split / "images" / "a.png")
        with open(tmp_path / split / "depth" / f"a{ending}", "wb") as file:
            np.save(file, ROOM.astype(np.float32))
    settings: dict[str, Any] = {"normalization": ImageNormalization(), "image_size": (8, 12)}
    if kept:
        labels = load_depth_data(str(tmp_path), **settings).validation[0]["labels"]
        assert labels.numpy() == pytest.approx(ROOM, rel=1e-6)
        return
    with pytest.raises(ValueError, match=rf"with the files \{ending} and \.png"):
        load_depth_data(str(tmp_path), **settings)


def test_a_split_of_empty_lists_beside_boxes_is_refused_with_the_reason(tmp_path: Path) -> None:
    """JSON lines with empty lists alone have no type for the boxes, which `datasets` told in 600 letters."""
    for split, boxes in (("train", [[1, 2, 3, 4]]), ("validation", [])):
        (tmp_path / split).mkdir()
        PIL.Image.new("RGB", (12, 8)).save(tmp_path / split / "a.png")
        row = {"file_name": "a.png", "objects": {"bbox": boxes, "category": [1] * len(boxes)}}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=r"the same fields in every file.*lists that are all empty"):
        load_detection_data(str(tmp_path), normalization=ImageNormalization())
