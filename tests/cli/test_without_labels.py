"""From a folder of photos and a teacher to a student, its report and its card, without a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from transformers import AutoConfig, PreTrainedModel, pipeline

from hf_structkd.cli.distil import distil
from hf_structkd.cli.script_args import parse_run
from hf_structkd.tasks import DepthTask, DetectionTask, SegmentationTask, Task

from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_depth_model, tiny_segmentation_model

NAMES = {0: "floor", 1: "wall", 2: "lamp"}
HELD_OUT = ("--validation_fraction", "0.5")


def run(
    folder: Path, task: type[Task], teacher: PreTrainedModel, student: PreTrainedModel, *flags: str
) -> Path:
    """Distil for one step from four photos; return the folder of the student."""
    for number in range(4):
        colours = np.random.default_rng(number).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        (folder / "photos").mkdir(exist_ok=True)
        PIL.Image.fromarray(colours).save(folder / "photos" / f"{number}.jpg")
    for name, model in (("teacher", teacher), ("student", student)):
        model.save_pretrained(folder / name)
        task.image_processor((64, 64), model.config).save_pretrained(folder / name)
    places = {"dataset_name": "photos", "output_dir": "out"}
    places |= {f"{name}_model_name_or_path": name for name in ("teacher", "student")}
    words = [word for name, place in places.items() for word in (f"--{name}", str(folder / place))]
    words += ["--use_cpu", "--report_to", "none", "--image_size", "64", "64", "--max_steps", "1"]
    words += ["--logging_steps", "1", "--holistic_weight", "0", "--save_strategy", "no"]
    distil(parse_run(task, [*words, *flags], scenes={}))
    return folder / "out"


def parts_of_card(out: Path) -> tuple[str, str]:
    """The metadata, from which the Hub makes leaderboards, and the text."""
    _, metadata, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return metadata, text


def scores_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "all_results.json").read_text())
    return found


@pytest.mark.parametrize(
    ("task", "teacher", "student", "metric", "flags"),
    [
        (
            SegmentationTask,
            lambda: tiny_segmentation_model("mobilenet_v2", id2label=NAMES),
            lambda: tiny_segmentation_model("segformer"),
            "mean_iou",
            (),
        ),
        pytest.param(
            DetectionTask,
            lambda: tiny_detector("rt_detr", id2label=NAMES),
            lambda: tiny_detector("yolos"),
            "map",
            ("--pseudo_label_threshold", "0.1"),
            marks=pytest.mark.long,
        ),
    ],
    ids=["segmentation", "detection with pseudo-labels"],
)
def test_photos_and_a_teacher_make_a_student_and_an_honest_card(
    task: type[Task], teacher: Any, student: Any, metric: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Agreement that is printed as accuracy, or becomes a line of a leaderboard, is a lie."""
    out = run(tmp_path, task, teacher(), student(), *HELD_OUT, *flags)
    scores = scores_of(out)
    assert f"eval_agreement_{metric}" in scores
    assert not {f"eval_{metric}", "eval_loss"} & scores.keys()
    metadata, text = parts_of_card(out)
    assert "It was trained without labels" in text
    assert "no accuracy" in text
    assert f"agreement with the teacher, {task.metric_labels[metric]}" in text
    assert "model-index" not in metadata
    assert "compared with the teacher on `50% of train` (2 images)" in text
    assert (out / "figures" / "predictions.png").is_file()
    assert AutoConfig.from_pretrained(out).id2label == NAMES


@pytest.mark.long
def test_a_relative_teacher_and_photos_make_a_relative_student(tmp_path: Path) -> None:
    """And with nothing to evaluate on, the student is saved, drawn and described all the same."""
    teacher, student = tiny_depth_model("depth_anything", seed=3), tiny_depth_model("glpn")
    out = run(tmp_path, DepthTask, teacher, student)
    assert not [name for name in scores_of(out) if name.startswith("eval_")]
    _, text = parts_of_card(out)
    assert "trained on `train` (4 images) without labels\n" in text
    assert "scored on" not in text
    assert (out / "figures" / "predictions.png").is_file()
    assert AutoConfig.from_pretrained(out).structkd_depth_kind == "inverse"
    found = pipeline("depth-estimation", model=str(out))(str(tmp_path / "photos" / "0.jpg"))
    assert found["predicted_depth"].shape == (64, 80)
    assert found["predicted_depth"].isfinite().all()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--compare_baseline",), "a student alone learns from labels, .* leave `compare_baseline` out"),
        (
            ("--eval_strategy", "epoch"),
            "`eval_strategy` 'epoch' needs images to evaluate on, .* hold some out",
        ),
    ],
    ids=["the student alone", "an evaluation of nothing"],
)
def test_what_needs_labels_or_images_is_said_before_the_training(
    flags: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    models = tiny_segmentation_model("mobilenet_v2", id2label=NAMES), tiny_segmentation_model("segformer")
    with pytest.raises(ValueError, match=message):
        run(tmp_path, SegmentationTask, *models, *flags)
