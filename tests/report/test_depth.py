"""A finished depth run leaves figures in metres and one table, whatever kind of depth was predicted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_outputs import DepthEstimatorOutput

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.cli.runs import alone_arguments
from hf_structkd.data import load_depth_data
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.report import DepthPredictionRow, Exhibit, write_depth_report
from hf_structkd.report import depth as depth_module
from hf_structkd.tasks import DepthTask
from tests.tiny_models import tiny_depth_model

SIZE = (64, 64)
SCORES = {"abs_rel": 0.1, "rmse": 0.4, "delta1": 0.9}


def test_a_distilled_run_with_its_baseline(tmp_path: Path) -> None:
    data = load_depth_data(
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
    runs = []
    for run_args, teacher in ((alone_arguments(args), None), (args, tiny_depth_model("dpt", seed=1))):
        student = tiny_depth_model("glpn")
        trainer = StructKDTrainer(
            student, teacher, run_args, train_dataset=data.train, eval_dataset=data.validation
        )
        trainer.train()
        runs.append((trainer, trainer.evaluate()))
    (alone, alone_metrics), (trainer, metrics) = runs
    teacher_metrics = trainer.evaluate_teacher()
    table = write_depth_report(
        trainer, metrics, teacher_metrics=teacher_metrics, alone=alone, alone_metrics=alone_metrics
    )
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[:5]]
    assert header == [
        "model",
        "AbsRel (lower is better)",
        "share of the gap closed",
        "RMSE in m (lower is better)",
        "δ1 (higher is better)",
        "parameters",
        "ms an image",
    ]
    assert [row[0] for row in rows] == ["teacher", "alone", "distilled"]
    for row, scores, prefix in zip(
        rows, (teacher_metrics, alone_metrics, metrics), ("", "eval_", "eval_"), strict=True
    ):
        for column, name in ((1, "abs_rel"), (3, "rmse"), (4, "delta1")):
            assert float(row[column]) == pytest.approx(scores[prefix + name], rel=6e-3, abs=5e-4)
    for name in ("curves", "predictions"):
        with PIL.Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    assert "Fitted" not in table


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[DepthPredictionRow]:
    """The rows that were to be drawn."""
    rows: list[DepthPredictionRow] = []
    monkeypatch.setattr(depth_module, "plot_depth_predictions", lambda given, path: rows.extend(given))
    return rows


def draw(task: DepthTask, labels: Any, depths: dict[str, Tensor]) -> None:
    images = torch.rand(len(labels), 3, 8, 8)
    outputs = {name: DepthEstimatorOutput(predicted_depth=maps) for name, maps in depths.items()}
    depth_module._draw(task, Exhibit(images, {"labels": labels}, outputs), Path("unused.png"))


def test_predictions_lie_on_the_pixels_of_their_own_label(drawn: list[DepthPredictionRow]) -> None:
    """Labels keep their own sizes in evaluation, models answer in theirs."""
    labels = [torch.full((4, 6), 2.0), torch.full((10, 8), 3.0)]
    maps = {"teacher": torch.rand(2, 8, 8), "distilled": torch.tensor([2.5, 3.5]).view(2, 1, 1)}
    draw(DepthTask(PretrainedConfig()), labels, maps)
    for one, label, constant in zip(drawn, labels, (2.5, 3.5), strict=True):
        assert np.shape(one.image) == (*label.shape, 3)
        np.testing.assert_equal(np.asarray(one.depth), label.numpy())
        assert list(one.predictions) == ["teacher", "distilled"]
        assert np.shape(one.predictions["teacher"]) == label.shape
        np.testing.assert_allclose(np.asarray(one.predictions["distilled"]), constant, rtol=1e-6)


def test_half_precision_predictions_are_drawn(drawn: list[DepthPredictionRow]) -> None:
    """NumPy has no bfloat16."""
    draw(DepthTask(PretrainedConfig()), torch.ones(1, 4, 4), {"a": torch.ones(1, 2, 2, dtype=torch.bfloat16)})
    assert np.asarray(drawn[0].predictions["a"]).tolist() == [[1.0] * 4] * 4


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_depth_that_is_not_metric_is_drawn_in_metres(kind: Any, drawn: list[DepthPredictionRow]) -> None:
    """Its numbers on a bar of metres would be wrong by whatever scale the model chose."""
    truth = torch.linspace(1, 4, 64).view(2, 4, 8)
    prediction = 7 * (1 / truth if kind == "inverse" else truth) - 3
    draw(DepthTask(PretrainedConfig(), loss="ssi", depth_kind=kind), truth, {"a": prediction})
    for one, expected in zip(drawn, truth, strict=True):
        np.testing.assert_allclose(np.asarray(one.predictions["a"]), expected.numpy(), rtol=1e-4)


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
def test_a_fit_to_the_ground_truth_is_told_under_the_table(
    kinds: Any, has_teacher: bool, fitted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score after such a fit is better than the model's own, and nobody would know."""
    monkeypatch.setattr(depth_module, "write_report", lambda *_, **__: "table")
    task = DepthTask(PretrainedConfig(), loss="ssi", depth_kind=kinds[0], teacher_depth_kind=kinds[1])
    trainer: Any = SimpleNamespace(task=task, teacher=object() if has_teacher else None)
    note = f"Fitted to each image's ground truth by a scale and a shift before it is scored: {fitted}."
    assert write_depth_report(trainer, SCORES) == ("table" if fitted is None else f"table\n\n{note}")


def test_another_task_is_refused() -> None:
    trainer: Any = SimpleNamespace(task=SimpleNamespace(name="image-segmentation"))
    with pytest.raises(TypeError, match=r"`trainer` must train a depth model, got one for image-seg"):
        write_depth_report(trainer, SCORES)
