"""Boxes and maps stay on their objects when a photo is turned by its tag, or a resized copy is read."""

from __future__ import annotations

import io
from typing import Any

import datasets
import fsspec
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch

from hf_structkd.data import ClassMap, ObjectBoxes
from hf_structkd.data.orientation import swapped, turned_boxes, turned_map

from .reading import read_dense, read_detection
from .test_detection import FEATURES, in_pixels, one_row, png

STORED = (24, 40)
# x, y, w, h of the one white object in the stored pixels.
X, Y, W, H = 5, 3, 9, 6
SIZES = {"height": datasets.Value("int64"), "width": datasets.Value("int64")}


def painted(size: tuple[int, int] = STORED) -> np.ndarray:
    picture = np.zeros((*size, 3), np.uint8)
    picture[Y : Y + H, X : X + W] = 255
    return picture


def photo(orientation: int, size: tuple[int, int] = STORED) -> dict[str, Any]:
    """A file with a white object and the tag of a camera; PNG keeps the pixels."""
    exif, buffer = PIL.Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    PIL.Image.fromarray(painted(size)).save(buffer, "PNG", exif=exif)
    return {"bytes": buffer.getvalue(), "path": None}


def shown_object(orientation: int, size: tuple[int, int] = STORED) -> list[float]:
    """Where Pillow shows the object, x, y, w, h: found pixel by pixel."""
    with PIL.Image.open(io.BytesIO(photo(orientation, size)["bytes"])) as image:
        shown = np.array(PIL.ImageOps.exif_transpose(image))[..., 0] > 0
    ys, xs = shown.nonzero()
    return [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]


def read(
    image: dict[str, Any], box: list[float], size: tuple[int, int] | None = None, **settings: Any
) -> Any:
    content = {**one_row(box), "image": [image]}
    if size is not None:
        content |= {"height": [size[0]], "width": [size[1]]}
    features = datasets.Features({**FEATURES, **(SIZES if size else {})})
    rows = datasets.Dataset.from_dict(content, features=features)
    return read_detection(rows, ObjectBoxes(id2label={0: "cat"}, **settings))


def found(rows: Any) -> list[float]:
    return in_pixels(rows[0]["labels"])[0].tolist()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_boxes_and_maps_turn_as_pillow_turns_the_photo(orientation: int) -> None:
    corners = torch.tensor([[X, Y, X + W, Y + H]], dtype=torch.float64)
    x1, y1, x2, y2 = turned_boxes(corners, orientation, STORED)[0].tolist()
    assert [x1, y1, x2 - x1, y2 - y1] == shown_object(orientation)
    turned = turned_map(torch.from_numpy(painted()[..., 0]), orientation)
    ys, xs = turned.nonzero(as_tuple=True)
    assert (xs.min(), ys.min()) == (x1, y1)
    assert tuple(turned.shape) == swapped(STORED, orientation)


# ---- boxes ----


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("scale", [1, 2.5])
def test_boxes_written_for_the_stored_photo_are_turned(orientation: int, scale: float) -> None:
    """Tools that ignore the tag record the stored size; untouched, the boxes lie on the background."""
    size = (round(scale * STORED[0]), round(scale * STORED[1]))
    rows = read(photo(orientation), [scale * one for one in (X, Y, W, H)], size)
    assert found(rows) == pytest.approx(shown_object(orientation), abs=1e-4)
    assert rows.reader.box_counts["turned"] == 1
    assert rows.reader.box_counts["scaled"] == (scale != 1)


def test_boxes_written_for_the_shown_photo_stay() -> None:
    box = shown_object(6)
    assert found(read(photo(6), box, (40, 24))) == pytest.approx(box, abs=1e-4)


@pytest.mark.parametrize("streaming", [False, True])
def test_boxes_of_a_resized_copy_are_scaled_and_counted(
    streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Read in pixels of the copy, they lie outside it or elsewhere."""
    content = {**one_row([2 * X, 2 * Y, 2 * W, 2 * H]), "image": [photo(1)], "height": [48], "width": [80]}
    rows: Any = datasets.Dataset.from_dict(content, features=datasets.Features({**FEATURES, **SIZES}))
    rows = read_detection(rows.to_iterable_dataset() if streaming else rows, ObjectBoxes(id2label={0: "cat"}))
    (row,) = rows
    assert in_pixels(row["labels"])[0].tolist() == pytest.approx([X, Y, W, H], abs=1e-4)
    assert "1 scaled from the recorded size of their image to its own" in caplog.text


@pytest.mark.parametrize("size", [(40, 24), (40, 40), (23, 80)])
def test_a_recorded_size_of_another_shape_is_refused(size: tuple[int, int]) -> None:
    """Interchanged columns and cropped images: where the boxes belong is not known."""
    with pytest.raises(
        ValueError, match=rf"got {size[0]} x {size[1]} in row 0, column 'objects' for an image of 24 x 40"
    ):
        read(photo(1), [X, Y, W, H], size)


@pytest.mark.parametrize("missing", [(0, 0), (None, 40)])
def test_a_missing_recorded_size_is_none(missing: Any) -> None:
    assert found(read(photo(1), [X, Y, W, H], missing)) == pytest.approx([X, Y, W, H], abs=1e-4)


def test_shares_of_a_stretched_copy_stay_as_they_are() -> None:
    rows = read(photo(1), [0.25, 0.5, 0.5, 0.25], (30, 31), bbox_format="normalized_xywh")
    assert found(rows) == pytest.approx([10, 12, 20, 6], abs=1e-4)


def test_boxes_that_lie_in_one_frame_only_tell_it() -> None:
    """The stored photo is 40 wide, the shown one 24."""
    wide, tall = [20, 2, 18, 10], [2, 20, 10, 18]
    assert found(read(photo(6), tall)) == pytest.approx(tall, abs=1e-4)
    assert found(read(photo(6), wide)) == pytest.approx([24 - 12, 20, 10, 18], abs=1e-4)


@pytest.mark.parametrize(("orientation", "size"), [(6, None), (3, STORED), (2, None)])
def test_boxes_that_lie_in_both_frames_are_refused_unless_told(orientation: int, size: Any) -> None:
    image = photo(orientation)
    with pytest.raises(ValueError, match=r"row 0.* tag \d turns it, got both; pass box_frame='shown'"):
        read(image, [X, Y, W, H], size)
    shown = read(image, [X, Y, W, H], size, box_frame="shown")
    assert found(shown) == pytest.approx([X, Y, W, H], abs=1e-4)
    stored = read(image, [X, Y, W, H], size, box_frame="stored")
    assert found(stored) == pytest.approx(shown_object(orientation), abs=1e-4)


def test_a_photo_that_lies_elsewhere_is_turned_too() -> None:
    """A stream from the Hub holds addresses; read without its header, such a photo would have no tag."""
    fsspec.filesystem("memory").pipe("/photo.png", photo(6)["bytes"])
    content = {**one_row([X, Y, W, H]), "image": [{"bytes": None, "path": "memory://photo.png"}]}
    content |= {"height": [STORED[0]], "width": [STORED[1]]}
    rows = datasets.Dataset.from_dict(content, features=datasets.Features({**FEATURES, **SIZES}))
    (row,) = read_detection(rows.to_iterable_dataset(), ObjectBoxes(id2label={0: "cat"}))
    assert in_pixels(row["labels"])[0].tolist() == pytest.approx(shown_object(6), abs=1e-4)


# ---- maps ----


def read_map(image: dict[str, Any], label: np.ndarray) -> torch.Tensor:
    rows = datasets.Dataset.from_dict(
        {"image": [image], "label": [png(label)]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Image()}),
    )
    labels: torch.Tensor = read_dense(rows, ClassMap(num_labels=2))[0]["labels"]
    return labels


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_map_of_the_stored_photo_is_turned(orientation: int) -> None:
    label = (painted()[..., 0] > 0).astype(np.uint8)
    ys, xs = read_map(photo(orientation), label).nonzero(as_tuple=True)
    x, y, width, height = shown_object(orientation)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x, y, x + width, y + height)


def test_a_map_of_the_shown_photo_stays() -> None:
    label = np.zeros((40, 24), np.uint8)
    label[7, 2] = 1
    assert read_map(photo(6), label).nonzero().tolist() == [[7, 2]]


@pytest.mark.parametrize(("orientation", "size"), [(6, (24, 24)), (3, STORED), (2, STORED)])
def test_a_map_whose_size_cannot_tell_is_refused(orientation: int, size: tuple[int, int]) -> None:
    """Turned or not, it fits: half of such maps would be trained on upside down."""
    with pytest.raises(
        ValueError, match=rf"label in row 0.* no orientation tag .* with tag {orientation}; save"
    ):
        read_map(photo(orientation, size), np.zeros(size, np.uint8))
