"""A finished detection run leaves three figures and one table, with boxes in pixels of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import PretrainedConfig
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.cli.runs import alone_arguments
from hf_structkd.data import load_detection_data
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.report import BoxRow, Exhibit, write_detection_report
from hf_structkd.report import detection as detection_module
from hf_structkd.tasks import DetectionTask
from tests.tiny_detectors import tiny_detector

SIZE = (64, 64)
NAN = math.nan
SCORES = {"eval_map": 0.3, "eval_map_50": 0.5, "eval_map_75": 0.25}

ClassScores = dict[str, dict[str, float]]


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def test_a_distilled_run_with_its_baseline(tmp_path: Path) -> None:
    data = load_detection_data(
        None, image_size=SIZE, max_train_samples=2, max_eval_samples=2, normalization=ImageNormalization()
    )
    args = StructKDTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=2,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    # A class that no image shows has no score, and the report of such a run is written all the same.
    names = {**data.id2label, len(data.id2label): "ghost"}
    runs = []
    teacher = tiny_detector("rt_detr", id2label=names, seed=1)
    for run_args, of_run in ((alone_arguments(args), None), (args, teacher)):
        student = tiny_detector("yolos", id2label=names)
        trainer = StructKDTrainer(
            student, of_run, run_args, train_dataset=data.train, eval_dataset=data.validation
        )
        trainer.train()
        metrics = trainer.evaluate()
        assert math.isnan(metrics["eval_ap_ghost"])
        # What so little training gives is 0 throughout, in whichever column.
        runs.append((trainer, {**metrics, **SCORES, "eval_map": 0.1 * (1 + len(runs))}))
    (alone, alone_metrics), (trainer, metrics) = runs
    teacher_metrics = {**trainer.evaluate_teacher(), "map": 0.3, "map_50": 0.625, "map_75": 0.125}
    table = write_detection_report(
        trainer, metrics, teacher_metrics=teacher_metrics, alone=alone, alone_metrics=alone_metrics
    )
    header, *rows = cells(table)
    assert header == [
        "model",
        "mAP (higher is better)",
        "share of the gap closed",
        "AP at 0.50",
        "AP at 0.75",
        "parameters",
        "ms an image",
    ]
    assert [row[0] for row in rows] == ["teacher", "alone", "distilled"]
    printed = [[float(row[column]) for column in (1, 3, 4)] for row in rows]
    assert printed == [[0.3, 0.625, 0.125], [0.1, 0.5, 0.25], [0.2, 0.5, 0.25]]
    assert rows[2][2] == "50 %"
    for name in ("curves", "predictions", "classes"):
        with PIL.Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 5


# ---- the bars ----


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> ClassScores:
    """The scores that were to be drawn; the table is not made."""
    scores: ClassScores = {}
    monkeypatch.setattr(detection_module, "plot_class_bars", lambda given, path: scores.update(given))
    monkeypatch.setattr(detection_module, "write_report", lambda *_, **__: "table")
    return scores


def finished(folder: Path, *, has_teacher: bool) -> Any:
    """What the report reads of a trainer."""
    args = SimpleNamespace(output_dir=str(folder))
    task = DetectionTask(PretrainedConfig(id2label={0: "cat", 1: "dog"}))
    return SimpleNamespace(task=task, teacher=object() if has_teacher else None, args=args)


def test_every_models_classes_are_drawn_by_their_names(tmp_path: Path, bars: ClassScores) -> None:
    """A class that the validation images do not show has NaN, which is not 0."""
    table = write_detection_report(
        finished(tmp_path, has_teacher=True),
        {**SCORES, "eval_ap_cat": 0.5, "eval_ap_dog": NAN, "eval_loss": 2.0},
        teacher_metrics={"map": 0.6, "ap_cat": 0.75, "ap_dog": NAN},
        alone=finished(tmp_path, has_teacher=False),
        alone_metrics={**SCORES, "eval_ap_cat": 0.25, "eval_ap_dog": NAN},
    )
    assert table == "table"
    assert list(bars) == ["teacher", "alone", "distilled"]
    assert [of_run["cat"] for of_run in bars.values()] == [0.75, 0.25, 0.5]
    assert all(of_run.keys() == {"cat", "dog"} for of_run in bars.values())
    assert all(math.isnan(of_run["dog"]) for of_run in bars.values())


def test_a_class_named_like_a_score_keeps_its_name(tmp_path: Path, bars: ClassScores) -> None:
    metrics = {**SCORES, "eval_ap_ap_eval_map": 0.5}
    write_detection_report(finished(tmp_path, has_teacher=False), metrics)
    assert bars == {"student": {"ap_eval_map": 0.5}}


def test_bars_without_a_value_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that fails after hours of training takes the table with it."""
    monkeypatch.setattr(detection_module, "write_report", lambda *_, **__: "table")
    metrics = {**SCORES, "eval_ap_cat": NAN, "eval_ap_dog": NAN}
    write_detection_report(finished(tmp_path, has_teacher=False), metrics)
    with PIL.Image.open(tmp_path / "figures" / "classes.png") as picture:
        assert picture.width > 400


# ---- the pictures ----


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[BoxRow, Mapping[str, Any]]]:
    """The rows that were to be drawn, each with the options they came with."""
    rows: list[tuple[BoxRow, Mapping[str, Any]]] = []

    def record(given: list[BoxRow], path: Path, **options: Any) -> None:
        rows.extend((row, options) for row in given)

    monkeypatch.setattr(detection_module, "plot_detection_predictions", record)
    return rows


def labels(*boxes: list[float], canvas: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {
        "class_labels": torch.ones(len(boxes), dtype=torch.long),
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "canvas_size": torch.tensor(canvas),
        **more,
    }


def test_boxes_are_drawn_on_the_original_images_pixels(
    drawn: list[tuple[BoxRow, Mapping[str, Any]]],
) -> None:
    """By hand: canvases of 20 x 40 and 10 x 10 pixels, whatever size the models were shown."""
    task = DetectionTask(PretrainedConfig(id2label={0: "cat", 1: "dog"}))
    batch = {"labels": [labels([0.5, 0.5, 0.5, 0.5], canvas=(20.0, 40.0)), labels(canvas=(10.0, 10.0))]}
    outputs = {
        name: DetrObjectDetectionOutput(
            logits=torch.tensor([[[2.0, -9.0]], [[-9.0, 0.0]]]).to(dtype),
            pred_boxes=torch.tensor([[[0.25, 0.5, 0.5, 0.5]]] * 2).to(dtype),
        )
        for name, dtype in (("teacher", torch.float32), ("distilled", torch.bfloat16))
    }
    detection_module._draw(task, Exhibit(torch.rand(2, 3, 8, 8), batch, outputs), Path("unused.png"))
    (first, options), (second, _) = drawn
    assert options["class_names"] == ["cat", "dog"]
    assert 0 < options["score_threshold"] < 0.5
    for row, size in ((first, (20, 40)), (second, (10, 10))):
        assert np.shape(row.image) == (*size, 3)
        assert list(row.predictions) == ["teacher", "distilled"]
    assert np.asarray(first.truth.corners).tolist() == [[10, 5, 30, 15]]
    assert np.asarray(first.truth.labels).tolist() == [1]
    assert first.truth.scores is None
    assert np.shape(second.truth.corners) == (0, 4)
    for found in first.predictions.values():
        assert found.scores is not None
        assert np.asarray(found.corners)[0].tolist() == [0, 5, 20, 15]
        assert np.asarray(found.labels)[0] == 0
        assert np.asarray(found.scores)[0] == pytest.approx(torch.tensor(2.0).sigmoid().item())
    for found in second.predictions.values():
        assert np.asarray(found.corners)[0].tolist() == [0, 2.5, 5, 7.5]
        assert np.asarray(found.labels)[0] == 1


def test_a_crowd_is_not_drawn_as_one_object(drawn: list[tuple[BoxRow, Mapping[str, Any]]]) -> None:
    task = DetectionTask(PretrainedConfig(id2label={0: "cat", 1: "dog"}))
    boxes = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    one = labels(*boxes, canvas=(8.0, 8.0), crowd=torch.tensor([False, True]))
    output = DetrObjectDetectionOutput(logits=torch.zeros(1, 1, 2), pred_boxes=torch.rand(1, 1, 4))
    detection_module._draw(
        task, Exhibit(torch.rand(1, 3, 8, 8), {"labels": [one]}, {"a": output}), Path("unused.png")
    )
    assert np.asarray(drawn[0][0].truth.corners).tolist() == [[2, 2, 6, 6]]


def test_another_task_is_refused() -> None:
    trainer: Any = SimpleNamespace(task=SimpleNamespace(name="image-segmentation"))
    with pytest.raises(TypeError, match=r"`trainer` must train a detector, got one for image-segmentation"):
        write_detection_report(trainer, SCORES)
