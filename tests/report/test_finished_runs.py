"""A finished run of the real trainer leaves its figures and one table with a row for each model."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from matplotlib.figure import Figure
from transformers import SegformerConfig

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.card import RunNotes, write_card
from hf_structkd.cli.runs import alone_arguments
from hf_structkd.data import LoadedData, load_segmentation_data
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.report import write_report
from hf_structkd.tasks import SegmentationTask
from hf_structkd.terms import PixelTerm
from tests.cases import CASES, SEGMENTATION, Rows, TaskCase, arguments, make_trainer
from tests.loopback_hub.cards import check_card
from tests.tiny_models import tiny_segmentation_model

SIZE = (64, 64)


@pytest.fixture(scope="module")
def scenes() -> LoadedData:
    processor = SegmentationTask.image_processor(SIZE, SegformerConfig())
    normalization = ImageNormalization.from_image_processor(processor)
    return load_segmentation_data(
        None, image_size=SIZE, max_train_samples=4, max_eval_samples=2, normalization=normalization
    )


def trained(
    folder: Path, data: LoadedData, *, alone: bool = False, **settings: Any
) -> tuple[StructKDTrainer, dict[str, float]]:
    """A student after one step, and its scores."""
    args = StructKDTrainingArguments(
        output_dir=str(folder),
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    processor = SegmentationTask.image_processor(SIZE, SegformerConfig())
    trainer = StructKDTrainer(
        tiny_segmentation_model("segformer", id2label=data.id2label),
        None if alone else tiny_segmentation_model("mobilevit", id2label=data.id2label, seed=1),
        alone_arguments(args) if alone else args,
        **{
            "processing_class": processor,
            "teacher_processing_class": processor,
            "train_dataset": data.train,
            "eval_dataset": data.validation,
            **settings,
        },
    )
    trainer.train()
    return trainer, trainer.evaluate()


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def check_picture(path: Path) -> None:
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5


def test_a_distilled_run_with_its_baseline(tmp_path: Path, scenes: LoadedData) -> None:
    alone, alone_metrics = trained(tmp_path, scenes, alone=True)
    trainer, metrics = trained(tmp_path, scenes)
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    teacher_metrics = trainer.evaluate_teacher()
    table = write_report(
        trainer, metrics, teacher_metrics=teacher_metrics, alone=alone, alone_metrics=alone_metrics
    )
    header, *rows = cells(table)
    assert [row[0] for row in rows] == ["teacher", "alone", "distilled"]
    assert header[:2] == ["model", "mean IoU (higher is better)"]
    assert header[-2:] == ["parameters", "ms an image"]
    scores = teacher_metrics["mean_iou"], alone_metrics["eval_mean_iou"], metrics["eval_mean_iou"]
    for row, score in zip(rows, scores, strict=True):
        assert float(row[1]) == pytest.approx(score, abs=5e-4)
    check_picture(tmp_path / "figures" / "curves.png")
    check_picture(tmp_path / "figures" / "predictions.png")
    assert not (tmp_path / "alone" / "figures").exists()
    assert all(torch.equal(value, trainer.model.state_dict()[name]) for name, value in weights.items())


def test_a_student_without_a_teacher_or_an_image_processor(tmp_path: Path, scenes: LoadedData) -> None:
    """A report that fails after hours of training takes the table with it."""
    trainer, metrics = trained(tmp_path, scenes, alone=True, processing_class=None)
    _, *rows = cells(write_report(trainer, metrics))
    assert [row[0] for row in rows] == ["student"]
    check_picture(tmp_path / "alone" / "figures" / "predictions.png")


def unlabelled(case: TaskCase) -> Rows:
    """The rows of a case with nothing in their labels that counts."""
    rows = case.rows(2).rows
    for row in rows:
        labels = row["labels"]
        if isinstance(labels, dict):
            labels |= {"class_labels": labels["class_labels"][:0], "boxes": labels["boxes"][:0]}
        else:
            labels.fill_(255 if case is SEGMENTATION else 0)
    return Rows(rows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_validation_without_labels_costs_its_scores_alone(case: TaskCase, tmp_path: Path) -> None:
    """The teacher's labels train a student without others; hours of training must not end in an error."""
    trainer = make_trainer(case, arguments(tmp_path, report_to="none"), eval_dataset=unlabelled(case))
    metrics = {key: math.nan for key in make_trainer(case, arguments(tmp_path), rows=1).evaluate()}
    of_teacher = {key.removeprefix("eval_"): value for key, value in metrics.items()}
    trainer.state.log_history = [{"step": 1, "loss": 2.0, "loss_task": 2.0}, {"step": 1, **metrics}]
    table = write_report(trainer, metrics, teacher_metrics=of_teacher)
    assert [row[1] for row in cells(table)[1:]] == ["n/a", "n/a"]
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"curves.png", "predictions.png"} <= figures
    assert ("classes.png" in figures) is (case.name == "detection")
    write_card(trainer, RunNotes(metrics=metrics, table=table))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert check_card(card) == ([], [])
    assert not re.search(r"\bnan\b|\binf", card, re.IGNORECASE)
    assert "model-index" not in card
    label = trainer.task.metric_labels[case.metric.removeprefix("eval_")]
    assert f"| {label} | n/a |" in card
    assert "Not evaluated yet" not in card


def test_a_titled_term_of_a_users_own_is_drawn_under_its_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the figure knows no key of a log."""

    class Mine(PixelTerm):
        name = "mine"
        title = "term of $my$ own"

    trainer = make_trainer(
        SEGMENTATION,
        arguments(tmp_path, pixel_weight=None, pairwise_weight=None, holistic_weight=None),
        terms=[Mine(1.0)],
    )
    trainer.state.log_history = [
        {"step": 1, "loss": 3.0, "loss_task": 1.0, "loss_mine": 2.0, "eval_mean_iou": 0.5}
    ]
    saved: dict[str, Figure] = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: saved.update({Path(path).name: figure}))
    write_report(trainer, {"eval_mean_iou": 0.5})
    titles = [axes.get_title(loc="left") for axes in saved["curves.png"].axes]
    assert titles == ["mean IoU", "task loss", "term of $my$ own"]
