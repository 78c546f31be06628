"""One call turns the name of a dataset, or none, into data that a trainer takes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from hf_structkd.data import StoredRows, StreamedRows, load_depth_data, load_segmentation_data
from hf_structkd.data.options import SCENE_SIZE
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.scenes.scenes import CLASS_NAMES, VALIDATION_OFFSET, render_scene

NAMES = ["sky", "road", "car"]
PLAIN = ImageNormalization()
LOADERS = {"label": load_segmentation_data, "depth": load_depth_data}

both_loaders = pytest.mark.parametrize("kind", LOADERS)


def png(array: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def split(
    rows: int, seed: int, *, columns: tuple[str, ...] = ("image", "label", "depth")
) -> datasets.Dataset:
    """Images, class ids below 3 and depths up to 3 m of which a quarter are holes."""
    random = np.random.default_rng(seed)
    images = [png(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for _ in range(rows)]
    labels = [png(random.integers(0, 3, (12, 16), dtype=np.uint8)) for _ in range(rows)]
    depths = [png(random.integers(0, 4, (12, 16), dtype=np.uint16) * 1000) for _ in range(rows)]
    return datasets.Dataset.from_dict(
        dict(zip(columns, (images, labels, depths), strict=True)),
        features=datasets.Features(dict.fromkeys(columns, datasets.Image())),
    )


def saved(folder: Path, *, names: bool = True, splits: tuple[str, str] = ("train", "validation")) -> str:
    """A folder as `save_to_disk` writes it, six training and three validation rows."""
    rows = datasets.DatasetDict({splits[0]: split(6, 0), splits[1]: split(3, 1)})
    rows.save_to_disk(folder)
    if names:
        (folder / "id2label.json").write_text(json.dumps(NAMES))
    return str(folder)


def load(name: str | None = None, kind: str = "label", **settings: Any) -> Any:
    return LOADERS[kind](name, **{"normalization": PLAIN, "image_size": (12, 16), **settings})


def content(row: dict[str, Tensor]) -> bytes:
    return b"".join(row[key].numpy().tobytes() for key in sorted(row))


# ---- the embedded scenes ----


@both_loaders
def test_without_a_name_the_scenes_are_rendered(kind: str) -> None:
    data = load(kind=kind, image_size=(32, 48), max_train_samples=3, max_eval_samples=2)
    assert isinstance(data.train, StoredRows)
    assert (len(data.train), len(data.validation)) == (3, 2)
    assert data.id2label == (dict(enumerate(CLASS_NAMES)) if kind == "label" else None)
    for row in (data.train[0], data.validation[0]):
        assert row["pixel_values"].shape == (3, 32, 48)
        assert row["labels"].shape == (32, 48)


def test_the_scenes_depth_is_metres() -> None:
    """Taken for metres, millimetres would put every wall kilometres away."""
    data = load(kind="depth", image_size=(32, 48), max_train_samples=1, max_eval_samples=1)
    expected = torch.from_numpy(render_scene(VALIDATION_OFFSET, height=32, width=48).depth)
    depth = data.validation[0]["labels"]
    assert depth.dtype == torch.float32
    torch.testing.assert_close(depth, expected, atol=5.1e-4, rtol=0)


@both_loaders
def test_scenes_have_a_size_and_a_number_of_their_own(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: dict[str, int] = {}

    def spy(**settings: int) -> Any:
        asked.update(settings)
        return datasets.DatasetDict({"train": split(1, 0), "validation": split(1, 1)})

    monkeypatch.setattr("hf_structkd.data._splits.load_scenes", spy)
    LOADERS[kind](normalization=PLAIN)
    assert asked == {
        "num_train": 1000,
        "num_validation": 200,
        "height": SCENE_SIZE[0],
        "width": SCENE_SIZE[1],
    }


@both_loaders
def test_scenes_can_be_streamed(kind: str) -> None:
    """The option must not crash where there is nothing to read."""
    data = load(kind=kind, image_size=(32, 32), max_train_samples=3, max_eval_samples=2, streaming=True)
    assert isinstance(data.train, StreamedRows)
    assert len(list(data.train)) == 3
    assert len(list(data.validation)) == 2


# ---- a folder ----


def test_a_saved_folder_is_read(tmp_path: Path) -> None:
    data = load(saved(tmp_path))
    assert (len(data.train), len(data.validation)) == (6, 3)
    assert data.id2label == dict(enumerate(NAMES))
    assert data.train[0]["labels"].shape == (12, 16)
    assert data.validation[0]["pixel_values"].shape == (3, 12, 16)


@both_loaders
def test_training_images_are_cropped_and_evaluation_labels_left_alone(tmp_path: Path, kind: str) -> None:
    data = load(saved(tmp_path), kind, image_size=(8, 8))
    assert data.train[0]["pixel_values"].shape == (3, 8, 8)
    assert data.train[0]["labels"].shape == (8, 8)
    assert data.validation[0]["pixel_values"].shape == (3, 8, 8)
    assert data.validation[0]["labels"].shape == (12, 16)


def test_images_are_normalised_as_asked(tmp_path: Path) -> None:
    """A student fed with other statistics than its processor's is wrong in every pipeline."""
    name = saved(tmp_path)
    normalization = ImageNormalization(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    plain = load(name).validation[0]["pixel_values"]
    normalised = load(name, normalization=normalization).validation[0]["pixel_values"]
    expected = (plain - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[
        :, None, None
    ]
    torch.testing.assert_close(normalised, expected)


@both_loaders
def test_the_seed_decides_the_augmentation(tmp_path: Path, kind: str) -> None:
    name = saved(tmp_path)
    first, again, other = (load(name, kind, seed=seed).train[0] for seed in (1, 1, 2))
    assert content(first) == content(again)
    assert content(first) != content(other)


def test_augmentation_settings_reach_the_rows(tmp_path: Path) -> None:
    """Everything off must give the file itself."""
    data = load(
        saved(tmp_path), scale=(1.0, 1.0), base_size=(12, 16), flip_probability=0.0, color_jitter=(0, 0, 0, 0)
    )
    file = np.asarray(
        PIL.Image.open(
            io.BytesIO(split(6, 0).cast_column("image", datasets.Image(decode=False))[2]["image"]["bytes"])
        )
    )
    assert torch.equal(
        (data.train[2]["pixel_values"] * 255).round(), torch.tensor(file).permute(2, 0, 1).float()
    )


def test_labels_are_reduced_and_ignored_as_asked(tmp_path: Path) -> None:
    name = saved(tmp_path)
    plain = load(name).validation[0]["labels"]
    Path(name, "id2label.json").write_text(json.dumps(NAMES[1:]))
    reduced = load(name, reduce_labels=True, ignore_index=9).validation[0]["labels"]
    assert torch.equal(reduced, torch.where(plain == 0, 9, plain - 1))


def test_depth_is_scaled_and_taken_from_the_column_as_asked(tmp_path: Path) -> None:
    rows = split(2, 0, columns=("image", "label", "far"))
    datasets.DatasetDict({"train": rows, "validation": rows}).save_to_disk(tmp_path)
    depth = load(str(tmp_path), "depth", depth_column="far", depth_scale=0.01).validation[1]["labels"]
    file = rows.cast_column("far", datasets.Image(decode=False))[1]["far"]["bytes"]
    stored = np.asarray(PIL.Image.open(io.BytesIO(file)))
    assert set(depth.unique().tolist()) == {0.0, 10.0, 20.0, 30.0}
    assert depth.numpy() == pytest.approx(stored / 100)


def test_a_depth_scale_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`depth_scale` must be positive and finite, got 0;"):
        load(saved(tmp_path), "depth", depth_scale=0)


@both_loaders
def test_validation_rows_are_never_marked(tmp_path: Path, kind: str) -> None:
    data = load(saved(tmp_path), kind)
    for row in (data.train[0], data.validation[0]):
        assert "labeled" not in row


@pytest.mark.parametrize(("train", "validation"), [(1, 2), (6, 3), (100, 100), (None, None)])
@pytest.mark.parametrize("streaming", [False, True])
@both_loaders
def test_the_first_so_many_rows_are_used(
    tmp_path: Path, kind: str, train: int | None, validation: int | None, streaming: bool
) -> None:
    data = load(
        saved(tmp_path),
        kind,
        max_train_samples=train,
        max_eval_samples=validation,
        streaming=streaming,
    )
    assert sum(1 for _ in data.train) == min(train or 6, 6)
    rows = list(data.validation)
    assert len(rows) == min(validation or 3, 3)
    assert content(rows[0]) == content(load(str(tmp_path), kind).validation[0])


@pytest.mark.parametrize("name", ["max_train_samples", "max_eval_samples", "max_unlabeled_samples"])
@pytest.mark.parametrize("value", [0, -1])
@both_loaders
def test_no_rows_are_refused(tmp_path: Path, kind: str, name: str, value: int) -> None:
    """0 must not mean all."""
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 1, got {value};"):
        load(saved(tmp_path), kind, **{name: value})
    with pytest.raises(ValueError, match=rf"`{name}` must be at least 1, got {value};"):
        load(kind=kind, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", [64]), ("scale", [0.5]), ("base_size", [1, 2, 3]), ("image_size", [])]
)
def test_pairs_must_be_pairs(tmp_path: Path, name: str, value: list[Any]) -> None:
    """`--image_size 512` is easily written and was an IndexError."""
    with pytest.raises(ValueError, match=rf"`{name}` must be two numbers, got \{value}"):
        load(saved(tmp_path), **{name: value})


# ---- streams ----


@both_loaders
def test_a_stream_gives_the_iterable_class_and_the_same_rows_in_the_same_epoch(
    tmp_path: Path, kind: str
) -> None:
    """A run that is resumed in its second epoch must see what it would have seen."""
    name = saved(tmp_path)
    runs = []
    for epoch in (0, 0, 1):
        data = load(name, kind, streaming=True, shuffle_buffer_size=4)
        assert isinstance(data.train, StreamedRows)
        assert isinstance(data.validation, StreamedRows)
        data.train.set_epoch(epoch)
        runs.append([content(row) for row in data.train])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(set(runs[0])) == 6


def test_a_stream_is_shuffled_anew_in_every_epoch(tmp_path: Path) -> None:
    """In the files' order, a batch holds the frames of one video."""
    off = {"scale": (1, 1), "base_size": (12, 16), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}
    data = load(saved(tmp_path), streaming=True, shuffle_buffer_size=6, **off)
    orders = []
    for epoch in range(3):
        data.train.set_epoch(epoch)
        orders.append([content(row) for row in data.train])
    stored = load(str(tmp_path), **off).train
    assert all(sorted(order) == sorted(content(row) for row in stored) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


# ---- class names ----


def test_names_come_from_the_file_that_is_named_then_the_folder_then_the_default(tmp_path: Path) -> None:
    """The teacher's names are a last resort: they need not be the data's."""
    folder = tmp_path / "named"
    saved(folder)
    own = tmp_path / "names.json"
    own.write_text(json.dumps({"0": "a", "1": "b", "2": "c"}))
    default = {0: "x", 1: "y", 2: "z"}
    assert load(str(folder), id2label_path=str(own), default_id2label=default).id2label[0] == "a"
    assert load(str(folder), default_id2label=default).id2label[0] == "sky"
    bare = saved(tmp_path / "bare", names=False)
    assert load(bare, default_id2label=default, labels_are_teacher_ids=True).id2label == default


def test_ids_without_names_are_not_taken_for_the_teachers(tmp_path: Path) -> None:
    """Masks of other classes would be taught as the teacher's first ones, by a match that looks right."""
    teacher = {index: name for index, name in enumerate(["sky", "building", "tree", "lake"])}
    message = (
        r"pass `id2label_path`, a JSON file of names for the values 0, 1 and 2 of its masks, or "
        r"`labels_are_teacher_ids` .* where 0 is 'sky', 1 is 'building' and 2 is 'tree'\."
    )
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path, names=False), default_id2label=teacher)


def test_data_without_class_names_are_refused(tmp_path: Path) -> None:
    """Classes are matched by name: made-up ones would match by chance."""
    name = saved(tmp_path, names=False)
    with pytest.raises(ValueError, match=rf"nothing names the classes of '{name}'; pass `id2label_path`"):
        load(name)


# ---- columns and splits ----


def test_other_columns_and_splits_can_be_named(tmp_path: Path) -> None:
    columns = ("photo", "mask", "far")
    datasets.DatasetDict(
        {"fit": split(2, 0, columns=columns), "test": split(1, 1, columns=columns)}
    ).save_to_disk(tmp_path)
    (tmp_path / "id2label.json").write_text(json.dumps(NAMES))
    shared = {"train_split": "fit", "validation_split": "test", "image_column": "photo"}
    for data in (
        load(str(tmp_path), label_column="mask", **shared),
        load(str(tmp_path), "depth", depth_column="far", **shared),
    ):
        assert (len(data.train), len(data.validation)) == (2, 1)
        assert data.train[0].keys() >= {"pixel_values", "labels"}


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("label", "image_column"),
        ("label", "label_column"),
        ("depth", "image_column"),
        ("depth", "depth_column"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, kind: str, argument: str) -> None:
    message = rf"`{argument}` must be a column of the dataset, got 'photo'; it has: image, label, depth"
    with pytest.raises(ValueError, match=message):
        load(saved(tmp_path), kind, **{argument: "photo"})


@pytest.mark.parametrize("argument", ["train_split", "validation_split"])
def test_a_missing_split_is_named_with_those_there_are(tmp_path: Path, argument: str) -> None:
    with pytest.raises(
        ValueError, match=rf"`{argument}` must be one of .*, got 'dev'; it has: train, validation\."
    ):
        load(saved(tmp_path), **{argument: "dev"})
