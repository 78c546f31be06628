"""The doctor says what a run will be, what stops it and what should be looked at, and keeps nothing."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import PretrainedConfig
from transformers.trainer_utils import IntervalStrategy

from hf_structkd.cli.doctor.classes import class_lines, renaming_hint, similar_names
from hf_structkd.cli.doctor.findings import Findings
from hf_structkd.cli.doctor.lines import Plan, duration
from hf_structkd.cli.doctor.rehearsal import Rehearsal
from hf_structkd.cli.doctor.values import ignored_share, label_lines
from hf_structkd.cli.endings import ExitCode
from hf_structkd.cli.main import main
from hf_structkd.data.load_detection import DetectionOptions
from hf_structkd.scenes.scenes import CLASS_NAMES
from hf_structkd.tasks import SegmentationTask

from ..tiny_models import tiny_segmentation_model

NAMES = {0: "road", 1: "car"}


def test_classes_that_are_taught_alike_share_a_line() -> None:
    """A teacher of a thousand classes would fill the screen with those that nobody uses."""
    student = PretrainedConfig(id2label={0: "road", 1: "car", 2: "elk", 3: "moose"})
    teacher = PretrainedConfig(id2label={0: "sky", 1: "sea", 2: "Car", 3: "road"})
    assert class_lines(SegmentationTask(student, teacher)) == {
        "road": "labels, and the teacher's road",
        "car": "labels, and the teacher's Car",
        "elk, moose": "labels alone",
        "sky (teacher), sea (teacher)": "nothing: the student does not have it",
    }


@pytest.mark.parametrize(
    ("own", "theirs", "pairs"),
    [
        (["sidewalk"], ["sidewalk, pavement", "sky"], {"sidewalk, pavement": "sidewalk"}),
        (["bicyclist"], ["Bicyclists"], {"Bicyclists": "bicyclist"}),
        (["road"], ["floor", "wall"], {}),
        (["cars", "carts"], ["cart"], {"cart": "carts"}),
    ],
)
def test_names_that_may_mean_one_class_are_found(
    own: list[str], theirs: list[str], pairs: dict[str, str]
) -> None:
    """A class that is taught by labels alone, because its name has another ending, is lost in silence."""
    assert similar_names(own, theirs) == pairs


def test_the_proposed_map_is_one_that_the_run_takes() -> None:
    teacher = {0: "roads", 1: "car", 2: "sky"}
    hint = renaming_hint(None, NAMES, teacher)
    (text,) = re.findall(r"'(\{.*\})'", hint)
    assert json.loads(text) == {"roads": "road", "car": "car"}
    config = PretrainedConfig(id2label=NAMES), PretrainedConfig(id2label=teacher)
    assert SegmentationTask(*config, teacher_label_map=json.loads(text)).labels is not None


def test_labels_are_said_in_the_words_of_their_kind() -> None:
    ids = torch.tensor([[[0, 1, 1, 255]]])
    (text,) = label_lines({"labels": ids}, NAMES).values()
    assert text == "car 50%, road 25%; 2 of 2 classes; ignored: 255 25%"
    assert ignored_share({"labels": ids}, NAMES) == 0.25
    depth = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])
    assert label_lines({"labels": depth}, NAMES) == {"depth": "1 to 3 m, median 2 m, on 75% of the pixels"}
    boxes = [{"boxes": torch.tensor([[0.5, 0.5, 0.2, 0.4]]), "class_labels": torch.tensor([1])}]
    assert label_lines({"labels": boxes}, NAMES) == {
        "boxes": "1 in 1 images, sides 20.0% to 40.0% of the image: car 1"
    }


@pytest.mark.parametrize(
    "batch",
    [
        {},
        {"labels": torch.full((1, 2, 2), 255)},
        {"labels": torch.zeros(1, 2, 2)},
        {"labels": [{"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}]},
    ],
    ids=["missing", "ignored", "no depth", "no boxes"],
)
def test_a_batch_without_labels_is_said_to_have_none(batch: dict[str, Any]) -> None:
    """Else a folder of masks that nobody filled looks like one that was."""
    (text,) = label_lines(batch, NAMES).values()
    assert "none in the batch" in text or text.startswith("no label")


def plan(**changed: Any) -> Plan:
    values: dict[str, Any] = {
        "train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "device": torch.device("cpu"),
        "dataloader_num_workers": 0,
        "eval_strategy": IntervalStrategy.NO,
        "eval_steps": None,
        "num_train_epochs": 3,
    }
    return Plan(SimpleNamespace(**{**values, **changed}))  # type: ignore[arg-type]


def test_the_length_of_a_run_counts_reading_and_evaluations() -> None:
    """By a step alone, a run that waits for its images would be said to take an hour instead of a night."""
    found = Rehearsal({}, reading=0.1, step=0.4, evaluation=None, answer_bytes=0)
    assert plan().step_seconds(found) == pytest.approx(0.4 + 8 * 0.1)
    assert plan(dataloader_num_workers=4).step_seconds(found) == pytest.approx(0.4)
    assert plan(dataloader_num_workers=1).step_seconds(found) == pytest.approx(0.8)
    assert plan().evaluations(100) == 1
    assert plan(eval_strategy=IntervalStrategy.EPOCH).evaluations(100) == 4
    assert plan(eval_strategy=IntervalStrategy.STEPS, eval_steps=30).evaluations(100) == 4
    assert plan(eval_strategy=IntervalStrategy.STEPS, eval_steps=0.5).evaluations(100) == 3
    assert [duration(s) for s in (10, 600, 36_000)] == ["10 s", "10.0 min", "10.0 h"]


def test_an_error_is_kept_and_a_fault_of_the_program_goes_up() -> None:
    """A doctor that ends at the first error finds one only; one that hides a fault of its own finds none."""
    with closing(Findings()) as findings:
        with findings.stopping():
            raise ValueError("`a`\n  is wrong.")
        assert findings.stops == ["`a` is wrong."]
        with pytest.raises(KeyError), findings.stopping():
            raise KeyError("x")
    assert "what stops the run\n  1.   `a` is wrong." in str(findings)


def write_pair(folder: Path, *, weights: bool) -> None:
    """Write a tiny student, and a teacher that calls the first class otherwise."""
    for side, arch, first in (("student", "segformer", "floor"), ("teacher", "mobilenet_v2", "lava")):
        names = dict(enumerate([first, *CLASS_NAMES[1:]]))
        model = tiny_segmentation_model(arch, id2label=names)
        model.config.architectures = [type(model).__name__]
        (model if weights else model.config).save_pretrained(folder / side)
        SegmentationTask.image_processor((64, 64), model.config).save_pretrained(folder / side)


FLAGS = [
    "--teacher_model_name_or_path",
    "teacher",
    "--student_model_name_or_path",
    "student",
    "--use_cpu",
    "--output_dir",
    "out",
    "--report_to",
    "tensorboard",
    "--per_device_train_batch_size",
    "2",
    "--holistic_weight",
    "0",
]


def test_without_weights_and_without_labels_the_rest_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has neither yet wants to know whether it is worth while to get them."""
    write_pair(tmp_path, weights=False)
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation"):
        for number in range(2):
            path = Path("images", split, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path)
    with pytest.raises(SystemExit) as end:
        main(["doctor", "seg", *FLAGS, "--dataset_name", "images", "--image_size", "64", "64"])
    printed = capsys.readouterr().out
    assert end.value.code == ExitCode.INPUT
    assert re.search(r"labels +none", printed)
    assert re.search(r"student +0\.\d+ M parameters, [\d.e-]+ GFLOPs", printed)
    assert re.search(r"teacher +0\.\d+ M parameters, [\d.e-]+ GFLOPs", printed)
    assert re.search(r"\n  wall +.*teacher's wall", printed)
    stops = printed[printed.index("what stops the run") :]
    assert "has no weights, and a teacher must be trained" in " ".join(stops.split())
    assert "it starts from random weights" in " ".join(printed.split())
    assert not Path("out").exists()


def test_images_without_labels_that_could_have_the_teachers_boxes_are_said() -> None:
    """Terms alone teach a detector a tenth of what its teacher's boxes do, and nothing else says so."""
    without = DetectionOptions(dataset_name="photos", unlabeled_dataset_name="more")
    (said,) = without.traps()
    assert "more have no labels" in said
    assert "--pseudo_label_threshold" in said
    assert replace(without, pseudo_label_threshold=0.5).traps() == []
    assert DetectionOptions(dataset_name="photos").traps() == []


@pytest.mark.long
def test_the_doctor_says_what_a_run_will_be_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night is lost on a class that no name matches, or on a run that takes a week."""
    write_pair(tmp_path, weights=True)
    monkeypatch.chdir(tmp_path)
    scenes = ["--max_train_samples", "4", "--max_eval_samples", "2", "--image_size", "64", "64"]
    main(["doctor", "seg", *FLAGS, *scenes, "--max_steps", "600", "--compare_baseline"])
    printed = capsys.readouterr().out
    for said in (
        r"\n  floor +labels alone",
        r"\n  wall +labels, and the teacher's wall",
        r"\n  lava \(teacher\) +nothing",
        r"\n  the run +600 steps, about",
        r"\n  teacher cache +[\d.]+ kiB an answer, [\d.]+ kiB a view",
    ):
        assert re.search(said, printed)
    assert "; before it the student alone, which takes at most as long again" in " ".join(printed.split())
    assert not Path("out").exists()
    cached = ["--teacher_cache", "answers", "--augmentation_views", "2"]
    main(["doctor", "seg", *FLAGS, *scenes, *cached])
    assert re.search(r"teacher cache +[\d.]+ kiB an answer, [\d.]+ kiB for 2 views", capsys.readouterr().out)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:You'd better set embed_dim:UserWarning")
@pytest.mark.parametrize("task", ["seg", "depth", "det"])
def test_every_task_is_examined_on_the_scenes(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = Path(__file__).parents[2] / "examples" / "configs"
    student, teacher = {"seg": ("segformer", "upernet"), "depth": ("glpn",) * 2, "det": ("rtdetr",) * 2}[task]
    monkeypatch.chdir(tmp_path)
    flags = ["--student_model_name_or_path", str(configs / f"{student}-scenes-student")]
    flags += ["--teacher_model_name_or_path", str(configs / f"{teacher}-scenes-teacher")]
    flags += ["--unlabeled_dataset_name", "scenes", "--max_unlabeled_samples", "4"]
    with pytest.raises(SystemExit):
        main(["doctor", task, *FLAGS[4:], *flags, "--max_train_samples", "8", "--max_eval_samples", "2"])
    printed = capsys.readouterr().out
    assert ("--pseudo_label_threshold 0.4" in " ".join(printed.split())) == (task == "det")
    for said in ("a step ", "reading ", "the run ", "teacher cache ", "peak memory ", "images "):
        assert f"  {said}" in printed
    assert not Path("out").exists()
