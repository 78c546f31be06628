"""Images and boxes reach the model as meant, and boxes can always be found again in the original image."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hf_structkd.data import (
    BadImageError,
    ClassMap,
    DenseAugmentation,
    MixedDataset,
    MixedIterableDataset,
    ObjectBoxes,
    StoredRows,
    StreamedRows,
    collate_detection,
)
from hf_structkd.data.loading import load_dataset_splits, read_id2label

from .reading import read_dense, read_detection

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "cards"
NAMES = {0: "cat", 1: "dog", 2: "owl"}
TARGET = ObjectBoxes(id2label=NAMES)
SIZE = (12, 16)
BAD = {"bytes": b"damaged", "path": None}
OBJECTS = {
    "bbox": datasets.List(datasets.List(datasets.Value("float32"))),
    "category": datasets.List(datasets.Value("int64")),
}
FEATURES = datasets.Features({"image": datasets.Image(), "objects": OBJECTS})


def png(array: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def images(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [png(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def rows(count: int = 6, size: tuple[int, int] = SIZE) -> dict[str, list[Any]]:
    """The last row is without objects, row i of the others has i % 3 + 1 of them, all within the image."""
    random = np.random.default_rng(1)
    objects = []
    for index in range(count):
        number = 0 if index == count - 1 else index % 3 + 1
        corner, extent = random.integers(0, 6, (number, 2)), random.integers(3, 7, (number, 2))
        objects.append(
            {
                "bbox": np.concatenate([corner, extent], axis=1).tolist(),
                "category": random.integers(0, 3, number).tolist(),
            }
        )
    return {"image": images(*[size] * count), "objects": objects}


def one_row(*boxes: list[float], **fields: list[Any]) -> dict[str, list[Any]]:
    objects = {"bbox": list(boxes), "category": [0] * len(boxes), **fields}
    return {"image": images(SIZE), "objects": [objects]}


def dataset_of(content: dict[str, list[Any]] | None, features: Any = FEATURES) -> datasets.Dataset:
    return datasets.Dataset.from_dict(content or rows(), features=features)


def stored(content: dict[str, list[Any]] | None = None, **settings: Any) -> StoredRows:
    return read_detection(dataset_of(content), **{"target": TARGET, **settings})


def streamed(
    content: dict[str, list[Any]] | None = None, *, shards: int = 2, **settings: Any
) -> StreamedRows:
    stream = dataset_of(content).to_iterable_dataset(num_shards=shards)
    return read_detection(stream, **{"target": TARGET, **settings})


def training(**settings: Any) -> dict[str, Any]:
    return {"augmentation": DenseAugmentation(SIZE, **settings), "seed": 7}


STILL = {"scale": (1, 1), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}


def flat(row: dict[str, Any]) -> dict[str, Tensor]:
    """All tensors of a row in one dict."""
    return {key: value for key, value in row.items() if key != "labels"} | row["labels"]


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    first, second = flat(first), flat(second)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def content_of(row: dict[str, Any]) -> bytes:
    return b"".join(value.numpy().tobytes() for _, value in sorted(flat(row).items()))


def in_pixels(labels: dict[str, Tensor]) -> Tensor:
    """x, y, w, h in pixels of the original image."""
    height, width = labels["canvas_size"].tolist()
    boxes = labels["boxes"] * torch.tensor([width, height, width, height])
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], dim=1)


# ---- rows ----


def test_training_rows_are_what_models_take() -> None:
    row = stored(**training())[1]
    assert row.keys() == {"pixel_values", "pixel_mask", "labels"}
    assert (row["pixel_values"].shape, row["pixel_values"].dtype) == ((3, *SIZE), torch.float32)
    assert (row["pixel_mask"].shape, row["pixel_mask"].dtype) == (SIZE, torch.bool)
    labels = row["labels"]
    assert labels.keys() == {"class_labels", "boxes"}
    assert (labels["class_labels"].dtype, labels["boxes"].dtype) == (torch.int64, torch.float32)
    assert labels["boxes"].shape == (len(labels["class_labels"]), 4)


def test_evaluation_rows_hold_every_box_and_what_it_takes_to_score_them() -> None:
    content = rows()
    dataset = stored(content, size=(24, 48))
    for index in range(6):
        row, objects = dataset[index], content["objects"][index]
        assert row.keys() == {"pixel_values", "labels"}
        assert row["pixel_values"].shape == (3, 24, 48)
        labels = row["labels"]
        assert labels["canvas_size"].tolist() == [12, 16]
        assert labels["canvas_size"].dtype == torch.float32
        assert labels["class_labels"].tolist() == objects["category"]
        assert (labels["crowd"].dtype, labels["crowd"].any().item()) == (torch.bool, False)
        torch.testing.assert_close(in_pixels(labels), torch.tensor(objects["bbox"]).view(-1, 4).float())


def test_rows_get_the_same_crop_as_those_of_dense_tasks() -> None:
    """The painted boxes are the oracle: one draw decides image, mask and target, whatever the task."""
    shape = (40, 60)
    content, labels, random = {"image": images(*[shape] * 12), "objects": []}, [], np.random.default_rng(2)
    for _ in range(12):
        y, x = random.integers(0, 20), random.integers(0, 30)
        height, width = random.integers(8, 20), random.integers(8, 30)
        content["objects"].append({"bbox": [[x, y, width, height]], "category": [1]})
        label = np.zeros(shape, np.uint8)
        label[y : y + height, x : x + width] = 1
        labels.append(png(label))
    augmentation = DenseAugmentation((24, 32), color_jitter=(0.3, 0.3, 0.3, 0.05), nothing=0)
    target = ObjectBoxes(id2label=NAMES, min_visibility=0.0)
    detection = read_detection(dataset_of(content), target, augmentation=augmentation, seed=3)
    painted = datasets.Dataset.from_dict(
        {"image": content["image"], "label": labels},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.Image()}),
    )
    dense = read_dense(painted, ClassMap(num_labels=2, ignore_index=0), augmentation=augmentation, seed=3)
    compared = 0
    for index in range(12):
        row, oracle = detection[index], dense[index]
        assert torch.equal(row["pixel_values"], oracle["pixel_values"])
        assert torch.equal(row["pixel_mask"], oracle["pixel_mask"])
        for cx, cy, w, h in row["labels"]["boxes"].tolist():
            ys, xs = (oracle["labels"] == 1).nonzero(as_tuple=True)
            seen = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
            ours = [32 * (cx - w / 2), 24 * (cy - h / 2), 32 * (cx + w / 2), 24 * (cy + h / 2)]
            assert seen == pytest.approx(ours, abs=1)
            compared += 1
    assert compared >= 8


def test_training_boxes_lie_on_the_image_part_of_the_canvas() -> None:
    """A box on the padding teaches that gray is an object."""
    dataset = stored(**training(scale=(0.5, 2.0)))
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for row in dataset:
            ys, xs = row["pixel_mask"].nonzero(as_tuple=True)
            for cx, cy, w, h in row["labels"]["boxes"].double().tolist():
                assert xs.min() <= 16 * (cx - w / 2) + 1e-4
                assert 16 * (cx + w / 2) <= xs.max() + 1 + 1e-4
                assert ys.min() <= 12 * (cy - h / 2) + 1e-4
                assert 12 * (cy + h / 2) <= ys.max() + 1 + 1e-4


def test_images_without_objects_are_rows_like_others() -> None:
    """They tell what is no object; left out, a detector sees some everywhere."""
    for settings in (training(), {"size": SIZE}):
        labels = stored(**settings)[5]["labels"]
        assert (labels["boxes"].shape, labels["boxes"].dtype) == ((0, 4), torch.float32)
        assert (labels["class_labels"].shape, labels["class_labels"].dtype) == ((0,), torch.int64)


def test_a_crop_that_shows_no_box_is_a_row_with_none() -> None:
    dataset = stored(one_row([5, 4, 6, 4]), **training(scale=(3, 3)))
    numbers = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        numbers.append(len(dataset[0]["labels"]["boxes"]))
    assert set(numbers) == {0, 1}


def test_min_visibility_reaches_the_rows() -> None:
    """Every crop shows half of this box at least, and few show all of it."""
    augmentation = DenseAugmentation((12, 8), **STILL)
    box = one_row([4, 0, 8, 12])
    for smallest, numbers in ((0.0, {1}), (0.95, {0, 1})):
        target = ObjectBoxes(id2label=NAMES, min_visibility=smallest)
        dataset = stored(box, target=target, augmentation=augmentation)
        found = set()
        for epoch in range(30):
            dataset.set_epoch(epoch)
            found.add(len(dataset[0]["labels"]["boxes"]))
        assert found == numbers


@pytest.mark.parametrize("field", ["iscrowd", "is_crowd"])
def test_crowds_are_scored_but_not_trained_on(field: str) -> None:
    """One box around many objects, trained on as one object, teaches a size that no object has."""
    content = one_row([1, 1, 5, 5], [6, 6, 5, 5], **{field: [1, 0]})
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "objects": {**OBJECTS, field: datasets.List(datasets.Value("int64"))},
        }
    )
    dataset = dataset_of(content, features)
    assert read_detection(dataset, TARGET)[0]["labels"]["crowd"].tolist() == [True, False]
    labels = read_detection(dataset, TARGET, **training(**STILL))[0]["labels"]
    torch.testing.assert_close(labels["boxes"], torch.tensor([[8.5 / 16, 8.5 / 12, 5 / 16, 5 / 12]]))


# ---- the same sample, whatever the loader ----


def test_seed_epoch_and_index_decide_the_sample() -> None:
    first, second = stored(**training()), stored(**training())
    other_seed = stored(**{**training(), "seed": 8})
    in_order = [first[i] for i in range(6)]
    torch.rand(17)
    assert all(same(second[i], in_order[i]) for i in (4, 0, 5, 1, 3, 2))
    assert not any(same(other_seed[i], in_order[i]) for i in range(6))
    first.set_epoch(1)
    assert not any(same(first[i], in_order[i]) for i in range(6))
    first.set_epoch(0)
    assert all(same(first[i], in_order[i]) for i in range(6))


def test_batches_are_bit_identical_with_and_without_workers() -> None:
    """`persistent_workers` keep a copy of the dataset: an epoch it does not see repeats the same crops."""
    dataset, alone = stored(**training()), stored(**training())
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, persistent_workers=True, collate_fn=collate_detection
    )
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        alone.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch["labels"]) for batch in batches] == [4, 2]
        for key in ("pixel_values", "pixel_mask"):
            together = torch.cat([batch[key] for batch in batches])
            assert torch.equal(together, torch.stack([alone[i][key] for i in range(6)]))
        labels = [one for batch in batches for one in batch["labels"]]
        assert all(
            torch.equal(labels[i][key], alone[i]["labels"][key])
            for i in range(6)
            for key in ("class_labels", "boxes")
        )


@pytest.mark.parametrize("fit", [{}, {"keep_aspect_ratio": True}])
def test_streamed_rows_equal_stored_rows(fit: dict[str, Any]) -> None:
    first, second = streamed(size=(24, 24), **fit), stored(size=(24, 24), **fit)
    assert {content_of(row) for row in first} == {content_of(row) for row in second}


def test_streamed_samples_do_not_depend_on_order_or_workers() -> None:
    expected = {content_of(row) for row in streamed(**training())}
    assert len(expected) == 6
    loader = DataLoader(streamed(**training()), batch_size=None, num_workers=2)
    assert sorted(content_of(row) for row in loader) == sorted(expected)
    shuffled = dataset_of(None).to_iterable_dataset(num_shards=2).shuffle(seed=3, buffer_size=4)
    stream = read_detection(shuffled, TARGET, **training())
    assert {content_of(row) for row in stream} == expected
    stream.set_epoch(1)
    assert not {content_of(row) for row in stream} & expected


# ---- cleaning ----

SPOILT = [
    [[-2, 1, 5, 5], [14, 1, 5, 5], [1, 1, 5, 0]],
    [[20, 1, 5, 5], [float("nan"), 1, 5, 5], [1, 1, 5, 5], [1, 1, 4, 4]],
]
SPOILT_CATEGORIES = [[0, 1, 2], [0, 1, 2, 9]]
SPOILT_COUNTS = {"unknown_category": 1, "not_finite": 1, "no_area": 1, "outside": 1, "clipped": 2}
SPOILT_COUNTS |= dict.fromkeys(("below_pixel", "scaled", "turned"), 0)
DROPPING = ObjectBoxes(id2label=NAMES, unknown_categories="drop")


def spoilt() -> dict[str, list[Any]]:
    objects = [
        {"bbox": boxes, "category": categories}
        for boxes, categories in zip(SPOILT, SPOILT_CATEGORIES, strict=True)
    ]
    return {"image": images(SIZE, SIZE), "objects": objects}


def test_a_stored_dataset_counts_its_boxes_once_and_tells_once(caplog: pytest.LogCaptureFixture) -> None:
    """Boxes that vanish unseen are found out by a score that is too low."""
    dataset = dataset_of(spoilt())
    dataset.info.dataset_name = "pets"
    cleaned = read_detection(dataset, DROPPING)
    assert cleaned.reader.box_counts == SPOILT_COUNTS
    assert [record.getMessage() for record in caplog.records] == [
        "pets, boxes: 1 dropped (unknown category 9), 1 dropped (not finite), 1 dropped (no area), "
        "1 dropped (outside the image), 2 clipped to the image."
    ]
    for _ in range(2):
        assert [len(row["labels"]["boxes"]) for row in cleaned] == [2, 1]
    assert cleaned.reader.box_counts == SPOILT_COUNTS
    assert len(caplog.records) == 1


def test_good_boxes_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert not any(stored().reader.box_counts.values())
    assert not caplog.records


def test_a_stream_counts_as_it_goes_and_tells_at_the_first_box_of_a_rule(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = streamed(spoilt(), target=DROPPING, shards=1)
    assert not any(stream.reader.box_counts.values())
    list(stream)
    assert stream.reader.box_counts == SPOILT_COUNTS
    assert [record.getMessage() for record in caplog.records] == [
        "dataset, boxes in row 0, column 'objects': 1 dropped (no area), 2 clipped to the image; further "
        "ones are only counted.",
        "dataset, boxes in row 1, column 'objects': 1 dropped (unknown category 9), 1 dropped (not finite), "
        "1 dropped (outside the image); further ones are only counted.",
    ]
    list(DataLoader(stream, batch_size=None, num_workers=0))
    assert stream.reader.box_counts == {rule: 2 * count for rule, count in SPOILT_COUNTS.items()}
    assert len(caplog.records) == 2


def test_boxes_cleaned_in_workers_are_counted_here() -> None:
    stream = streamed(spoilt(), target=DROPPING)
    list(DataLoader(stream, batch_size=None, num_workers=2))
    assert stream.reader.box_counts == SPOILT_COUNTS


@pytest.mark.parametrize("measured", [{"height": [12], "width": [16]}, {}], ids=str)
def test_boxes_are_counted_for_the_image(measured: dict[str, list[int]]) -> None:
    content = {**one_row([14, 1, 5, 5]), **measured}
    features = datasets.Features({**FEATURES, **dict.fromkeys(measured, datasets.Value("int64"))})
    dataset = read_detection(dataset_of(content, features), TARGET)
    assert dataset.reader.box_counts["clipped"] == 1
    assert in_pixels(dataset[0]["labels"])[0].tolist() == pytest.approx([14, 1, 2, 5])


def test_an_unknown_category_stops_before_training() -> None:
    with pytest.raises(ValueError, match=r"The categories in row 1, column 'objects' must be .*, got 9;"):
        stored(spoilt())
    with pytest.raises(ValueError, match=r"The categories in row 1, column 'objects' must be .*, got 9;"):
        list(streamed(spoilt(), shards=1))


def test_names_are_read_as_categories() -> None:
    content = one_row([1, 1, 5, 5])
    content["objects"][0]["category"] = ["owl"]
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "objects": {**OBJECTS, "category": datasets.List(datasets.Value("string"))},
        }
    )
    labels = read_detection(dataset_of(content, features), TARGET)[0]["labels"]
    assert labels["class_labels"].tolist() == [2]


# ---- bad images ----


def with_bad(*bad: int) -> dict[str, list[Any]]:
    content = rows()
    for index in bad:
        content["image"][index] = BAD
    return content


@pytest.mark.parametrize("make", [stored, streamed])
def test_a_damaged_file_names_row_and_column(make: Any) -> None:
    settings = {"shards": 1} if make is streamed else {}
    with pytest.raises(BadImageError, match="row 2, column 'image' cannot be decoded"):
        list(make(with_bad(2), **settings))


def test_damaged_rows_are_replaced_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    whole, dataset = stored(), stored(with_bad(2, 3), skip_bad_images=True)
    assert not caplog.records
    assert [same(dataset[i], whole[j]) for i, j in ((0, 0), (2, 4), (3, 4), (5, 5))] == [True] * 4
    assert dataset.skipped == 2
    stream = streamed(with_bad(2, 3), skip_bad_images=True)
    assert len(list(stream)) == 4
    assert stream.skipped == 2


def test_a_dataset_without_a_good_row_names_its_columns() -> None:
    message = "At least one of the 6 rows .* check `image_column`='image' and `objects_column`='objects'"
    with pytest.raises(BadImageError, match=message):
        stored(with_bad(*range(6)), skip_bad_images=True)[0]


# ---- batches ----


def test_batches_stack_images_and_list_labels() -> None:
    dataset = stored(**training())
    batch = collate_detection([dataset[i] for i in range(6)])
    assert batch.keys() == {"pixel_values", "pixel_mask", "labels"}
    assert batch["pixel_values"].shape == (6, 3, *SIZE)
    assert batch["pixel_mask"].shape == (6, *SIZE)
    for labels, index in zip(batch["labels"], range(6), strict=True):
        assert same({"labels": labels}, {"labels": dataset[index]["labels"]})
    assert "pixel_mask" not in collate_detection([stored(size=(20, 20))[0]])


def test_a_batch_without_any_box_is_a_batch() -> None:
    batch = collate_detection([stored(size=SIZE)[5]] * 2)
    assert [labels["boxes"].shape for labels in batch["labels"]] == [(0, 4)] * 2


SIZES = [(12, 16), (30, 20), (9, 27)]
BOXES = [[1, 2, 9, 8], [5, 10, 15, 20], [0, 0, 27, 9]]


def kept_aspect(size: tuple[int, int] = (48, 80)) -> StoredRows:
    objects = [{"bbox": [box], "category": [0]} for box in BOXES]
    return stored({"image": images(*SIZES), "objects": objects}, size=size, keep_aspect_ratio=True)


def test_kept_aspects_fit_into_the_size() -> None:
    """As large as possible, so that small objects keep their pixels."""
    shapes = [tuple(row["pixel_values"].shape[1:]) for row in kept_aspect()]
    assert shapes == [(48, 64), (48, 32), (27, 80)]
    assert all(row["pixel_mask"].all() for row in kept_aspect())
    assert [tuple(row["pixel_mask"].shape) for row in kept_aspect((1, 1))] == [(1, 1)] * 3


def test_batches_of_kept_aspects_are_padded_to_few_sizes() -> None:
    """Each new shape costs a new plan on an accelerator."""
    dataset = kept_aspect()
    for indices, shape in (((0, 1, 2), (64, 96)), ((0, 1), (64, 64)), ((1,), (64, 32)), ((2,), (32, 96))):
        batch = collate_detection([dataset[i] for i in indices])
        assert batch["pixel_values"].shape == (len(indices), 3, *shape)
        for image, mask, index in zip(batch["pixel_values"], batch["pixel_mask"], indices, strict=True):
            height, width = dataset[index]["pixel_mask"].shape
            assert torch.equal(image[:, :height, :width], dataset[index]["pixel_values"])
            assert mask[:height, :width].all()
            assert mask.sum() == height * width
            assert (image[:, ~mask] == 0).all()


def test_padded_boxes_are_found_in_the_original_image() -> None:
    """Scored in pixels of the padded canvas, the same model would score lower in mixed batches."""
    dataset = kept_aspect()
    batch = collate_detection([dataset[i] for i in range(3)])
    for labels, box in zip(batch["labels"], BOXES, strict=True):
        assert labels.keys() == {"class_labels", "boxes", "canvas_size", "crowd"}
        assert in_pixels(labels)[0].tolist() == pytest.approx(box, abs=1e-4)
    padded = batch["labels"][2]  # 27 of 64 rows and 80 of 96 columns are the image
    assert padded["canvas_size"].tolist() == pytest.approx([9 * 64 / 27, 27 * 96 / 80])
    assert padded["boxes"][0].tolist() == pytest.approx([40 / 96, 13.5 / 64, 80 / 96, 27 / 64])


def test_collating_leaves_the_rows_as_they_were() -> None:
    row = kept_aspect()[2]
    collate_detection([row])
    assert same(row, kept_aspect()[2])


def test_a_batch_of_differing_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have one size, got \[\(10, 10\), \(12, 16\)\]"):
        collate_detection([stored()[0], stored(rows(2, size=(10, 10)))[0]])


# ---- with unlabelled images ----


def test_unlabelled_rows_have_no_objects_and_say_so() -> None:
    """A damaged column of objects beside the images is never read, and the labelled rows stay as they are."""
    pictures = {"image": images((9, 9), (9, 9)), "objects": spoilt()["objects"]}
    settings = training()
    unlabelled = stored(pictures, labeled=False, **settings)
    assert not any(unlabelled.reader.box_counts.values())
    mix = MixedDataset(stored(labeled=True, **settings), unlabelled)
    alone = stored(**settings)
    batch = collate_detection([mix[i] for i in range(8)])
    assert batch["labeled"].tolist() == [True] * 6 + [False] * 2
    assert all(torch.equal(batch["labels"][i]["boxes"], alone[i]["labels"]["boxes"]) for i in range(6))
    assert [batch["labels"][i]["boxes"].shape for i in (6, 7)] == [(0, 4)] * 2
    assert [batch["labels"][i]["class_labels"].shape for i in (6, 7)] == [(0,)] * 2


def test_streams_of_both_kinds_take_turns() -> None:
    settings = training()
    mix = MixedIterableDataset(
        streamed(labeled=True, shards=1, **settings), streamed(labeled=False, shards=1, **settings)
    )
    delivered = list(mix)
    assert [bool(row["labeled"]) for row in delivered] == [True, False] * 6
    assert not any(len(row["labels"]["boxes"]) for row in delivered[1::2])


# ---- settings ----


@pytest.mark.parametrize("make", [stored, streamed])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 8)}, "`size` must be height and width"),
        ({"image_column": "photo"}, "`image_column` must be a column of the dataset, got 'photo'"),
        (
            {"target": ObjectBoxes(id2label=NAMES, column="things")},
            "`objects_column` must be a column of the dataset, got 'things'; it has: image, objects",
        ),
        ({**training(), "size": (6, 8)}, r"`size` must be the augmentation's \(12, 16\) or left out"),
        ({"keep_aspect_ratio": True}, "`keep_aspect_ratio` needs a `size` .* got size=None and no augm"),
        (
            {**training(), "size": SIZE, "keep_aspect_ratio": True},
            r"`keep_aspect_ratio` needs .* no augmentation, got size=\(12, 16\) and an augm",
        ),
    ],
)
def test_settings_that_contradict_are_named(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.skipif(not REAL.is_dir(), reason="real data not found at ../shared/data/cards")
def test_real_rows_load_and_augment(tmp_path: Path) -> None:
    split = load_dataset_splits(str(REAL), streaming=True, cache_dir=str(tmp_path))["train"]
    names = read_id2label(split, "objects", label_field="category", name_or_path=str(REAL))
    stream = read_detection(
        split.take(3), ObjectBoxes(id2label=names), augmentation=DenseAugmentation((128, 160))
    )
    batch = collate_detection(list(stream))
    assert batch["pixel_values"].shape == (3, 3, 128, 160)
    assert {int(label) for labels in batch["labels"] for label in labels["class_labels"]} <= set(names)
    assert not any(stream.reader.box_counts.values())
