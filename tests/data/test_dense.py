"""Rows reach the model as meant: same sample whatever the loader, and nothing bad passes unseen."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
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
    DepthMap,
    StoredRows,
    StreamedRows,
    collate_dense,
)
from hf_structkd.data.loading import load_dataset_splits

from .reading import read_dense

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "camvid"
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.Image(), "note": datasets.Value("string")}
)
K = 5
BAD = b"damaged"
TARGETS = {"classes": ClassMap(num_labels=K), "depth": DepthMap(column="label", depth_scale=0.01)}

both_targets = pytest.mark.parametrize("kind", TARGETS)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int = 6, size: tuple[int, int] = (12, 16), kind: str = "classes") -> dict[str, list[Any]]:
    """Ids below K, or depths of which a fifth are holes."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]
    labels = [random.integers(0, K, size, dtype=np.uint8) for _ in range(count)]
    if kind == "depth":
        labels = [label.astype(np.uint16) * 300 for label in labels]
    return {
        "image": [{"bytes": png(image), "path": None} for image in images],
        "label": [{"bytes": png(label), "path": None} for label in labels],
        "note": [str(i) for i in range(count)],
    }


def stored(content: dict[str, list[Any]] | None = None, kind: str = "classes", **settings: Any) -> StoredRows:
    dataset = datasets.Dataset.from_dict(content or rows(kind=kind), features=FEATURES)
    return read_dense(dataset, **{"target": TARGETS[kind], **settings})


def streamed(
    content: dict[str, list[Any]] | None = None, kind: str = "classes", *, shards: int = 2, **settings: Any
) -> StreamedRows:
    dataset = datasets.Dataset.from_dict(content or rows(kind=kind), features=FEATURES)
    stream = dataset.to_iterable_dataset(num_shards=shards)
    return read_dense(stream, **{"target": TARGETS[kind], **settings})


def training(kind: str = "classes") -> dict[str, Any]:
    return {"augmentation": DenseAugmentation((12, 16), nothing=TARGETS[kind].nothing), "seed": 7}


def with_bad(*bad: int, column: str = "image", kind: str = "classes") -> dict[str, list[Any]]:
    content = rows(kind=kind)
    for index in bad:
        content[column][index] = {"bytes": BAD, "path": None}
    return content


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def as_set(delivered: Iterable[dict[str, Tensor]]) -> set[bytes]:
    return {row["pixel_values"].numpy().tobytes() + row["labels"].numpy().tobytes() for row in delivered}


class Halved:
    """A normalisation that is easy to undo."""

    def normalize(self, images: Tensor) -> Tensor:
        assert images.dim() == 4
        return (images - 0.5) / 0.5


@both_targets
def test_evaluation_resizes_the_image_and_leaves_the_label(kind: str) -> None:
    """Scores at a resized label hide thin objects and compare with no published number."""
    row = stored(kind=kind, size=(6, 8))[0]
    assert row.keys() == {"pixel_values", "labels"}
    assert row["pixel_values"].shape == (3, 6, 8)
    assert row["pixel_values"].dtype == torch.float32
    assert row["labels"].shape == (12, 16)
    assert row["labels"].dtype == (torch.int64 if kind == "classes" else torch.float32)


@both_targets
def test_without_a_size_rows_are_the_files(kind: str) -> None:
    content = rows(kind=kind)
    row = stored(content, kind)[2]
    if kind == "depth":
        row["labels"] = (row["labels"] * 100).round()
    for key, column in (("pixel_values", "image"), ("labels", "label")):
        file = np.array(PIL.Image.open(io.BytesIO(content[column][2]["bytes"])))
        seen = (row[key] * 255).round().permute(1, 2, 0) if key == "pixel_values" else row[key]
        assert np.array_equal(seen.numpy(), file)


def test_images_are_normalised_last() -> None:
    """Normalised before the colours change, values would be clamped to [0, 1]."""
    plain, normalised = stored(**training()), stored(**training(), normalization=Halved())
    for index in range(3):
        expected = plain[index]["pixel_values"] * 2 - 1
        assert torch.allclose(normalised[index]["pixel_values"], expected, atol=1e-6)


@pytest.mark.parametrize(("scale", "present"), [((0.5, 2.0), True), ((1.0, 2.0), False)])
@both_targets
def test_a_dataset_has_the_mask_in_every_row_or_in_none(
    kind: str, scale: tuple[float, float], present: bool
) -> None:
    """Rows with and without it cannot be stacked: training would stop at a random step."""
    nothing = TARGETS[kind].nothing
    dataset = stored(kind=kind, augmentation=DenseAugmentation((12, 16), scale=scale, nothing=nothing))
    for epoch in range(5):
        dataset.set_epoch(epoch)
        assert all(("pixel_mask" in dataset[i]) is present for i in range(6))


def test_padding_is_false_in_the_mask_and_ignored_in_the_labels() -> None:
    augmentation = DenseAugmentation((12, 16), scale=(0.5, 0.5), nothing=200)
    row = stored(augmentation=augmentation, target=ClassMap(num_labels=K, ignore_index=200))[0]
    assert row["pixel_mask"].dtype == torch.bool
    assert row["pixel_mask"].sum() == 6 * 8
    assert torch.equal(row["labels"] == 200, ~row["pixel_mask"])


def test_depth_rows_are_zoomed_and_padded_with_nothing() -> None:
    """The zoom rule must reach the rows, not only the augmentation."""
    augmentation = DenseAugmentation((12, 16), scale=(0.5, 0.5), nothing=0)
    row = stored(kind="depth", augmentation=augmentation)[0]
    assert row["labels"].dtype == torch.float32
    assert (row["labels"][~row["pixel_mask"]] == 0).all()
    assert set(row["labels"].unique().tolist()) == {0.0, 6.0, 12.0, 18.0, 24.0}  # 3 to 12 m, half as large


@both_targets
def test_seed_epoch_and_index_decide_the_sample(kind: str) -> None:
    """Resuming, another batch size, or adding a teacher must not change what the student sees."""
    first, second, other_seed = (
        stored(kind=kind, **training(kind)),
        stored(kind=kind, **training(kind)),
        stored(kind=kind, **{**training(kind), "seed": 8}),
    )
    in_order = [first[i] for i in range(6)]
    torch.rand(17)
    assert all(same(second[i], in_order[i]) for i in (4, 0, 5, 1, 3, 2))
    assert not any(same(other_seed[i], in_order[i]) for i in range(6))
    first.set_epoch(1)
    assert not any(same(first[i], in_order[i]) for i in range(6))
    first.set_epoch(0)
    assert all(same(first[i], in_order[i]) for i in range(6))


def test_equal_images_at_two_indices_are_augmented_differently() -> None:
    content = rows()
    content["image"][1], content["label"][1] = content["image"][0], content["label"][0]
    dataset = stored(content, **training())
    assert not same(dataset[0], dataset[1])


def test_the_global_random_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    stored(**training())[0]
    assert torch.equal(torch.get_rng_state(), state)


@both_targets
def test_batches_are_bit_identical_with_and_without_workers(kind: str) -> None:
    """`persistent_workers` keep a copy of the dataset: an epoch it does not see repeats the same crops."""
    dataset, alone = stored(kind=kind, **training(kind)), stored(kind=kind, **training(kind))
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, persistent_workers=True, collate_fn=collate_dense
    )
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        alone.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch["labels"]) for batch in batches] == [4, 2]
        for key in ("pixel_values", "labels", "pixel_mask"):
            together = torch.cat([batch[key] for batch in batches])
            assert torch.equal(together, torch.stack([alone[i][key] for i in range(6)]))


def test_indices_behave_as_in_a_list() -> None:
    dataset = stored()
    assert same(dataset[-1], dataset[5])
    assert len(list(dataset)) == len(dataset) == 6
    for index in (6, -7):
        with pytest.raises(IndexError, match=rf"`index` must lie in \[-6, 6\), got {index}"):
            dataset[index]


def test_reduced_labels_match_the_image_processors() -> None:
    """0 becomes ignored, ignored stays: wrapped around as bytes, class 1 would become class 255."""
    content = rows(1, size=(1, 4))
    content["label"][0]["bytes"] = png(np.array([[0, 1, K, 255]], np.uint8))
    assert stored(content, target=ClassMap(num_labels=K, reduce_labels=True))[0]["labels"].tolist() == [
        [255, 0, K - 1, 255]
    ]


@pytest.mark.parametrize("make", [stored, streamed])
@pytest.mark.parametrize(("value", "reduce"), [(K, False), (254, False), (K + 1, True)])
def test_a_label_outside_the_classes_names_value_and_row(make, value: int, reduce: bool) -> None:
    """On a GPU such a label is an assertion in a kernel that names nothing."""
    content = rows(2)
    label = np.ones((12, 16), np.uint8)
    label[3, 4] = value
    content["label"][1]["bytes"] = png(label)
    expected = rf"in \[0, {K}\) or be ignore_index=255, got {value - reduce} in row 1, column 'label'"
    target = ClassMap(num_labels=K, reduce_labels=reduce)
    with pytest.raises(ValueError, match=expected):
        list(make(content, target=target, **({"shards": 1} if make is streamed else {})))


def test_negative_labels_are_named() -> None:
    arrays = {"image": rows(1)["image"], "label": [np.full((12, 16), -1).tolist()]}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.List(datasets.List(datasets.Value("int32")))}
    )
    dataset = datasets.Dataset.from_dict(arrays, features=features)
    with pytest.raises(ValueError, match="got -1 in row 0"):
        read_dense(dataset, ClassMap(num_labels=K))[0]
    ignoring = read_dense(dataset, ClassMap(num_labels=K, ignore_index=-1))
    assert (ignoring[0]["labels"] == -1).all()


@both_targets
def test_image_and_label_of_different_sizes_name_the_row(kind: str) -> None:
    """Resized to fit, a label of another image would go unnoticed."""
    content = rows(2, kind=kind)
    name = "label" if kind == "classes" else "depth"
    content["label"][1]["bytes"] = png(np.zeros((12, 15), np.uint8))
    with pytest.raises(ValueError, match=rf"^Image and {name} .*\(12, 16\) and \(12, 15\) .* in row 1"):
        stored(content, kind)[1]


@pytest.mark.parametrize("make", [stored, streamed])
@pytest.mark.parametrize("column", ["image", "label"])
@both_targets
def test_a_damaged_file_names_row_and_column(make, column: str, kind: str) -> None:
    settings = {"shards": 1} if make is streamed else {}
    with pytest.raises(BadImageError, match=f"row 2, column '{column}' cannot be decoded"):
        list(make(with_bad(2, column=column, kind=kind), kind, **settings))


@both_targets
def test_damaged_rows_are_replaced_counted_and_logged_once(caplog, kind: str) -> None:
    """A replacement that depended on luck would make two runs with one seed differ."""
    caplog.set_level(logging.WARNING)
    bad = with_bad(2, 3, 5, kind=kind)
    clean = stored(kind=kind, **training(kind))
    dataset = stored(bad, kind, **training(kind), skip_bad_images=True)
    assert dataset.skipped == 0
    plain = stored(bad, kind, skip_bad_images=True)
    whole = stored(kind=kind)
    assert [same(plain[i], whole[j]) for i, j in ((0, 0), (2, 4), (3, 4), (5, 0))] == [True] * 4
    caplog.clear()
    for _ in range(2):
        delivered = [dataset[i] for i in range(6)]
    assert dataset.skipped == 3
    assert sorted(record.args[0] for record in caplog.records) == [2, 3, 5]
    assert all(same(delivered[i], clean[i]) for i in (0, 1, 4))
    assert not same(delivered[2], delivered[3])  # the same picture, but augmented as rows 2 and 3


def test_rows_skipped_in_workers_are_counted_here() -> None:
    dataset = stored(with_bad(1, 4), skip_bad_images=True)
    assert len(list(DataLoader(dataset, batch_size=None, num_workers=2))) == 6
    assert dataset.skipped == 2


@both_targets
def test_a_dataset_without_a_good_row_is_refused(kind: str) -> None:
    """Searching for a replacement must end."""
    name = "label_column" if kind == "classes" else "depth_column"
    message = f"At least one of the 6 rows must be .* none; check `image_column`='image' and `{name}`='label'"
    with pytest.raises(BadImageError, match=message):
        stored(with_bad(*range(6), kind=kind), kind, skip_bad_images=True)[0]


def test_a_wrong_label_is_never_skipped() -> None:
    """It is a wrong setting, not a damaged file: skipping would drop most of the dataset."""
    with pytest.raises(ValueError, match="got 4 in row"):
        list(stored(target=ClassMap(num_labels=4), skip_bad_images=True))


def test_columns_can_have_other_names_and_others_are_not_read() -> None:
    content = {**rows(), "extra": [{"bytes": BAD, "path": None}] * 6}
    features = datasets.Features({**FEATURES, "extra": datasets.Image()})
    dataset = datasets.Dataset.from_dict(content, features=features)
    renamed = dataset.rename_columns({"image": "photo", "label": "mask"}).with_format("numpy")
    target = ClassMap(num_labels=K, column="mask")
    assert same(read_dense(renamed, target, image_column="photo")[3], stored()[3])


@pytest.mark.parametrize("shape", ["torch", "transform"])
def test_rows_are_read_as_stored_whatever_format_was_set(shape: str) -> None:
    """A transform left over from another model would be applied on top of ours, or instead of it."""
    dataset = datasets.Dataset.from_dict(rows(), features=FEATURES)
    formatted = (
        dataset.with_format("torch")
        if shape == "torch"
        else dataset.with_transform(lambda batch: {key: [None] * len(batch[key]) for key in batch})
    )
    assert same(read_dense(formatted, ClassMap(num_labels=K))[3], stored()[3])


@both_targets
def test_streamed_rows_equal_stored_rows(kind: str) -> None:
    assert as_set(streamed(kind=kind, size=(6, 8))) == as_set(stored(kind=kind, size=(6, 8)))


@both_targets
def test_streamed_samples_do_not_depend_on_order_or_workers(kind: str) -> None:
    """The same image must get the same crop however the stream is shared out, and each exactly once."""
    expected = as_set(streamed(kind=kind, **training(kind)))
    assert len(expected) == 6
    loader = DataLoader(streamed(kind=kind, **training(kind)), batch_size=None, num_workers=2)
    delivered = list(loader)
    assert len(delivered) == 6
    assert as_set(delivered) == expected
    dataset = datasets.Dataset.from_dict(rows(kind=kind), features=FEATURES)
    shuffled = dataset.to_iterable_dataset(num_shards=2).shuffle(seed=3, buffer_size=4)
    stream = read_dense(shuffled, TARGETS[kind], **training(kind))
    first = list(stream)
    assert as_set(first) == expected
    stream.set_epoch(1)
    second = list(stream)
    assert not as_set(second) & expected
    stream.set_epoch(0)
    assert all(same(a, b) for a, b in zip(first, stream, strict=True))


def test_the_streams_shuffling_follows_the_epoch() -> None:
    dataset = datasets.Dataset.from_dict(rows(), features=FEATURES)
    shuffled = dataset.to_iterable_dataset().shuffle(seed=3, buffer_size=6)
    stream = read_dense(shuffled, ClassMap(num_labels=K))
    orders = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        orders.append([float(row["pixel_values"].sum()) for row in stream])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_streamed_damaged_rows_are_left_out_and_counted(caplog) -> None:
    stream = streamed(with_bad(1, 4), skip_bad_images=True)
    assert len(list(stream)) == 4
    assert stream.skipped == 2
    assert len(caplog.records) == 2
    assert len(list(DataLoader(stream, batch_size=None, num_workers=2))) == 4
    assert stream.skipped == 4


def test_streams_of_decoded_images_and_arrays_have_an_identity_too() -> None:
    """A stream without declared features delivers what its generator makes."""
    random = np.random.default_rng(0)
    image, label = random.integers(0, 256, (12, 16, 3), np.uint8), random.integers(0, K, (12, 16), np.uint8)
    rows_of_kinds = [
        {"image": PIL.Image.fromarray(image), "label": label},
        {"image": image, "label": label},
        {"image": image.tolist(), "label": label.tolist()},
    ]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows_of_kinds))
    stream = read_dense(stream, ClassMap(num_labels=K), **training())
    first = list(stream)
    assert len(first) == 3
    assert all(same(a, b) for a, b in zip(first, stream, strict=True))


@both_targets
def test_batches_stack_or_list_the_labels(kind: str) -> None:
    equal = collate_dense([stored(kind=kind, size=(6, 8))[i] for i in range(3)])
    assert equal["pixel_values"].shape == (3, 3, 6, 8)
    assert equal["labels"].shape == (3, 12, 16)
    assert "pixel_mask" not in equal
    assert "labeled" not in equal
    other = stored(rows(2, size=(10, 10), kind=kind), kind, size=(6, 8))[0]
    mixed = collate_dense([stored(kind=kind, size=(6, 8))[0], other])
    assert [tuple(label.shape) for label in mixed["labels"]] == [(12, 16), (10, 10)]
    masked = collate_dense([stored(kind=kind, **training(kind))[i] for i in range(2)])
    assert masked["pixel_mask"].shape == (2, 12, 16)


def test_a_batch_of_differing_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have one size, got \[\(10, 10\), \(12, 16\)\]"):
        collate_dense([stored()[0], stored(rows(2, size=(10, 10)))[0]])


@pytest.mark.parametrize("make", [stored, streamed])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (0, 8)}, "`size` must be height and width"),
        ({"image_column": "photo"}, "`image_column` must be a column of the dataset, got 'photo'"),
        (
            {"target": ClassMap(num_labels=K, column="mask")},
            "`label_column` must be a column of the dataset, got 'mask'",
        ),
        (
            {"target": DepthMap(column="far")},
            "`depth_column` must be a column of the dataset, got 'far'",
        ),
        (
            {"augmentation": DenseAugmentation((12, 16)), "size": (6, 8)},
            r"`size` must be the augmentation's \(12, 16\) or left out, got \(6, 8\)",
        ),
        (
            {"augmentation": DenseAugmentation((12, 16)), "target": TARGETS["depth"]},
            r"The augmentation's `nothing` must be the target's 0\.0, got 255;",
        ),
    ],
)
def test_settings_that_contradict_are_named(make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.skipif(not REAL.is_dir(), reason="real data not found at ../shared/data/camvid")
def test_real_rows_load_and_augment(tmp_path: Path) -> None:
    split = load_dataset_splits(str(REAL), streaming=True, cache_dir=str(tmp_path))["train"]
    augmentation = DenseAugmentation((180, 240), base_size=(360, 480))
    stream = read_dense(split.take(3), ClassMap(num_labels=11), augmentation=augmentation)
    batch = collate_dense(list(stream))
    assert batch["pixel_values"].shape == (3, 3, 180, 240)
    assert set(batch["labels"].unique().tolist()) <= {*range(11), 255}
