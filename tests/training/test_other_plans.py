"""Runs that ask for what their evaluation, their checkpoint or their folder does not have."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import SegformerForSemanticSegmentation

from hf_structkd import StructKDTrainer
from hf_structkd.training.best_model import refuse_unknown_metric
from hf_structkd.training.manifest import checkpoint_to_resume, last_checkpoint, list_files, remove_unfinished

from ..cases import CASES, SEGMENTATION, TaskCase, arguments, make_trainer

PLAIN = {"holistic_weight": 0.0, "pairwise_weight": 0.0, "save_strategy": "steps", "save_steps": 1}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_misspelt_metric_of_the_best_model_is_refused_before_training(
    case: TaskCase, tmp_path: Path
) -> None:
    """Trainer looked for it after the first evaluation; every name that an evaluation gives must pass."""
    name = case.metric.removeprefix("eval_")
    with pytest.raises(ValueError, match=rf"got '{name}x'; did you mean '{name}'\? Choose one of loss, "):
        make_trainer(case, arguments(tmp_path, metric_for_best_model=f"{name}x"))
    trainer = make_trainer(case, arguments(tmp_path))
    for known in trainer.evaluate().keys() - {"epoch"}:  # which a log adds
        trainer.args.metric_for_best_model = known
        refuse_unknown_metric(trainer.args, trainer.task)


def test_names_of_several_sets_and_of_a_subclass_pass(tmp_path: Path) -> None:
    class Counting(StructKDTrainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            return {**super().evaluate(*args, **kwargs), "eval_count": 1.0}

    sets = {"day": SEGMENTATION.rows(2), "night": SEGMENTATION.rows(2)}
    models = SEGMENTATION.student(0), SEGMENTATION.teacher(1)
    args = arguments(tmp_path, metric_for_best_model="night_mean_iou")
    StructKDTrainer(*models, args, eval_dataset=sets)
    with pytest.raises(ValueError, match=r"got 'mean_iou'; did you mean '(day|night)_mean_iou'"):
        StructKDTrainer(*models, arguments(tmp_path, metric_for_best_model="mean_iou"), eval_dataset=sets)
    args = arguments(tmp_path, metric_for_best_model="count")
    Counting(*models, args, eval_dataset=SEGMENTATION.rows(2))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    make_trainer(SEGMENTATION, arguments(folder, max_steps=1, **PLAIN)).train()
    return folder


def resumed(folder: Path, **changes: Any) -> None:
    settings = {"max_steps": 1, "save_strategy": "no", **changes}
    trainer = make_trainer(SEGMENTATION, arguments(folder, **{**PLAIN, **settings}))
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-1"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning_rate": 5e-2}, "learning_rate was 0.001 and is 0.05. What its optimiser holds"),
        ({"bf16": True}, "precision was 'fp32' and is 'bf16'."),
        ({"per_device_train_batch_size": 2}, "images in a step was 4 and is 2."),
        ({"max_steps": 2, "seed": 7}, "max_steps was 1 and is 2; seed was 42 and is 7."),
        ({}, None),
    ],
)
def test_another_plan_is_said_on_resuming(
    changes: dict[str, Any],
    sentence: str | None,
    stopped: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A new learning rate has no effect on a resumed run, and the others change it; nothing was said."""
    name = "hf_structkd.training.checkpoints"
    monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level("WARNING", logger=name)
    resumed(stopped, **changes)
    texts = [record.getMessage() for record in caplog.records if record.name == name]
    assert len(texts) == (sentence is not None)
    assert sentence is None or sentence in texts[0]


def test_another_optimiser_is_refused_on_resuming(stopped: Path) -> None:
    """The run ended in "KeyError: 'momentum'"."""
    with pytest.raises(ValueError, match=r"`optim` must be 'adamw_torch.*' to resume .*, got 'sgd'; restore"):
        resumed(stopped, optim="sgd")


def test_the_checkpoint_of_a_deeper_student_is_refused(tmp_path: Path) -> None:
    """Its weights fit the shallower student by name and shape, and half of them would be dropped."""
    deep = SEGMENTATION.student(0).config
    deep.depths = [2, 1, 1, 1]
    trainer = StructKDTrainer(
        SegformerForSemanticSegmentation(deep),
        SEGMENTATION.teacher(1),
        arguments(tmp_path, max_steps=1, **PLAIN),
        train_dataset=SEGMENTATION.rows(4),
    )
    trainer.train()
    with pytest.raises(ValueError, match=r"checkpoint-1 holds the optimiser of another student, or of other"):
        resumed(tmp_path, max_steps=2)


def written(folder: Path, *, whole: bool) -> Path:
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_bytes(b"weights")
    list_files(folder)
    if whole:
        (folder / "trainer_state.json").write_text("{}")
    return folder


def test_a_resume_reads_the_bytes_of_a_checkpoint_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large checkpoints were read three times before a resumed run began; a changed one is read again."""
    folder = written(tmp_path / "checkpoint-1", whole=True)
    digest, read = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda file, *a: read.append(file.name) or digest(file, *a))
    assert last_checkpoint(tmp_path) == checkpoint_to_resume(True, str(tmp_path)) == str(folder)
    assert len(read) == 1
    (folder / "notes.txt").write_bytes(b"WEIGHTS")
    assert last_checkpoint(tmp_path) is None


def links(folder: Path, target: Path) -> Callable[[], bool]:
    folder.symlink_to(target)
    return folder.is_symlink


def test_an_unfinished_checkpoint_behind_a_link_stays_in_its_place(tmp_path: Path) -> None:
    """Removing it raised in the middle of the training: a link is no folder."""
    target = written(tmp_path / "archive" / "one", whole=False)
    is_there = links(tmp_path / "checkpoint-1", target)
    keep = written(tmp_path / "checkpoint-2", whole=False)
    remove_unfinished(tmp_path, keep=keep)
    assert not is_there()
    assert (target / "notes.txt").is_file()
