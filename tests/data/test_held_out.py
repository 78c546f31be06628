"""What is scored is not learned: held-out rows, slices, and splits under their usual names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pytest

from hf_structkd.card import RunNotes
from hf_structkd.card.run import card_facts
from hf_structkd.data import SegmentationOptions, load_segmentation_data
from hf_structkd.matching.normalization import ImageNormalization
from tests.cases import SEGMENTATION, arguments, make_trainer

OFF: dict[str, Any] = {"scale": (1, 1), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}


def saved(folder: Path, **counts: int) -> str:
    """Splits whose rows are numbered through all of them by their colour."""
    rows, first = {}, 0
    for split, count in counts.items():
        images = [PIL.Image.new("L", (6, 4), first + i) for i in range(count)]
        label = PIL.Image.new("L", (6, 4))
        rows[split] = datasets.Dataset.from_list([{"image": image, "label": label} for image in images])
        first += count
    datasets.DatasetDict(rows).save_to_disk(folder)
    return str(folder)


def load(name: str | None, **settings: Any) -> Any:
    shared: dict[str, Any] = {"normalization": ImageNormalization(), "default_id2label": {0: "sky"}, **OFF}
    own = {"image_size": (4, 6), "labels_are_teacher_ids": True}
    return load_segmentation_data(name, **{**shared, **own, **settings})


def numbers(rows: Any) -> list[int]:
    return [round(float(row["pixel_values"].max()) * 255) for row in rows]


def test_a_fraction_of_the_training_rows_is_held_out_by_the_seed(tmp_path: Path) -> None:
    """Rows that are trained on and scored make every student look good."""
    name = saved(tmp_path, train=20)
    first, again, other = (load(name, validation_fraction=0.15, seed=seed) for seed in (0, 0, 1))
    train, held = numbers(first.train), numbers(first.validation)
    assert (len(train), len(held)) == (17, 3)
    assert sorted(train + held) == list(range(20))
    assert (numbers(again.train), numbers(again.validation)) == (train, held)
    assert numbers(other.validation) != held
    few = load(name, validation_fraction=0.15, seed=0, max_train_samples=2, max_eval_samples=1)
    assert (numbers(few.train), numbers(few.validation)) == (train[:2], held[:1])


def test_splits_can_be_sliced(tmp_path: Path) -> None:
    name = saved(tmp_path, train=10, test=2)
    data = load(name, train_split="train[:80%]", validation_split="train[80%:]")
    assert (numbers(data.train), numbers(data.validation)) == (list(range(8)), [8, 9])
    data = load(name, train_split="train[2:4]+test[:1]", validation_split="train[:1]")
    assert (numbers(data.train), numbers(data.validation)) == ([2, 3, 10], [0])


@pytest.mark.parametrize("name", ["valid", "val", "dev"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_validation_split_of_another_name_is_found_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, streaming: bool
) -> None:
    data = load(saved(tmp_path, train=2, test=1, **{name: 1}), streaming=streaming)
    assert numbers(data.validation) == [3]
    assert f"has no split 'validation': '{name}' is scored" in caplog.text


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"validation_split": "test"}, "`validation_split` is 'test': a checkpoint"),
        ({"validation_split": "test[:1]"}, "`validation_split` is 'test[:1]': a checkpoint"),
        (
            {"validation_split": "train"},
            "`train_split` and `validation_split` are both 'train'",
        ),
        ({"validation_fraction": 0.5}, "The split 'validation' is not read"),
    ],
)
def test_scores_that_promise_too_much_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, splits: dict[str, Any], said: str
) -> None:
    load(saved(tmp_path, train=2, validation=2, test=2), **splits)
    assert said in caplog.text


SAME = object()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"got 'validation'; it has: train; hold training rows out with --validation_fraction 0\.1"),
        ({"validation_fraction": 0.01}, r"leave rows to train on and to score, got 0\.01 of 10 rows"),
        ({"validation_fraction": 1.0}, r"`validation_fraction` must lie in \(0, 1\), got 1\.0"),
        ({"validation_fraction": 0.1, "streaming": True}, "must stand alone, got it beside `streaming`"),
        ({"validation_fraction": 0.1, "validation_split": "train[:1]"}, "beside `validation_split` 'train"),
        ({"train_split": "train[:80%]", "validation_split": "train[50%:]"}, "which share 3; choose slices"),
        ({"validation_split": "train[90%:]"}, "got 'train' and 'train.90%:.', which share 1; choose slices"),
        ({"validation_split": "train[:10%", "streaming": False}, r"a slice is written 'train\[:80%\]'"),
        ({"validation_split": "dev[:1]"}, r"got 'dev\[:1\]'; it has: train; a slice is written"),
        (
            {"validation_split": "train[10:]", "train_split": "train[:5]"},
            "must hold at least one row",
        ),
        ({"validation_split": "train[:1]", "streaming": True}, "a stream has no slices"),
        (
            {"validation_fraction": 0.1, "unlabeled_dataset_name": SAME},
            "`unlabeled_split` and `train_split`",
        ),
        (
            {"train_split": "train[:4]", "validation_split": "train[4:]", "unlabeled_dataset_name": SAME},
            "`unlabeled_split` and `validation_split` must not share rows .* which share 6;",
        ),
    ],
)
def test_rows_that_would_be_learned_and_scored_or_cannot_be_told_apart_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    name = saved(tmp_path, train=10)
    with pytest.raises(ValueError, match=message):
        load(name, **{key: name if value is SAME else value for key, value in settings.items()})


def test_a_slice_of_the_scenes_is_that_slice() -> None:
    """Passed over in silence, the rows that chose a setting would be among those that report it."""
    sizes = {"max_train_samples": 4, "max_eval_samples": 4, "image_size": (64, 96)}
    whole = load(None, **sizes)
    part = load(None, **sizes, train_split="train[1:3]", validation_split="validation[50%:]")
    assert (len(part.train), len(part.validation)) == (2, 2)
    assert part.validation[0]["pixel_values"].equal(whole.validation[2]["pixel_values"])
    with pytest.raises(ValueError, match="`validation_split` must be one of the splits of 'scenes'"):
        load(None, **sizes, validation_split="test")


def test_scenes_hold_nothing_out() -> None:
    """They render their validation rows; a share would be dropped without a word."""
    with pytest.raises(ValueError, match="must stand alone, got it beside the embedded scenes"):
        load(None, validation_fraction=0.1)


def test_the_card_names_the_rows_that_were_scored(tmp_path: Path) -> None:
    """It said `validation`, which the dataset does not have."""
    name = saved(tmp_path / "data", train=4)
    data = load(name, validation_fraction=0.25)
    trainer = make_trainer(
        SEGMENTATION, arguments(tmp_path / "out"), train_dataset=data.train, eval_dataset=data.validation
    )
    facts = card_facts(trainer, RunNotes(data=SegmentationOptions(dataset_name=name))).data
    assert facts is not None
    assert (facts.validation_split, facts.train_images, facts.validation_images) == ("25% of train", 3, 1)
