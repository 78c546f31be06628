"""Unlabelled images join the training data, and what is labelled stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
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
    collate_dense,
)
from hf_structkd.scenes.scenes import render_scenes

from .reading import read_dense
from .test_loaders import both_loaders, load, saved, split

BAD = {"bytes": b"damaged", "path": None}
NOTHING = {"label": 255, "depth": 0.0}
Row = dict[str, Tensor]


def pictures(folder: Path, count: int = 4, *, bad: tuple[int, ...] = (), column: str = "image") -> str:
    """A folder of images beside which every label is damaged."""
    rows = split(count, 5).select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
    images = [BAD if i in bad else row["image"] for i, row in enumerate(rows)]
    content = {column: images, "label": [BAD] * count, "depth": [BAD] * count}
    features = datasets.Features(dict.fromkeys(content, datasets.Image()))
    datasets.Dataset.from_dict(content, features=features).save_to_disk(folder)
    return str(folder)


def mixed(
    tmp_path: Path, kind: str = "label", *, count: int = 4, bad: tuple[int, ...] = (), **settings: Any
) -> Any:
    name = pictures(tmp_path / "pictures", count, bad=bad)
    return load(saved(tmp_path / "labelled"), kind, unlabeled_dataset_name=name, **settings).train


def same(first: Row, second: Row) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def content(row: Row) -> bytes:
    return b"".join(row[key].numpy().tobytes() for key in sorted(row))


def without_mark(row: Row) -> Row:
    assert row["labeled"].item() is True
    return {key: value for key, value in row.items() if key != "labeled"}


# ---- stored ----


@both_loaders
def test_labelled_rows_are_what_they_are_alone(tmp_path: Path, kind: str) -> None:
    """Else a run with more images would also be a run with other crops."""
    mix = mixed(tmp_path, kind)
    alone = load(str(tmp_path / "labelled"), kind).train
    assert isinstance(mix, MixedDataset)
    assert (len(alone), len(mix)) == (6, 10)
    for epoch in (0, 3):
        mix.set_epoch(epoch)
        alone.set_epoch(epoch)
        assert all(same(without_mark(mix[i]), alone[i]) for i in range(6))


@both_loaders
def test_unlabelled_rows_hold_nothing_and_say_so(tmp_path: Path, kind: str) -> None:
    """A damaged label column beside the images is never read."""
    mix = mixed(tmp_path, kind)
    for index in range(6, 10):
        row = mix[index]
        assert row.keys() == mix[0].keys() == {"pixel_values", "labels", "pixel_mask", "labeled"}
        assert row["labeled"].dtype == torch.bool
        assert row["labeled"].shape == ()
        assert not row["labeled"]
        assert (row["labels"] == NOTHING[kind]).all()
        for key in ("labels", "pixel_values", "pixel_mask"):
            assert row[key].shape == mix[0][key].shape
            assert row[key].dtype == mix[0][key].dtype


@both_loaders
def test_a_mixed_batch_tells_its_rows_apart(tmp_path: Path, kind: str) -> None:
    mix = mixed(tmp_path, kind)
    batch = next(iter(DataLoader(mix, batch_size=10, collate_fn=collate_dense)))
    assert batch["labeled"].dtype == torch.bool
    assert batch["labeled"].tolist() == [True] * 6 + [False] * 4


def test_indices_run_through_both_parts(tmp_path: Path) -> None:
    mix = mixed(tmp_path)
    assert same(mix[-1], mix[9])
    assert same(mix[-10], mix[0])
    assert len(list(mix)) == 10
    for index in (10, -11):
        with pytest.raises(IndexError, match=rf"`index` must lie in \[-10, 10\), got {index}"):
            mix[index]


def test_the_epoch_reaches_both_parts(tmp_path: Path) -> None:
    """Unlabelled images cropped alike in every epoch are fewer than they seem."""
    mix = mixed(tmp_path)
    first = [mix[i] for i in range(10)]
    mix.set_epoch(1)
    assert not any(same(mix[i], first[i]) for i in range(10))
    mix.set_epoch(0)
    assert all(same(mix[i], first[i]) for i in range(10))


def test_an_unlabelled_row_is_not_augmented_as_the_labelled_row_of_its_index(tmp_path: Path) -> None:
    name = saved(tmp_path / "both")
    mix = load(name, unlabeled_dataset_name=name).train
    pairs = [(mix[i]["pixel_values"], mix[6 + i]["pixel_values"]) for i in range(6)]
    assert not any(torch.equal(first, second) for first, second in pairs)


def test_workers_see_the_epoch_and_report_what_they_skip(tmp_path: Path) -> None:
    mix = mixed(tmp_path, bad=(1,), skip_bad_images=True)
    mix.set_epoch(2)
    delivered = list(DataLoader(mix, batch_size=None, num_workers=2))
    assert mix.skipped == 1
    assert all(same(row, mix[i]) for i, row in enumerate(delivered))


def test_a_damaged_unlabelled_image_is_named_as_such(tmp_path: Path) -> None:
    mix = mixed(tmp_path, bad=(1,))
    with pytest.raises(
        BadImageError, match="The image in unlabelled row 1, column 'image' cannot be decoded"
    ):
        list(mix)


def test_an_unlabelled_part_without_a_good_image_names_its_one_column(tmp_path: Path) -> None:
    mix = mixed(tmp_path, bad=(0, 1, 2, 3), skip_bad_images=True)
    with pytest.raises(
        BadImageError, match=r"At least one of the 4 rows .*; check `image_column`='image'\.$"
    ):
        mix[6]


# ---- streamed ----


@both_loaders
def test_a_stream_takes_turns_for_as_long_as_there_are_labelled_rows(tmp_path: Path, kind: str) -> None:
    """4 unlabelled images beside 6 labelled ones: the first two come again."""
    mix = mixed(tmp_path, kind, streaming=True)
    assert isinstance(mix, MixedIterableDataset)
    delivered = list(mix)
    assert [bool(row["labeled"]) for row in delivered] == [True, False] * 6
    unlabelled = delivered[1::2]
    assert all((row["labels"] == NOTHING[kind]).all() for row in unlabelled)
    assert len({content(row) for row in unlabelled}) == 4
    assert all(same(a, b) for a, b in zip(unlabelled[:2], unlabelled[4:], strict=True))
    assert collate_dense(delivered)["labeled"].tolist() == [True, False] * 6


def test_a_longer_unlabelled_stream_ends_with_the_labelled_one(tmp_path: Path) -> None:
    delivered = list(mixed(tmp_path, count=9, streaming=True))
    assert len(delivered) == 12
    assert len({content(row) for row in delivered[1::2]}) == 6


@both_loaders
def test_labelled_rows_of_a_mixed_stream_are_what_they_are_alone(tmp_path: Path, kind: str) -> None:
    mix = mixed(tmp_path, kind, streaming=True)
    alone = load(str(tmp_path / "labelled"), kind, streaming=True).train
    for epoch in (0, 2):
        mix.set_epoch(epoch)
        alone.set_epoch(epoch)
        labelled = [without_mark(row) for row in mix if row["labeled"]]
        assert all(same(a, b) for a, b in zip(labelled, alone, strict=True))


def test_a_mixed_stream_repeats_itself_in_the_same_epoch_only(tmp_path: Path) -> None:
    mix = mixed(tmp_path, streaming=True)
    runs = []
    for epoch in (0, 1, 0):
        mix.set_epoch(epoch)
        runs.append([content(row) for row in mix])
    assert runs[0] == runs[2]
    assert not set(runs[0]) & set(runs[1])


def test_damaged_unlabelled_images_of_a_stream_are_left_out(tmp_path: Path) -> None:
    """One of four is bad: three good ones come twice, and the bad one is met at most twice."""
    mix = mixed(tmp_path, bad=(1,), streaming=True, skip_bad_images=True)
    delivered = list(mix)
    assert len(delivered) == 12
    assert len({content(row) for row in delivered[1::2]}) == 3
    assert mix.skipped in (1, 2)
    pictures_name = str(tmp_path / "pictures")
    strict = load(str(tmp_path / "labelled"), unlabeled_dataset_name=pictures_name, streaming=True).train
    with pytest.raises(BadImageError, match=r"unlabelled row \d, column 'image' cannot be decoded"):
        list(strict)


def test_a_stream_without_a_good_unlabelled_image_ends(tmp_path: Path) -> None:
    """Starting again for ever would hang the training."""
    mix = mixed(tmp_path, bad=(0, 1, 2, 3), streaming=True, skip_bad_images=True)
    assert [bool(row["labeled"]) for row in mix] == [True] * 6
    assert mix.skipped == 4


def test_a_worker_without_a_share_of_the_unlabelled_stream_still_delivers() -> None:
    """Waiting for an image that never comes would hang the training."""
    target = ClassMap(num_labels=3)
    labelled, pictures = split(6, 0), split(4, 5)
    mix = MixedIterableDataset(
        read_dense(labelled.to_iterable_dataset(num_shards=2), target, labeled=True),
        read_dense(pictures.to_iterable_dataset(num_shards=1), target, labeled=False),
    )
    delivered = list(DataLoader(mix, batch_size=None, num_workers=2))
    assert [bool(row["labeled"]) for row in delivered].count(True) == 6
    assert [bool(row["labeled"]) for row in delivered].count(False) == 3


# ---- the loaders ----


def test_unlabelled_splits_columns_and_numbers_can_be_named(tmp_path: Path) -> None:
    rows = split(5, 5).select_columns(["image"]).rename_column("image", "photo")
    datasets.DatasetDict({"extra": rows, "train": rows.select([0])}).save_to_disk(tmp_path / "pictures")
    settings = {"unlabeled_dataset_name": str(tmp_path / "pictures"), "unlabeled_split": "extra"}
    name = saved(tmp_path / "labelled")
    data = load(name, **settings, unlabeled_image_column="photo", max_unlabeled_samples=3)
    assert (len(data.train), len(data.validation)) == (9, 3)
    assert "labeled" not in data.validation[0]
    message = r"`unlabeled_image_column` must be a column of the dataset, got 'image'; it has: photo\."
    with pytest.raises(ValueError, match=message):
        load(name, **settings)
    with pytest.raises(
        ValueError, match=r"`unlabeled_split` must be one of .* got 'dev'; it has: extra, train"
    ):
        load(name, **{**settings, "unlabeled_split": "dev"})


@pytest.mark.parametrize("streaming", [False, True])
@both_loaders
def test_further_scenes_follow_the_labelled_ones(kind: str, streaming: bool) -> None:
    """The same scene with and without its labels is no further image; one of the validation is a leak."""
    off = {"scale": (1, 1), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}
    size = {"image_size": (32, 32), "max_train_samples": 2, "max_eval_samples": 1}
    more = {"unlabeled_dataset_name": "scenes", "max_unlabeled_samples": 3}
    mix = load(kind=kind, streaming=streaming, **size, **more, **off).train
    rows = list(mix)
    labelled = [row for row in rows if row["labeled"]]
    further = [row for row in rows if not row["labeled"]]
    assert (len(labelled), len(further)) == (2, 2 if streaming else 3)
    scenes = [
        torch.from_numpy(scene.image).permute(2, 0, 1) / 255
        for scene in render_scenes(range(5), height=32, width=32)
    ]

    def numbers(part: list[Row]) -> set[int]:
        return {i for row in part for i, one in enumerate(scenes) if torch.equal(row["pixel_values"], one)}

    assert numbers(labelled) == {0, 1}
    assert numbers(further) <= {2, 3, 4}
    assert len(numbers(further)) == len(further)
    assert all((row["labels"] == NOTHING[kind]).all() for row in further)


@both_loaders
def test_unlabelled_images_alone_are_refused(tmp_path: Path, kind: str) -> None:
    """The embedded scenes would be trained on and scored beside them, in silence."""
    with pytest.raises(ValueError, match=r"`unlabeled_dataset_name` needs `dataset_name`, .* alone; without"):
        load(kind=kind, max_train_samples=2, max_eval_samples=1, unlabeled_dataset_name=pictures(tmp_path))


# ---- parts that do not belong together ----


def part(labeled: bool | None, *, augmentation: DenseAugmentation | None, streamed: bool) -> Any:
    rows = split(2, 0).to_iterable_dataset() if streamed else split(2, 0)
    return read_dense(rows, ClassMap(num_labels=3), labeled=labeled, augmentation=augmentation)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("first", "second"), [(None, False), (True, None), (False, True), (True, True)])
def test_parts_must_say_whether_they_are_labelled(first: Any, second: Any, streamed: bool) -> None:
    mix = MixedIterableDataset if streamed else MixedDataset
    parts = [part(labeled, augmentation=None, streamed=streamed) for labeled in (first, second)]
    with pytest.raises(ValueError, match=f"`labeled`=True and `labeled`=False, got {first} and {second};"):
        mix(*parts)


@pytest.mark.parametrize("streamed", [False, True])
def test_parts_must_share_one_augmentation(streamed: bool) -> None:
    """Rows of two sizes, or with and without a mask, stop the training at a random step."""
    mix = MixedIterableDataset if streamed else MixedDataset
    first = part(True, augmentation=DenseAugmentation((12, 16)), streamed=streamed)
    second = part(False, augmentation=DenseAugmentation((8, 8)), streamed=streamed)
    with pytest.raises(ValueError, match="The parts of a mix must share one `augmentation`, got two;"):
        mix(first, second)
