"""A box that is written in one way and read in another is a wrong label that looks possible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import datasets
import numpy as np
import pytest
import torch

from hf_structkd.data import DenseAugmentation, ObjectBoxes, load_detection_data
from hf_structkd.data.box_conventions import BoxFormat, Written, check_format

from .reading import read_detection
from .test_detection import STILL, dataset_of, images, in_pixels

HEIGHT, WIDTH = 60, 100
FORMATS = get_args(BoxFormat)
NAMES = {0: "cat", 1: "dog", 2: "owl"}


def boxes(count: int, *, seed: int = 0, smallest: float = 0.1, largest: float = 0.5) -> np.ndarray:
    """Corners x1, y1, x2, y2 in pixels, anywhere in the image."""
    random = np.random.default_rng(seed)
    sides = random.uniform(smallest, largest, (count, 2))
    corner = random.uniform(0, 1, (count, 2)) * (1 - sides)
    return np.concatenate([corner, corner + sides], axis=1) * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def as_written(corners: np.ndarray, bbox_format: str) -> list[list[float]]:
    """Write corners box by box, without the code under test."""
    rows = []
    for x1, y1, x2, y2 in corners.tolist():
        if bbox_format.startswith("normalized"):
            x1, x2, y1, y2 = x1 / WIDTH, x2 / WIDTH, y1 / HEIGHT, y2 / HEIGHT
        kind = bbox_format.split("_")[-1]
        rows.append(
            {
                "xyxy": [x1, y1, x2, y2],
                "xywh": [x1, y1, x2 - x1, y2 - y1],
                "cxcywh": [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1],
            }[kind]
        )
    return rows


def content(
    corners: np.ndarray, bbox_format: str, categories: list[Any] | None = None
) -> dict[str, list[Any]]:
    """One image for every four boxes."""
    written = as_written(corners, bbox_format)
    parts = [slice(at, at + 4) for at in range(0, len(written), 4)]
    of = categories or [0] * len(written)
    return {
        "image": images(*[(HEIGHT, WIDTH)] * len(parts)),
        "objects": [{"bbox": written[part], "category": of[part]} for part in parts],
    }


def target(bbox_format: str, **settings: Any) -> ObjectBoxes:
    return ObjectBoxes(id2label=NAMES, bbox_format=bbox_format, **settings)


@pytest.mark.parametrize("bbox_format", FORMATS)
def test_every_format_gives_the_same_boxes(bbox_format: str) -> None:
    corners = boxes(8)
    rows = read_detection(dataset_of(content(corners, bbox_format)), target(bbox_format))
    found = torch.cat([in_pixels(row["labels"]) for row in rows])
    torch.testing.assert_close(found, torch.tensor(as_written(corners, "xywh")), atol=1e-3, rtol=0)
    assert not any(rows.reader.box_counts.values())


@pytest.mark.parametrize("read_as", FORMATS)
@pytest.mark.parametrize("written_as", FORMATS)
def test_boxes_read_in_another_format_are_refused_naming_their_own(written_as: str, read_as: str) -> None:
    """Displaced, shrunk to nothing or dropped, they would teach wrong places and say nothing."""
    rows = dataset_of(content(boxes(80), written_as))
    if written_as == read_as:
        read_detection(rows, target(read_as))
        return
    with pytest.raises(ValueError, match=r"`bbox_format` must be the format .* row ") as error:
        read_detection(rows, target(read_as))
    assert f"pass bbox_format={written_as!r}, in which 80 fit" in str(error.value)


@pytest.mark.parametrize(("written_as", "read_as"), [("normalized_cxcywh", "xywh"), ("xyxy", "xywh")])
def test_the_first_rows_of_a_stream_are_checked(written_as: str, read_as: str) -> None:
    stream = dataset_of(content(boxes(40), written_as)).to_iterable_dataset()
    rows = read_detection(stream, target(read_as))
    with pytest.raises(ValueError, match=rf"pass bbox_format=.*'{written_as}'"):
        list(rows)


def test_one_image_of_normalised_boxes_is_refused() -> None:
    """All of them are below a pixel: whatever their number, this is no noise."""
    with pytest.raises(ValueError, match=r"pass bbox_format=.*'normalized_cxcywh'"):
        read_detection(dataset_of(content(boxes(1), "normalized_cxcywh")), target("xywh"))


def test_boxes_of_images_of_another_size_are_refused() -> None:
    """No format mends them."""
    with pytest.raises(ValueError, match=r"no other format fits them, so compare .* size of their images"):
        read_detection(dataset_of(content(10 * boxes(20), "xywh")), target("xywh"))


def test_a_few_centres_read_as_corners_are_found() -> None:
    """Three of eight overhang, and as centres none does."""
    with pytest.raises(ValueError, match=r"pass bbox_format='cxcywh', in which 8 fit"):
        read_detection(dataset_of(content(boxes(8, seed=4, largest=0.9), "cxcywh")), target("xywh"))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("own", [True, False])
def test_recorded_sizes_of_originals_are_refused_where_boxes_are_those_of_the_copies(
    own: bool, streaming: bool
) -> None:
    """Scaled once more, every box would shrink into the upper left corner."""
    rows: Any = dataset_of(content((1 if own else 2) * boxes(12), "xywh"))
    for name, side in (("height", 2 * HEIGHT), ("width", 2 * WIDTH)):
        rows = rows.add_column(name, [side] * len(rows))
    rows = rows.to_iterable_dataset() if streaming else rows
    if own:
        message = r"got 120 x 200 for an image of 60 x 100 pixels in row 0.*, although all 1\d boxes"
        with pytest.raises(ValueError, match=message):
            list(read_detection(rows, target("xywh")))
    else:
        found = torch.cat([in_pixels(row["labels"]) for row in read_detection(rows, target("xywh"))])
        torch.testing.assert_close(found, torch.tensor(as_written(boxes(12), "xywh")), atol=1e-3, rtol=0)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.45])
def test_noise_is_no_other_format(share: float) -> None:
    """Real boxes end a little outside, have no area or lie elsewhere; they are clipped or dropped."""
    corners = boxes(100)
    corners[: int(share * 100) : 2, 2] = 1.2 * WIDTH
    corners[1 : int(share * 100) : 2, 3] = corners[1 : int(share * 100) : 2, 1]
    numbers = torch.tensor(as_written(corners, "xywh"), dtype=torch.float64)
    check_format(
        Written.of(numbers, (HEIGHT, WIDTH), (HEIGHT, WIDTH), "row 0"), "xywh", name="pets", complete=True
    )


def test_boxes_too_small_for_a_crop_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A crop a tenth as large shows a box of 9 x 30 pixels as 0.9 x 3: it is not trained on."""
    augmentation = DenseAugmentation((6, 10), **STILL)
    small = np.array([[10.0, 10, 19, 40], [20, 10, 50, 40]])
    rows = read_detection(dataset_of(content(small, "xywh")), target("xywh"), augmentation=augmentation)
    assert len(rows[0]["labels"]["boxes"]) == 1
    assert rows.reader.box_counts["below_pixel"] == 1
    assert "1 dropped from a training crop (a side below one pixel)" in caplog.text


# ---- ids that start at 1 ----


@pytest.mark.parametrize("unknown_categories", ["error", "drop"])
def test_ids_from_1_are_refused_with_a_question(unknown_categories: str) -> None:
    """Dropping the last class would hide that every box teaches the class after its own."""
    rows = dataset_of(content(boxes(4), "xywh", [1, 2, 1, 3]))
    with pytest.raises(ValueError, match=r"do your ids start at 1\? Then pass first_category_id=1") as error:
        read_detection(rows, target("xywh", unknown_categories=unknown_categories))
    assert "drop" not in str(error.value)


def test_ids_from_1_are_refused_in_a_stream_that_drops() -> None:
    """After twenty boxes without the first class, an id past the last is no accident."""
    stream = dataset_of(content(boxes(24), "xywh", [1, 2, 3, 1] * 6)).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"must run from 0 to 2, got 1 to 3 in .*; do your ids start at 1\?"):
        list(read_detection(stream, target("xywh", unknown_categories="drop")))


@pytest.mark.parametrize(("names", "told"), [(NAMES, True), ({**NAMES, 0: "background"}, False)])
def test_a_first_class_without_boxes_is_told(
    names: dict[int, str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the last class is missing too, ids from 1 raise no error."""
    rows = dataset_of(content(boxes(20), "xywh", [1, 2] * 10))
    read_detection(rows, ObjectBoxes(id2label=names))
    assert ("none of 20 has the category 0 ('cat'); do your ids start at 1?" in caplog.text) is told


def test_ids_from_1_are_shifted_as_asked(tmp_path: Path) -> None:
    rows = dataset_of(content(boxes(4), "normalized_xyxy", [1, 2, 1, 3]))
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path)
    (tmp_path / "id2label.json").write_text(json.dumps(list(NAMES.values())))
    data = load_detection_data(
        str(tmp_path), normalization=None, bbox_format="normalized_xyxy", first_category_id=1
    )
    assert data.validation[0]["labels"]["class_labels"].tolist() == [0, 1, 0, 2]
