"""Datasets load from every place users keep them, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from hf_structkd.data import loading
from hf_structkd.data.loading import check_columns, choose_splits, load_dataset_splits, read_id2label

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "camvid"


def images(count: int) -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(np.full((4, 6), value, np.uint8)) for value in range(count)]


def small_dataset(count: int = 3) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    return datasets.Dataset.from_dict({"image": images(count), "label": images(count)}, features=features)


@pytest.fixture
def parquet_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    for split, count in (("train", 3), ("validation", 2)):
        small_dataset(count).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def test_a_folder_of_parquet_files_loads(parquet_folder: Path, tmp_path: Path) -> None:
    splits = load_dataset_splits(str(parquet_folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "validation": 2}
    assert np.asarray(splits["train"][2]["label"]).max() == 2


def test_a_folder_streams(parquet_folder: Path, tmp_path: Path) -> None:
    splits = load_dataset_splits(str(parquet_folder), streaming=True, cache_dir=str(tmp_path / "cache"))
    assert isinstance(splits["train"], datasets.IterableDataset)
    assert len(list(splits["validation"])) == 2


def test_a_folder_of_images_with_masks_loads(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for split in ("train", "validation"):
        (folder / split).mkdir(parents=True)
        for index, image in enumerate(images(2)):
            image.save(folder / split / f"{index}.png")
            image.save(folder / split / f"{index}_mask.png")
        rows = [{"file_name": f"{i}.png", "label_file_name": f"{i}_mask.png"} for i in range(2)]
        (folder / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = load_dataset_splits(str(folder), cache_dir=str(tmp_path / "cache"))
    assert np.asarray(splits["validation"][1]["label"]).max() == 1


def test_a_saved_dataset_loads_and_streams(tmp_path: Path) -> None:
    """`load_dataset` on such a folder reads its Arrow files as one nameless split, without the features."""
    datasets.DatasetDict({"train": small_dataset(3), "validation": small_dataset(2)}).save_to_disk(
        tmp_path / "d"
    )
    splits = load_dataset_splits(str(tmp_path / "d"))
    assert len(splits["validation"]) == 2
    assert isinstance(splits["train"].features["label"], datasets.Image)
    streamed = load_dataset_splits(str(tmp_path / "d"), streaming=True)
    assert len(list(streamed["train"])) == 3


def test_a_single_saved_dataset_is_the_training_split(tmp_path: Path) -> None:
    small_dataset().save_to_disk(tmp_path / "d")
    assert set(load_dataset_splits(str(tmp_path / "d"))) == {"train"}


def test_splits_are_chosen_in_the_order_of_the_arguments() -> None:
    loaded = {"a": "first", "b": "second"}
    assert choose_splits(loaded, "d", train_split="b", validation_split="a") == ["second", "first"]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_split_lists_those_that_exist(
    parquet_folder: Path, tmp_path: Path, streaming: bool
) -> None:
    loaded = load_dataset_splits(str(parquet_folder), streaming=streaming, cache_dir=str(tmp_path / "cache"))
    message = r"`validation_split` must be .* got 'val'; it has: train, validation\."
    with pytest.raises(ValueError, match=message):
        choose_splits(loaded, str(parquet_folder), train_split="train", validation_split="val")


def test_a_missing_column_lists_those_that_exist() -> None:
    check_columns(small_dataset(), image_column="image", label_column="label")
    message = r"`label_column` must be .* got 'annotation'; it has: image, label\."
    with pytest.raises(ValueError, match=message):
        check_columns(small_dataset(), image_column="image", label_column="annotation")
    with pytest.raises(ValueError, match=message):
        check_columns(small_dataset().to_iterable_dataset(), label_column="annotation")


def test_a_stream_of_unknown_columns_passes() -> None:
    check_columns(datasets.IterableDataset.from_generator(lambda: iter([{"a": 1}])), image_column="image")


def test_names_come_from_the_label_feature_however_nested() -> None:
    named = datasets.ClassLabel(names=["sky", "road"])
    features = datasets.Features({"flat": named, "nested": datasets.List(datasets.List(named))})
    dataset = datasets.Dataset.from_dict({"flat": [0], "nested": [[[0, 1]]]}, features=features)
    for column in ("flat", "nested"):
        assert read_id2label(dataset, column) == {0: "sky", 1: "road"}


def test_names_come_from_the_field_that_is_named() -> None:
    """Objects have several fields, and only one of them holds classes."""
    named = datasets.List(datasets.ClassLabel(names=["sky", "road"]))
    fields = {"kind": named, "area": datasets.List(datasets.Value("int64"))}
    one = {"kind": [0], "area": [3]}
    for feature, value in ((fields, one), (datasets.List({**fields, "kind": named.feature}), None)):
        features = datasets.Features({"objects": feature})
        dataset = datasets.Dataset.from_dict({"objects": [value]}, features=features)
        assert read_id2label(dataset, "objects", label_field="kind") == {0: "sky", 1: "road"}
        assert read_id2label(dataset, "objects", label_field="area") is None
        assert read_id2label(dataset, "objects", label_field="name") is None


def test_names_come_from_the_folder_if_the_feature_has_none(tmp_path: Path) -> None:
    dataset = small_dataset()
    assert read_id2label(dataset, "label") is None
    assert read_id2label(dataset, "label", name_or_path=str(tmp_path)) is None
    (tmp_path / "id2label.json").write_text('{"1": "road", "0": "sky"}')
    names = read_id2label(dataset, "label", name_or_path=str(tmp_path))
    assert list(names.items()) == [(0, "sky"), (1, "road")]


def test_an_explicit_file_wins(tmp_path: Path) -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["a", "b"])})
    dataset = datasets.Dataset.from_dict({"label": [0]}, features=features)
    (tmp_path / "names.json").write_text('["sky", "road"]')
    assert read_id2label(dataset, "label", id2label_path=tmp_path / "names.json") == {0: "sky", 1: "road"}
    with pytest.raises(FileNotFoundError):
        read_id2label(dataset, "label", id2label_path=tmp_path / "absent.json")


@pytest.mark.parametrize(
    "content", ['{"0": "sky", "2": "road"}', '{"0": "sky", "1": "sky"}', '{"sky": 0}', "{}", "3"]
)
def test_incomplete_or_inverted_names_are_refused(tmp_path: Path, content: str) -> None:
    """With a gap, every class behind it would be reported under its neighbour's name."""
    (tmp_path / "id2label.json").write_text(content)
    with pytest.raises(ValueError, match=r"id2label\.json must map each class id, 0 to K - 1"):
        read_id2label(small_dataset(), "label", name_or_path=str(tmp_path))


def test_names_come_from_the_hub_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id2label.json").write_text('{"0": "sky"}')
    asked = []

    def download(*args: object, **kwargs: object) -> str:
        asked.append((args, kwargs))
        return str(tmp_path / "id2label.json")

    monkeypatch.setattr(loading, "hf_hub_download", download)
    names = read_id2label(small_dataset(), "label", name_or_path="user/scenes", revision="v1")
    assert names == {0: "sky"}
    expected = {"repo_type": "dataset", "revision": "v1"}
    assert asked == [(("user/scenes", "id2label.json"), expected)]


def test_a_repository_without_names_is_tolerated(monkeypatch, caplog) -> None:
    def absent(*_: object, **__: object) -> str:
        raise EntryNotFoundError("404")

    monkeypatch.setattr(loading, "hf_hub_download", absent)
    assert read_id2label(small_dataset(), "label", name_or_path="user/scenes") is None
    assert caplog.records == []


def test_an_unreachable_hub_is_tolerated_aloud(monkeypatch, caplog) -> None:
    """Silence would replace the class names by numbers without a trace."""

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(loading, "hf_hub_download", unreachable)
    assert read_id2label(small_dataset(), "label", name_or_path="user/scenes") is None
    assert "could not be asked for the class names of 'user/scenes'" in caplog.text


@pytest.mark.skipif(not REAL.is_dir(), reason="real data not found at ../shared/data/camvid")
def test_the_real_folder_loads_with_its_names(tmp_path: Path) -> None:
    splits = load_dataset_splits(str(REAL), streaming=True, cache_dir=str(tmp_path))
    assert set(next(iter(splits["train"]))) == {"image", "label"}
    assert read_id2label(splits["train"], "label", name_or_path=str(REAL))[10] == "bicyclist"
