"""Trackers get every term and a picture of the predictions, and one that fails costs itself alone.

The trackers are the real ones, which write to the disk: nothing here needs a network.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging

from hf_structkd.report.snapshot import draw_snapshot
from hf_structkd.training import trackers
from hf_structkd.training.averaging import AveragedStudent
from hf_structkd.training.trackers import PICTURE, Guard, Pictures
from tests.cases import CASES, SEGMENTATION, TaskCase, arguments, make_trainer, state_of

# What the packages of the trackers warn of when they are imported or used.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TERMS = {f"train/loss_{name}" for name in ("task", "pixel", "pairwise", "holistic")}


def tracked(folder: Path, name: str, case: TaskCase = SEGMENTATION, **settings: Any) -> Any:
    """A trainer that reports to a tracker, evaluates after both of its steps, and was trained."""
    pytest.importorskip(name, reason=f"{name} is not installed")
    settings = {"report_to": name, "eval_strategy": "steps", "eval_steps": 1, **settings}
    trainer = make_trainer(case, arguments(folder / "run", **settings))
    trainer.train()
    return trainer


@pytest.fixture
def warnings() -> Any:
    """What this library warns of, line by line."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = transformers_logging.get_logger(trackers.__name__)
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


# ---- the real trackers ----


def events(folder: Path) -> Any:
    """What TensorBoard itself reads of the only run of a folder."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (file,) = (folder / "run" / "runs").rglob("events.*")
    return module.EventAccumulator(str(file.parent), size_guidance={"images": 0}).Reload()


def test_tensorboard_has_the_terms_and_a_picture_of_each_evaluation(tmp_path: Path) -> None:
    """Numbers alone do not show that a student paints everything as floor."""
    tracked(tmp_path, "tensorboard")
    read = events(tmp_path)
    tags = read.Tags()
    assert set(tags["scalars"]) >= TERMS | {"train/loss", "train/learning_rate", "eval/mean_iou", "eval/loss"}
    assert tags["images"] == [PICTURE]
    pictures = read.Images(PICTURE)
    assert [one.step for one in pictures] == [1, 2]
    image = Image.open(io.BytesIO(pictures[0].encoded_image_string))
    assert max(image.size) <= 1600
    assert np.asarray(image).std() > 10


def test_wandb_has_the_terms_and_pictures_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracked(tmp_path, "wandb")
    wandb = pytest.importorskip("wandb")
    summary = dict(wandb.run.summary)
    wandb.finish()
    assert set(summary) >= TERMS | {"eval/mean_iou", PICTURE}
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    pictures = sorted((folder / "files" / "media" / "images" / "eval").glob("predictions_*.png"))
    assert len(pictures) == 2
    assert np.asarray(Image.open(pictures[0])).std() > 10


def test_trackio_has_the_terms_and_pictures_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    tracked(tmp_path, "trackio", project="tracked", run_name="run")
    logs = pytest.importorskip("trackio").SQLiteStorage.get_logs("tracked", "run")
    assert {name for log in logs for name in log} >= TERMS | {"eval/mean_iou", PICTURE}
    pictures = list((tmp_path / "trackio" / "media").rglob("*.png"))
    assert len(pictures) == 2
    assert np.asarray(Image.open(pictures[0])).std() > 10


# ---- the picture ----


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_task_has_a_picture_of_bounded_size(case: TaskCase, tmp_path: Path) -> None:
    """A picture of a camera's size after every evaluation would fill the disk."""
    trainer = make_trainer(case, arguments(tmp_path, report_to="none"))
    picture = draw_snapshot(trainer)
    assert picture.mode == "RGB"
    assert 300 < max(picture.size) <= 1600
    assert np.asarray(picture).std() > 10


def test_at_most_a_hundred_pictures_are_sent_in_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation after every step would send thousands."""
    monkeypatch.setattr(trackers, "draw_snapshot", lambda trainer: Image.new("RGB", (1, 1)))
    trainer, sent = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none")), list[int]()
    senders = {Guard("a tracker"): lambda picture, step: sent.append(step)}
    pictures = Pictures(trainer, AveragedStudent(0), senders)
    for step in range(1, 1001):
        state = TrainerState(global_step=step, max_steps=1000, is_world_process_zero=True)
        pictures.on_evaluate(trainer.args, state, TrainerControl())
    pictures.on_evaluate(trainer.args, state, TrainerControl())  # once more after the training
    assert sent == list(range(1, 1001, 10))
    state.is_world_process_zero = False
    pictures.on_train_begin(trainer.args, state, TrainerControl())
    pictures.on_evaluate(trainer.args, state, TrainerControl())
    assert len(sent) == 100


def test_the_picture_shows_the_weights_that_are_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a moving average the scores beside the picture are those of the average."""
    drawn: list[torch.Tensor] = []

    def note(trainer: Any) -> Image.Image:
        drawn.append(next(trainer.model.parameters()).detach().clone())
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(trackers, "draw_snapshot", note)
    trainer = tracked(tmp_path, "tensorboard", ema_decay=0.5)
    torch.testing.assert_close(drawn[-1], next(trainer.model.parameters()), rtol=0, atol=0)
    assert not torch.equal(drawn[0], drawn[1])


def test_a_tracker_does_not_change_the_training(tmp_path: Path) -> None:
    """Else who watches a run has other results than who does not."""
    watched = state_of(tracked(tmp_path / "a", "tensorboard"))
    alone = make_trainer(SEGMENTATION, arguments(tmp_path / "b", report_to="none"))
    alone.train()
    for name, value in state_of(alone).items():
        torch.testing.assert_close(watched[name], value, rtol=0, atol=0, msg=name)


# ---- failures ----


def test_a_tracker_that_fails_is_one_warning_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    """A full disk of a tracker would cost a training of days."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(trackers, "draw_snapshot", lambda trainer: pytest.fail("drawn for nobody"))
    trainer = tracked(tmp_path, "tensorboard")
    assert trainer.state.global_step == 2
    assert len(warnings) == 1
    assert warnings[0].startswith("The tracker tensorboard failed and gets nothing more of this run")


def test_a_picture_that_cannot_be_drawn_leaves_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    def fail(*args: Any) -> None:
        raise ValueError("no picture of this")

    monkeypatch.setattr(trackers, "draw_snapshot", fail)
    tracked(tmp_path, "tensorboard")
    tags = events(tmp_path).Tags()
    assert tags["images"] == []
    assert set(tags["scalars"]) >= TERMS | {"eval/mean_iou"}
    assert len(warnings) == 1
    assert "The picture of the predictions failed" in warnings[0]
    assert warnings[0].endswith("(ValueError: no picture of this).")


def test_without_a_tracker_nothing_is_drawn(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none"))
    assert not [one for one in trainer.callback_handler.callbacks if isinstance(one, Pictures)]
