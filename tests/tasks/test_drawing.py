"""What each task draws for a report and says under its table: metres, pixels, names of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_outputs import DepthEstimatorOutput, SemanticSegmenterOutput
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd.report import Exhibit, PictureRow
from hf_structkd.tasks import TASKS, DepthTask, DetectionTask, SegmentationTask, Task
from hf_structkd.tasks import depth as depth_module
from hf_structkd.tasks import detection as detection_module
from hf_structkd.tasks import segmentation as segmentation_module

NAN = math.nan
CONFIG = PretrainedConfig(id2label={0: "cat", 1: "dog"})

Drawn = list[tuple[PictureRow[Any], Mapping[str, Any]]]


def maps(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def boxes(*corners: list[float], canvas: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {
        "class_labels": torch.ones(len(corners), dtype=torch.long),
        "boxes": torch.tensor(corners).reshape(-1, 4),
        "canvas_size": torch.tensor(canvas),
        **more,
    }


def detections(logits: Any, corners: Any, dtype: torch.dtype = torch.float32) -> DetrObjectDetectionOutput:
    return DetrObjectDetectionOutput(
        logits=torch.tensor(logits).to(dtype), pred_boxes=torch.tensor(corners).to(dtype)
    )


CASES: list[tuple[Task, Any, Any]] = [
    (
        SegmentationTask(CONFIG),
        torch.ones(1, 16, 16, dtype=torch.long),
        SemanticSegmenterOutput(logits=maps(1, 2, 4, 4)),
    ),
    (
        DepthTask(PretrainedConfig()),
        1 + maps(1, 16, 16),
        DepthEstimatorOutput(predicted_depth=1 + maps(1, 8, 8)),
    ),
    (
        DetectionTask(CONFIG),
        [boxes([0.5, 0.5, 0.5, 0.5], canvas=(16.0, 16.0))],
        detections([[[2.0, -9.0]]], [[[0.25, 0.5, 0.5, 0.5]]]),
    ),
]
by_task = pytest.mark.parametrize(("task", "labels", "output"), CASES, ids=[case[0].name for case in CASES])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The rows that were to be drawn, each with the options they came with."""
    rows: Drawn = []

    def record(given: list[PictureRow[Any]], path: Path, **options: Any) -> None:
        assert path == Path("unused", "predictions.png")
        rows.extend((row, options) for row in given)

    monkeypatch.setattr(segmentation_module, "plot_label_maps", record)
    monkeypatch.setattr(depth_module, "plot_depth_maps", record)
    monkeypatch.setattr(detection_module, "plot_boxes", record)
    monkeypatch.setattr(detection_module, "plot_class_bars", lambda scores, path: None)
    return rows


def draw(task: Task, labels: Any, outputs: Mapping[str, Any]) -> None:
    exhibit = Exhibit(torch.rand(len(labels), 3, 8, 8), {"labels": labels}, outputs, {})
    task.draw(exhibit, Path("unused"))


# ---- the table ----


def test_every_task_is_drawn() -> None:
    assert [type(task) for task, _, _ in CASES] == list(TASKS)


@by_task
def test_the_headline_names_scores_of_the_metric(task: Task, labels: Any, output: Any) -> None:
    """A headline that names no score costs the report of a finished run."""
    metric = task.metric()
    metric.add_statistics(task.evaluation_statistics(output, {"labels": labels}))
    scores, headline = metric.compute(), task.headline
    columns = [headline.metric, *(key for key, _ in headline.further)]
    assert all(isinstance(scores[key], float) for key in columns)
    assert headline.higher_is_better is not isinstance(task, DepthTask)
    assert [headline.label, *(label for _, label in headline.further)] == {
        "image-segmentation": ["mean IoU"],
        "depth-estimation": ["AbsRel", "RMSE in m (lower is better)", "δ1 (higher is better)"],
        "object-detection": ["mAP", "AP at 0.50", "AP at 0.75"],
    }[task.name]


@pytest.mark.parametrize(
    ("kinds", "has_teacher", "fitted"),
    [
        (("metric", "metric"), True, None),
        (("metric", "inverse"), True, "the teacher"),
        (("metric", "inverse"), False, None),
        (("relative", "metric"), True, "every model"),
        (("inverse", "metric"), False, "every model"),
    ],
)
def test_a_fit_to_the_ground_truth_is_told(kinds: Any, has_teacher: bool, fitted: str | None) -> None:
    """A score after such a fit is better than the model's own, and nobody would know."""
    task = DepthTask(PretrainedConfig(), loss="ssi", depth_kind=kinds[0], teacher_depth_kind=kinds[1])
    note = f"Fitted to each image's ground truth by a scale and a shift before it is scored: {fitted}."
    assert task.score_note(has_teacher=has_teacher) == ("" if fitted is None else note)


# ---- maps ----


def test_label_maps_lie_on_the_pixels_of_their_own_label(drawn: Drawn) -> None:
    """Labels keep their own sizes in evaluation, models answer in theirs, some in half precision."""
    labels = [torch.zeros(4, 6, dtype=torch.long), torch.ones(10, 8, dtype=torch.long)]
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.bfloat16).view(2, 2, 1, 1)
    draw(SegmentationTask(CONFIG), labels, {"distilled": SemanticSegmenterOutput(logits=logits)})
    for (row, options), label, winner in zip(drawn, labels, (1, 0), strict=True):
        assert np.shape(row.image) == (*label.shape, 3)
        np.testing.assert_equal(np.asarray(row.truth), label.numpy())
        np.testing.assert_equal(np.asarray(row.predictions["distilled"]), np.full(label.shape, winner))
        assert (options["class_names"], options["ignore_index"]) == (["cat", "dog"], 255)


def test_depth_maps_lie_on_the_pixels_of_their_own_label(drawn: Drawn) -> None:
    labels = [torch.full((4, 6), 2.0), torch.full((10, 8), 3.0)]
    maps = {"teacher": torch.rand(2, 8, 8), "distilled": torch.tensor([2.5, 3.5]).view(2, 1, 1)}
    outputs = {name: DepthEstimatorOutput(predicted_depth=depth.bfloat16()) for name, depth in maps.items()}
    draw(DepthTask(PretrainedConfig()), labels, outputs)
    for (row, _), label, constant in zip(drawn, labels, (2.5, 3.5), strict=True):
        assert np.shape(row.image) == (*label.shape, 3)
        np.testing.assert_equal(np.asarray(row.truth), label.numpy())
        assert list(row.predictions) == ["teacher", "distilled"]
        assert np.shape(row.predictions["teacher"]) == label.shape
        np.testing.assert_allclose(np.asarray(row.predictions["distilled"]), constant, rtol=1e-6)


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_depth_that_is_not_metric_is_drawn_in_metres(kind: Any, drawn: Drawn) -> None:
    """Its numbers on a bar of metres would be wrong by whatever scale the model chose."""
    truth = torch.linspace(1, 4, 64).view(2, 4, 8)
    prediction = 7 * (1 / truth if kind == "inverse" else truth) - 3
    task = DepthTask(PretrainedConfig(), loss="ssi", depth_kind=kind)
    draw(task, truth, {"a": DepthEstimatorOutput(predicted_depth=prediction)})
    for (row, _), expected in zip(drawn, truth, strict=True):
        np.testing.assert_allclose(np.asarray(row.predictions["a"]), expected.numpy(), rtol=1e-4)


# ---- boxes ----


def test_boxes_are_drawn_on_the_original_images_pixels(drawn: Drawn) -> None:
    """By hand: canvases of 20 x 40 and 10 x 10 pixels, whatever size the models were shown."""
    labels = [boxes([0.5, 0.5, 0.5, 0.5], canvas=(20.0, 40.0)), boxes(canvas=(10.0, 10.0))]
    outputs = {
        name: detections([[[2.0, -9.0]], [[-9.0, 0.0]]], [[[0.25, 0.5, 0.5, 0.5]]] * 2, dtype)
        for name, dtype in (("teacher", torch.float32), ("distilled", torch.bfloat16))
    }
    draw(DetectionTask(CONFIG), labels, outputs)
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
        assert np.asarray(found.corners)[0].tolist() == [0, 5, 20, 15]
        assert np.asarray(found.labels)[0] == 0
        assert np.asarray(found.scores)[0] == pytest.approx(torch.tensor(2.0).sigmoid().item())
    for found in second.predictions.values():
        assert np.asarray(found.corners)[0].tolist() == [0, 2.5, 5, 7.5]
        assert np.asarray(found.labels)[0] == 1


def test_a_crowd_is_not_drawn_as_one_object(drawn: Drawn) -> None:
    corners = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    one = boxes(*corners, canvas=(8.0, 8.0), crowd=torch.tensor([False, True]))
    draw(DetectionTask(CONFIG), [one], {"a": detections([[[0.0, 0.0]]], [[[0.5, 0.5, 0.1, 0.1]]])})
    assert np.asarray(drawn[0][0].truth.corners).tolist() == [[2, 2, 6, 6]]


# ---- classes ----


def test_every_models_classes_are_drawn_by_their_names(monkeypatch: pytest.MonkeyPatch, drawn: Drawn) -> None:
    """A class that the validation images do not show has NaN, which is not 0; some names look like scores."""
    bars: dict[str, dict[str, float]] = {}
    monkeypatch.setattr(detection_module, "plot_class_bars", lambda given, path: bars.update(given))
    scores = {
        "teacher": {"map": 0.6, "ap_cat": 0.75, "ap_dog": NAN},
        "distilled": {"map": 0.3, "ap_cat": 0.5, "ap_dog": NAN, "ap_ap_eval_map": 0.25, "loss": 2.0},
    }
    output = {"a": detections([[[0.0, 0.0]]], [[[0.5, 0.5, 0.1, 0.1]]])}
    labels = [boxes(canvas=(8.0, 8.0))]
    DetectionTask(CONFIG).draw(
        Exhibit(torch.rand(1, 3, 8, 8), {"labels": labels}, output, scores), Path("unused")
    )
    assert list(bars) == ["teacher", "distilled"]
    assert [of_model["cat"] for of_model in bars.values()] == [0.75, 0.5]
    assert all(math.isnan(of_model["dog"]) for of_model in bars.values())
    assert bars["distilled"].keys() == {"cat", "dog", "ap_eval_map"}


@by_task
def test_the_figures_are_pictures(task: Task, labels: Any, output: Any, tmp_path: Path) -> None:
    """A report that fails after hours takes the table with it, also where no class has a score."""
    scores = {"student": {"ap_cat": NAN, "ap_dog": NAN}}
    task.draw(Exhibit(maps(1, 3, 16, 16), {"labels": labels}, {"student": output}, scores), tmp_path)
    figures = ["predictions", "classes"] if isinstance(task, DetectionTask) else ["predictions"]
    assert {path.stem for path in tmp_path.iterdir()} == set(figures)
    for path in tmp_path.iterdir():
        with PIL.Image.open(path) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture.convert("L")).std() > 5
