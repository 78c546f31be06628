"""Boxes go where their objects go, and those that cannot be used are told by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_structkd.data import DenseAugmentation, ObjectBoxes
from hf_structkd.data.boxes import BOX_RULES, clean_boxes, no_objects, normalized_boxes, through_crop
from hf_structkd.data.transforms import Crop

NAMES = {0: "cat", 1: "dog", 2: "owl"}
SIZE = (20, 30)
GOOD = [2.0, 3.0, 10.0, 5.0]


def boxes_of(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def crop(**changed: Any) -> Crop:
    """The whole of a 20 x 30 image, as it is."""
    settings = {
        "source": (slice(0, 20), slice(0, 30)),
        "content": SIZE,
        "corner": (0, 0),
        "size": SIZE,
        "flipped": False,
        "zoom": 1.0,
        "colors": {},
    }
    return Crop(**{**settings, **changed})


def decode(value: Any, **settings: Any) -> Any:
    return ObjectBoxes(id2label=NAMES, **settings).decode(value, size=SIZE, where="row 3, column 'objects'")


def objects(*boxes: list[Any], category: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "bbox": list(boxes),
        "category": [0] * len(boxes) if category is None else category,
        **fields,
    }


def found(value: Any, **settings: Any) -> dict[str, int]:
    """The counts that are not 0."""
    counts = zip(BOX_RULES, decode(value, **settings).counts.tolist(), strict=True)
    return {rule: count for rule, count in counts if count}


# ---- geometry ----


def extents(mask: Tensor) -> list[int]:
    """The corners around the True pixels, by looking at each of them."""
    pixels = [(x, y) for y, row in enumerate(mask.tolist()) for x, value in enumerate(row) if value]
    xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


@pytest.mark.parametrize("source", [(24, 32), (31, 17), (60, 80), (9, 7)])
def test_boxes_go_where_the_painted_boxes_go(source: tuple[int, int]) -> None:
    """The dense path is the oracle: each box is painted as a map and augmented with the same draws."""
    augment = DenseAugmentation((24, 32), scale=(0.4, 2.5), color_jitter=(0, 0, 0, 0), nothing=0)
    image, generator = torch.zeros(3, *source), torch.Generator().manual_seed(1)
    compared = 0
    for seed in range(40):
        low = torch.rand(2, generator=generator) * torch.tensor([source[1] - 1, source[0] - 1])
        room = torch.tensor([source[1], source[0]]) - low.floor()
        x1, y1 = low.floor().long().tolist()
        width, height = (1 + torch.rand(2, generator=generator) * (room - 1)).long().tolist()
        label = torch.zeros(source, dtype=torch.int64)
        label[y1 : y1 + height, x1 : x1 + width] = 1
        painted = augment(image, label, torch.Generator().manual_seed(seed))[1] == 1
        drawn = augment.draw(source, torch.Generator().manual_seed(seed))
        box = boxes_of([x1, y1, x1 + width, y1 + height])
        moved, kept, _ = through_crop(box, drawn, min_visibility=0.0)
        if not kept:
            assert min(painted.any(dim=0).sum(), painted.any(dim=1).sum()) <= 1
            continue
        assert extents(painted) == pytest.approx(moved[0].tolist(), abs=1)
        compared += 1
    assert compared > 15


def test_the_share_that_is_seen_is_that_of_the_painted_box() -> None:
    """Counted in the crop before it was enlarged, or after it was padded, it would be another."""
    augment = DenseAugmentation((64, 64), scale=(1.0, 3.0), color_jitter=(0, 0, 0, 0), nothing=0)
    label = torch.zeros(64, 64, dtype=torch.int64)
    label[10:40, 20:50] = 1
    box, seen = boxes_of([20, 10, 50, 40]), []
    for seed in range(60):
        painted = augment(torch.zeros(3, 64, 64), label, torch.Generator().manual_seed(seed))[1] == 1
        drawn = augment.draw((64, 64), torch.Generator().manual_seed(seed))
        rows, columns = drawn.source
        enlarged = 64 * 64 / ((rows.stop - rows.start) * (columns.stop - columns.start))
        share = float(painted.sum()) / (900 * enlarged)
        if abs(share - 0.5) < 0.05:
            continue
        kept = bool(through_crop(box, drawn, min_visibility=0.5)[1])
        assert kept is (share > 0.5)
        seen.append(kept)
    assert {True, False} == set(seen)


def test_a_box_is_cut_enlarged_flipped_and_placed() -> None:
    """By hand: columns 10 to 20 and rows 5 to 15, twice as large, flipped, on a canvas with a margin."""
    drawn = crop(
        source=(slice(5, 15), slice(10, 20)), content=(20, 20), corner=(3, 4), size=(30, 30), flipped=True
    )
    moved, kept, _ = through_crop(boxes_of([12, 6, 16, 10], [8, 5, 11, 10]), drawn, min_visibility=0.0)
    assert moved.tolist() == [[12.0, 5.0, 20.0, 13.0], [22.0, 3.0, 24.0, 13.0]]
    assert kept.tolist() == [True, True]


@pytest.mark.parametrize(("smallest", "kept"), [(0.3, True), (0.34, False), (0.0, True), (1.0, False)])
def test_a_box_needs_a_share_of_its_area(smallest: float, kept: bool) -> None:
    """A third of this box is seen."""
    drawn = crop(source=(slice(0, 20), slice(10, 30)), content=(20, 20))
    assert bool(through_crop(boxes_of([4, 0, 13, 10]), drawn, min_visibility=smallest)[1]) is kept


@pytest.mark.parametrize(
    ("box", "kept"), [([0, 0, 4, 4], True), ([0, 0, 4, 3.9], False), ([0, 0, 3.9, 9], False)]
)
def test_a_box_needs_a_pixel_of_the_result(box: list[float], kept: bool) -> None:
    """Four source pixels are one: less has no feature of its own, and a logarithm of its side is far off."""
    drawn = crop(source=(slice(0, 20), slice(0, 32)), content=(5, 8))
    assert bool(through_crop(boxes_of(box), drawn, min_visibility=0.0)[1]) is kept


def test_boxes_beyond_the_crop_are_dropped_whatever_the_share() -> None:
    drawn = crop(source=(slice(0, 10), slice(0, 10)), content=(10, 10), size=(10, 10))
    beyond = boxes_of([10, 0, 15, 5], [12, 12, 15, 15])
    assert not through_crop(beyond, drawn, min_visibility=0.0)[1].any()


def test_flipping_twice_changes_nothing() -> None:
    boxes = boxes_of([1, 2, 9, 8], [0, 0, 30, 20])
    once = through_crop(boxes, crop(flipped=True), min_visibility=0.3)[0]
    assert not torch.equal(once, boxes)
    assert torch.equal(through_crop(once, crop(flipped=True), min_visibility=0.3)[0], boxes)


def test_normalised_boxes_are_centres_and_sizes_of_the_canvas() -> None:
    normalised = normalized_boxes(boxes_of([0, 0, 30, 20], [3, 4, 9, 6]), SIZE)
    assert normalised.dtype == torch.float32
    expected = torch.tensor([[0.5, 0.5, 1, 1], [0.2, 0.25, 0.2, 0.1]])
    torch.testing.assert_close(normalised, expected)


def test_nothing_goes_through_everything() -> None:
    none = no_objects()
    moved, kept, _ = through_crop(none.boxes, crop(), min_visibility=0.3)
    assert (moved.shape, kept.shape) == ((0, 4), (0,))
    assert none.where(kept).labels(SIZE)["boxes"].shape == (0, 4)
    assert clean_boxes(none.boxes, SIZE)[0].shape == (0, 4)


# ---- cleaning ----


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ([-2, 3, 10, 5], "clipped"),
        ([25, 3, 10, 5], "clipped"),
        ([2, 18, 10, 5], "clipped"),
        ([-5, -5, 90, 90], "clipped"),
        ([30, 3, 10, 5], "outside"),
        ([-10, 3, 10, 5], "outside"),
        ([2, -9, 10, 5], "outside"),
        ([2, 3, 0, 5], "no_area"),
        ([2, 3, 10, 0], "no_area"),
        ([2, 3, -4, 5], "no_area"),
        ([2, 3, -4, -5], "no_area"),
        ([40, 3, 0, 5], "no_area"),
        ([math.nan, 3, 10, 5], "not_finite"),
        ([2, 3, math.inf, 5], "not_finite"),
        ([-math.inf, 3, 10, 5], "not_finite"),
        ([2, 3, 10, None], "not_finite"),
        (GOOD, None),
        ([0, 0, 30, 20], None),
    ],
)
def test_each_box_falls_under_one_rule(box: list[Any], rule: str | None) -> None:
    """A NaN in one box makes the loss of the whole batch NaN; a side of 0 makes its GIoU undefined."""
    assert found(objects(box)) == ({} if rule is None else {rule: 1})
    kept = decode(objects(box, GOOD, category=[1, 2])).objects
    assert kept.class_labels.tolist() == ([1, 2] if rule in (None, "clipped") else [2])
    assert kept.boxes[-1].tolist() == [2, 3, 12, 8]


def test_clipped_boxes_end_at_the_image() -> None:
    value = objects([-2, 3, 10, 5], [25, 18, 10, 5])
    assert decode(value).objects.boxes.tolist() == [[0, 3, 8, 8], [25, 18, 30, 20]]


def test_rounding_is_clipped_but_not_counted() -> None:
    """Written with two decimals or as float32, many good boxes end a hair outside."""
    value = objects([2, 3, 28.00001, 17.009])
    assert found(value) == {}
    assert decode(value).objects.boxes.tolist() == [[2, 3, 30, 20]]


def test_every_box_is_counted() -> None:
    value = objects([-1, 3, 9, 9], [-1, 3, 9, 9], [2, 3, 0, 1], [90, 3, 1, 1], [math.nan] * 4, GOOD)
    assert found(value) == {"not_finite": 1, "no_area": 1, "outside": 1, "clipped": 2}


def test_corners_are_read_as_corners() -> None:
    """Taken for a size, a second corner makes every box too large, and most of them still look possible."""
    value = objects([2, 3, 12, 8], [12, 3, 2, 8])
    cleaned = decode(value, bbox_format="xyxy")
    assert cleaned.objects.boxes.tolist() == [[2, 3, 12, 8]]
    assert found(value, bbox_format="xyxy") == {"no_area": 1}


def test_categories_are_ids_or_names() -> None:
    value = objects(GOOD, GOOD, GOOD, category=[2, "cat", "owl"])
    assert decode(value).objects.class_labels.tolist() == [2, 0, 2]


@pytest.mark.parametrize("category", [4, -1, "horse", "0.0", None])
def test_an_unknown_category_names_value_row_and_what_to_do(category: Any) -> None:
    message = (
        r"The categories in row 3, column 'objects' must be ids in \[0, 3\) or class names, got "
        rf"{category!r}; correct the class names \(`id2label_path`\), or pass unknown_categories='drop'"
    )
    with pytest.raises(ValueError, match=message):
        decode(objects(GOOD, GOOD, category=[1, category]))


def test_an_id_past_the_last_class_asks_whether_ids_start_at_1() -> None:
    """Dropped, the last class vanishes and every other box teaches the class after its own."""
    with pytest.raises(
        ValueError, match=r"got 3; do your ids start at 1\? Then pass first_category_id=1"
    ) as error:
        decode(objects(GOOD, GOOD, category=[1, 3]))
    assert "drop" not in str(error.value)
    value = objects(GOOD, GOOD, GOOD, category=[1, 3, "cat"])
    assert decode(value, first_category_id=1).objects.class_labels.tolist() == [0, 2, 0]


def test_unknown_categories_are_dropped_and_counted_as_asked() -> None:
    """A box that is also outside counts once."""
    value = objects(GOOD, GOOD, [90, 3, 1, 1], category=[1, 9, "bat"])
    cleaned = decode(value, unknown_categories="drop")
    assert cleaned.objects.class_labels.tolist() == [1]
    assert cleaned.unknown == [9, "bat"]
    assert found(value, unknown_categories="drop") == {"unknown_category": 2}


@pytest.mark.parametrize("field", ["iscrowd", "is_crowd"])
def test_crowds_stay_with_their_boxes(field: str) -> None:
    value = objects([2, 3, 0, 1], GOOD, GOOD, **{field: [1, 0, 1]})
    assert decode(value).objects.crowd.tolist() == [False, True]
    assert decode(objects(GOOD)).objects.crowd.tolist() == [False]


@pytest.mark.parametrize(
    "value", [None, [], objects(), {"bbox": None, "category": None}, objects(**{"iscrowd": None})]
)
def test_no_objects_are_no_error(value: Any) -> None:
    kept = decode(value).objects
    assert (kept.boxes.shape, kept.class_labels.shape, kept.crowd.shape) == ((0, 4), (0,), (0,))


def test_a_list_of_objects_is_read_as_one_of_fields() -> None:
    """`datasets` delivers either, by the version that wrote the data."""
    listed = [
        {"bbox": GOOD, "category": 1, "iscrowd": 1},
        {"bbox": [0, 0, 1, 1], "category": 2, "iscrowd": 0},
    ]
    kept = decode(listed).objects
    assert kept.boxes.tolist() == [[2, 3, 12, 8], [0, 0, 1, 1]]
    assert (kept.class_labels.tolist(), kept.crowd.tolist()) == ([1, 2], [True, False])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"polygon": [GOOD], "category": [1]},
            r"in row 3, column 'objects' must have the field 'bbox' \(or .*\), got: polygon, category",
        ),
        ([{"bbox": GOOD, "kind": 1}], r"must have the field 'category' \(or .*\), got: bbox, kind"),
        (objects([1, 2, 3]), r"A box in row 3, column 'objects' must be four numbers, got \[1, 2, 3\]"),
        (objects(GOOD, category=[1, 2]), r"must be of one length, got {'bbox': 1, 'category': 2}"),
        (objects(GOOD, iscrowd=[]), r"must be of one length, got {'bbox': 1, 'category': 1, 'iscrowd': 0}"),
    ],
)
def test_objects_that_cannot_be_read_are_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bbox_format": "yxyx"}, "`bbox_format` must be one of xywh, xyxy, cxcywh, normalized_xywh, "),
        ({"unknown_categories": "skip"}, "`unknown_categories` must be one of error, drop, got 'skip'"),
        ({"min_visibility": 1.1}, r"`min_visibility` must lie in \[0, 1\], got 1.1"),
        ({"min_visibility": math.nan}, r"`min_visibility` must lie in \[0, 1\], got nan"),
    ],
)
def test_settings_outside_their_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectBoxes(id2label=NAMES, **settings)
