"""The examples as a user starts them, one of them in a process of its own, on data made here."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForSemanticSegmentation,
    pipeline,
)

from hf_structkd.scenes.scenes import load_scenes

from ..tiny_models import tiny_segmentation_model

ROOT = Path(__file__).parents[2]
EXAMPLE, TEACHER_SCRIPT = "examples/run_seg_distill.py", "scripts/train_teacher.py"
NAMES = {0: "floor", 1: "wall", 2: "thing"}


def accelerate(*arguments: str, cwd: Path) -> str:
    """Run the README's first command in a process of its own; return what it prints."""
    flags = (
        "--num_processes",
        "1",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    )
    program = (sys.executable, "-m", "accelerate.commands.launch", *flags)
    command = (*program, str(ROOT / EXAMPLE), *arguments)
    # Without the collector of garbage the imports of both processes take two thirds of their time.
    (cwd / "start").mkdir()
    (cwd / "start" / "sitecustomize.py").write_text("import gc; gc.disable()")
    path = f"{cwd / 'start'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(cwd / "hf"), "PYTHONPATH": path}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset on disk, a teacher with its processor, and a student that is only a configuration."""
    root = tmp_path_factory.mktemp("user")
    scenes = load_scenes(num_train=6, num_validation=3, height=64, width=64)

    def coarse(row: dict[str, Any]) -> dict[str, Any]:
        return {"image": row["image"], "label": Image.fromarray(np.minimum(np.array(row["label"]), 2))}

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    split = {
        name: datasets.Dataset.from_list([coarse(row) for row in rows], features=features)
        for name, rows in scenes.items()
    }
    datasets.DatasetDict(split).save_to_disk(str(root / "data"))
    (root / "data" / "id2label.json").write_text(json.dumps(NAMES))
    tiny_segmentation_model("mobilenet_v2", id2label=NAMES, seed=1).save_pretrained(root / "teacher")
    processor = {
        "image_processor_type": "MobileNetV2ImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
    }
    (root / "teacher" / "preprocessor_config.json").write_text(json.dumps(processor))
    tiny_segmentation_model("segformer", id2label=NAMES).config.save_pretrained(root / "student")
    return root


Start = Callable[..., str]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Start:
    """Run a script as `python` does and return what it prints, but here: imports cost more than runs."""

    def run(script: str, *arguments: str, cwd: Path) -> str:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        capsys.readouterr()
        runpy.run_path(str(ROOT / script), run_name="__main__")
        return capsys.readouterr().out

    return run


COMMON = (
    *("--dataset_name", "data", "--teacher_model_name_or_path", "teacher", "--image_size", "64", "64"),
    *("--student_model_name_or_path", "student", "--max_steps", "2", "--per_device_train_batch_size", "2"),
    *("--logging_steps", "1", "--use_cpu", "--dataloader_pin_memory", "false", "--report_to", "none"),
)
SAVING = (*COMMON, "--save_strategy", "steps", "--save_steps", "1")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """What a distillation with a file of settings prints; it saves student, baseline and checkpoints."""
    settings = "pixel_weight: 3.5\npairwise_weight: 2.5\npreset: cirkd\nlearning_rate: 1e-4\n"
    (folder / "run.yaml").write_text(settings)
    flags = ("--pairwise_weight", "4.5", "--output_dir", "out", "--compare_baseline")
    return accelerate("run.yaml", *SAVING, *flags, cwd=folder)


def rows_of_table(printed: str) -> list[str]:
    table = [line for line in printed.splitlines() if line.startswith("| ")]
    return [line.split("|")[1].strip() for line in table[2:]]


def check_figures(folder: Path, *names: str) -> None:
    for name in names:
        with Image.open(folder / "figures" / name) as picture:
            assert picture.width > 400


def test_a_student_is_distilled_compared_saved_and_read_by_a_pipeline(folder: Path, printed: str) -> None:
    """Else the README's first command is not how the library is used."""
    assert rows_of_table(printed) == ["teacher", "alone", "distilled"]
    results = json.loads((folder / "out" / "all_results.json").read_text())
    wanted = ("eval_mean_iou", "eval_mean_accuracy", "eval_overall_accuracy", "train_runtime")
    assert all(np.isfinite(results[name]) for name in wanted)
    assert (folder / "out" / "alone" / "all_results.json").is_file()
    check_figures(folder / "out", "curves.png", "predictions.png")
    segments = pipeline("image-segmentation", model=str(folder / "out"))(Image.new("RGB", (100, 80)))
    assert {segment["label"] for segment in segments} <= set(NAMES.values())
    assert all(segment["mask"].size == (100, 80) for segment in segments)
    assert AutoModelForSemanticSegmentation.from_pretrained(folder / "out").config.id2label == NAMES


def test_a_yaml_file_and_a_preset_set_what_flags_do_not(printed: str) -> None:
    assert "3.5 × pixel, 4.5 × pairwise, 0.001 × holistic" in printed


def test_the_baseline_is_the_run_that_nobody_distilled(folder: Path, printed: str, start: Start) -> None:
    """Else alone and distilled differ in more than the teacher: seed, order or budget."""
    off = [flag for term in ("pixel", "pairwise", "holistic") for flag in (f"--{term}_weight", "0")]
    start(EXAMPLE, "run.yaml", *COMMON, "--save_strategy", "no", "--output_dir", "single", *off, cwd=folder)
    one, other = (
        AutoModelForSemanticSegmentation.from_pretrained(folder / path).state_dict()
        for path in ("out/alone", "single")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("published_critic")
def test_a_folder_with_checkpoints_is_continued_only_when_asked(
    folder: Path, printed: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a second start rotates away what the first one saved."""
    shutil.copytree(folder / "out", folder / "again")
    again = ("run.yaml", *SAVING, "--pairwise_weight", "4.5", "--output_dir", "again", "--max_steps", "3")
    with pytest.raises(SystemExit, match="3"):
        start(EXAMPLE, *again, cwd=folder)
    assert "already holds checkpoint-2; continue it with" in capsys.readouterr().err
    assert not (folder / "again" / "checkpoint-3").exists()
    start(EXAMPLE, *again, "--resume_from_checkpoint", "true", cwd=folder)
    assert (folder / "again" / "checkpoint-3").is_dir()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("--label_column", "mask"),
            "`label_column` must be a column of the dataset, got 'mask'; it has: image",
        ),
        (("--validation_split", "val"), "got 'val'; it has: train, validation"),
        (("--pixel_weight", "-1"), "`pixel_weight` must be a finite number at least 0, got -1.0"),
        (("--connection_range", "8"), "`connection_range` must be"),
        (("--granularity", "99"), "`granularity`"),
        (("--temperature", "0"), "`temperature` must be finite and above 0"),
        (
            ("--lr_scheduler_type", "reduce_lr_on_plateau", "--eval_strategy", "epoch"),
            "`lr_scheduler_type` must not need a metric",
        ),
    ],
    ids=lambda value: value[0].lstrip("-") if isinstance(value, tuple) else "",
)
def test_a_mistake_ends_in_one_sentence(
    folder: Path,
    start: Start,
    change: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="3"):
        start(EXAMPLE, *COMMON, "--output_dir", "mistake", *change, cwd=folder)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("structkd: error: ")]
    assert len(said) == 1
    assert sentence in said[0]


# Two steps on four scenes.
SMALL = (
    *("--max_train_samples", "4", "--max_eval_samples", "2", "--max_steps", "2", "--eval_strategy", "no"),
    *("--per_device_train_batch_size", "2", "--use_cpu", "--disable_tqdm", "true", "--report_to", "none"),
)


def test_a_teacher_is_trained_by_the_script(folder: Path, start: Start) -> None:
    arguments = [a for a in COMMON if a not in ("--teacher_model_name_or_path", "teacher")]
    start(TEACHER_SCRIPT, *arguments, "--output_dir", "made", cwd=folder)
    assert (folder / "made" / "preprocessor_config.json").is_file()
    assert AutoModelForSemanticSegmentation.from_pretrained(folder / "made").config.id2label == NAMES


# Students of depth and detection that are distilled, compared and read back are among the tests of the Hub.
@pytest.mark.long
def test_a_depth_student_is_distilled_compared_saved_and_read_by_a_pipeline(
    tmp_path: Path, start: Start
) -> None:
    """Teacher by the script, then the example, then the Hub's own way to use what it saved."""
    start(TEACHER_SCRIPT, "--task", "depth", *SMALL, "--output_dir", "teacher", cwd=tmp_path)
    teacher = ("--teacher_model_name_or_path", "teacher", "--output_dir", "out")
    mixed = ("--unlabeled_dataset_name", "scenes", "--max_unlabeled_samples", "2")
    printed = start("examples/run_depth_distill.py", *SMALL, *teacher, *mixed, cwd=tmp_path)
    assert rows_of_table(printed) == ["teacher", "alone", "distilled"]
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert all(np.isfinite(results[f"eval_{name}"]) for name in ("abs_rel", "rmse", "delta1"))
    check_figures(tmp_path / "out", "curves.png", "predictions.png")
    answer = pipeline("depth-estimation", model=str(tmp_path / "out"))(Image.new("RGB", (100, 80)))
    assert answer["depth"].size == (100, 80)


@pytest.mark.long
def test_a_detection_student_is_distilled_compared_saved_and_read_by_a_pipeline(
    tmp_path: Path, start: Start
) -> None:
    """The demonstration, made small."""
    few = ("--max_unlabeled_samples", "2", "--output_dir", "out")
    printed = start("examples/run_det_distill.py", *SMALL, *few, cwd=tmp_path)
    assert rows_of_table(printed) == ["teacher", "alone", "distilled"]
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert all(0 <= results[f"eval_{name}"] <= 1 for name in ("map", "map_50", "map_75"))
    check_figures(tmp_path / "out", "curves.png", "predictions.png", "classes.png")
    check_detection_pipeline(tmp_path / "out")


def check_detection_pipeline(folder: Path) -> None:
    """Its boxes must be those of the model, in pixels of the image it was given."""
    scene = load_scenes(num_train=1, num_validation=1, height=80, width=100)["train"][0]["image"]
    found = pipeline("object-detection", model=str(folder))(scene, threshold=0.0)
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        model = AutoModelForObjectDetection.from_pretrained(folder)
        output = model(**processor(images=scene, return_tensors="pt"))
    logits, of_softmax = output.logits[0], model.config.model_type == "yolos"
    scores, labels = (logits.softmax(-1)[:, :-1] if of_softmax else logits.sigmoid()).max(dim=-1)
    assert found[0]["score"] == pytest.approx(scores.max().item(), rel=1e-4)
    x, y, width, height = (output.pred_boxes[0] * torch.tensor([100, 80, 100, 80])).unbind(dim=-1)
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
    # After two steps several queries may have the best score: it is the box of one of them.
    best = (scores >= scores.max() * (1 - 1e-4)).nonzero().flatten().tolist()
    answer = [found[0]["box"][name] for name in ("xmin", "ymin", "xmax", "ymax")]
    assert any(
        found[0]["label"] == model.config.id2label[int(labels[query])]
        and answer == pytest.approx(corners[query].tolist(), abs=1)
        for query in best
    )


def test_the_losses_work_in_a_loop_of_ones_own(tmp_path: Path, start: Start) -> None:
    printed = start("examples/custom_loss_loop.py", cwd=tmp_path)
    totals = [float(line.split("total ")[1].split(",")[0]) for line in printed.splitlines()]
    assert len(totals) == 10
    assert totals[-1] < totals[0]


def test_the_help_says_what_runs_without_a_dataset(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The defaults of the options below it are not those of the demonstration."""
    with pytest.raises(SystemExit):
        start(EXAMPLE, "--help", cwd=tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    assert "Without --dataset_name it is a demonstration on embedded scenes" in said
    assert "image_size 96 128" in said


def planned(task: str) -> subprocess.CompletedProcess[str]:
    """Let make print what it would do; a make around the tests would have it print its folder too."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", "demo", f"TASK={task}"]
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_make_starts_the_demonstration_of_every_task(task: str) -> None:
    """Else the first command of the README shows another task, or none."""
    plan = planned(task)
    script = plan.stdout.split()[-1]
    assert script.startswith("examples/run_"), plan.stderr
    assert f"hf_structkd.tasks import {task.capitalize()}Task" in (ROOT / script).read_text()


def test_make_refuses_a_task_that_there_is_not() -> None:
    plan = planned("depht")
    assert "TASK must be segmentation, depth or detection, got 'depht'" in plan.stderr


def test_every_example_is_short_and_stands_in_the_readme() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    for script in (ROOT / "examples").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 150, script
        assert script.name in listed
