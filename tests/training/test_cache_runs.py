"""Whole trainings with a cache: real loaders, the largest classes alone, a full disk."""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict

from hf_structkd import StructKDTrainer
from hf_structkd.data import LoadedData, load_detection_data, load_segmentation_data
from hf_structkd.matching import ImageNormalization
from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes

from ..cases import CASES, TaskCase, arguments, freeze_batch_norm, make_trainer, state_of
from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_segmentation_model

pytestmark = pytest.mark.usefixtures("narrow_critic")

SHARED: dict[str, Any] = {
    "normalization": ImageNormalization(),
    "image_size": (64, 64),
    "augmentation_views": 2,
    "max_train_samples": 4,
    "max_eval_samples": 1,
}


def _streamed(folder: Path) -> LoadedData:
    scenes: DatasetDict = load_scenes(num_train=4, num_validation=1, height=64, width=64)
    for split, rows in scenes.items():
        rows.select_columns(["image", "label"]).to_parquet(folder / f"{split}.parquet")
    (folder / "id2label.json").write_text(str(list(CLASS_NAMES)).replace("'", '"'))
    return load_segmentation_data(str(folder), streaming=True, **SHARED)


def _unlabeled(folder: Path) -> LoadedData:
    return load_segmentation_data(unlabeled_dataset_name="scenes", max_unlabeled_samples=4, **SHARED)


DATA: dict[str, Callable[[Path], LoadedData]] = {
    "stream": _streamed,
    "unlabelled images": _unlabeled,
    "detection": lambda folder: load_detection_data(**SHARED),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", DATA)
def test_the_data_of_the_loaders_are_read_back(kind: str, tmp_path: Path) -> None:
    """A key that differs from epoch to epoch, or is that of another image, stays unseen in a run."""
    (tmp_path / "data").mkdir()
    answers = {"teacher_cache": str(tmp_path / "cache"), "teacher_cache_dtype": "float32"}
    runs: list[StructKDTrainer] = []
    for cache in ({}, answers, answers):
        data = DATA[kind](tmp_path / "data")
        names = data.id2label
        if kind == "detection":
            pair = [tiny_detector(arch, id2label=names) for arch in ("yolos", "rt_detr")]
        else:
            pair = [tiny_segmentation_model(arch, id2label=names) for arch in ("segformer", "mobilenet_v2")]
        # Four passes: each of the two views comes twice.
        args = arguments(tmp_path, max_steps=8 if kind == "unlabelled images" else 4, **cache)
        trainer = StructKDTrainer(freeze_batch_norm(pair[0]), pair[1], args, train_dataset=data.train)
        trainer.train()
        runs.append(trainer)
    plain, first, later = runs
    rows = 8 if kind == "unlabelled images" else 4
    assert {len(store) for store in later.teacher._stores.values()} == {2 * rows}
    assert not later.teacher._is_checked, "the teacher has run"
    for run in (first, later):
        assert all(torch.equal(value, state_of(run)[name]) for name, value in state_of(plain).items())


def _answers(tmp_path: Path, **settings: Any) -> StructKDTrainer:
    args = arguments(tmp_path, teacher_cache=str(tmp_path / "cache"), max_steps=4, **settings)
    trainer = make_trainer(CASES[0], args)
    trainer.train()
    return trainer


def test_the_largest_classes_alone_are_the_same_fresh_and_read(tmp_path: Path) -> None:
    """Five classes of which three are kept: a run that stores and one that reads are one run."""
    first, later = (_answers(tmp_path, teacher_cache_top_k=3) for _ in range(2))
    assert not later.teacher._is_checked
    assert all(torch.equal(value, state_of(later)[name]) for name, value in state_of(first).items())
    plain = state_of(_answers(tmp_path))
    assert len(list((tmp_path / "cache").iterdir())) == 3, "two outputs, and the features of both"
    assert any(not torch.equal(value, plain[name]) for name, value in state_of(first).items())


@pytest.mark.parametrize(
    ("case", "settings", "reason"),
    [
        (CASES[1], {}, "no maps of class logits"),
        (CASES[2], {}, "no maps of class logits"),
        (CASES[0], {"channel_weight": 1.0}, "the channel-wise term compares the logits of every class"),
    ],
    ids=["depth", "detection", "channel"],
)
def test_answers_that_the_largest_classes_are_not_are_refused(
    case: TaskCase, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Spread evenly, the rest of a channel is noise, and a student would learn it in silence."""
    args = arguments(tmp_path, teacher_cache=str(tmp_path / "cache"), teacher_cache_top_k=3, **settings)
    with pytest.raises(ValueError, match=rf"`teacher_cache_top_k` must be left out, got 3: .*{reason}"):
        make_trainer(case, args).train()


@pytest.mark.parametrize(
    "bytes_left",
    [pytest.param(0, id="from the start"), pytest.param(2000, id="later", marks=pytest.mark.long)],
)
def test_a_full_disk_turns_the_cache_off(
    bytes_left: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A night of training is worth more than answers that can be computed again."""
    cache = {"teacher_cache": str(tmp_path / "cache"), "teacher_cache_dtype": "float32"}
    trainer = make_trainer(CASES[0], arguments(tmp_path / "run", max_steps=4, **cache))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, limits[1]))
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # pytest's own are files
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "goes on without storing" in caplog.text
    plain = make_trainer(CASES[0], arguments(tmp_path / "run", max_steps=4))
    plain.train()
    assert all(torch.equal(value, state_of(trainer)[name]) for name, value in state_of(plain).items())


def test_a_cache_that_others_may_only_read_is_read(tmp_path: Path) -> None:
    """A group shares one folder, which a single person fills."""
    _answers(tmp_path)
    facts = list(tmp_path.glob("cache/*/answers.json"))
    for file in facts:
        file.write_text("of the first run")
    assert not _answers(tmp_path).teacher._is_checked
    assert [file.read_text() for file in facts] == ["of the first run"] * 2
    tmp_path.joinpath("file").touch()
    with pytest.raises(ValueError, match="`teacher_cache` must be a folder that can be written"):
        make_trainer(CASES[0], arguments(tmp_path, teacher_cache=str(tmp_path / "file"))).train()
