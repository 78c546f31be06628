"""What every example shares: the command line, and a baseline that had the same chances."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset, Features, List, Value
from datasets import Image as ImageColumn
from PIL import Image

from hf_structkd.cli.distil import Experiment, distil, train_teacher
from hf_structkd.cli.script_args import parse_run
from hf_structkd.tasks import TASKS, DepthTask, DetectionTask, SegmentationTask, Task

from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_segmentation_model

CPU = ("--use_cpu", "--report_to", "none")
TINY = ("--max_train_samples", "3", "--max_eval_samples", "1", "--image_size", "32", "32")

over_tasks = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.short_name)


@over_tasks
def test_every_task_option_reaches_the_task(task: type[Task]) -> None:
    """A flag that is parsed and dropped changes nothing, and nobody is told."""
    options = task.task_options(parse_run(task, CPU, scenes={}).options)
    known = inspect.signature(task).parameters
    defaults = {name: p.default for name, p in known.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert options == defaults


@over_tasks
def test_the_scenes_defaults_hold_without_a_dataset_only(task: type[Task]) -> None:
    """The demonstration's few steps are not what a user's own data wants."""
    scenes = {"num_train_epochs": 7, "image_size": [32, 64]}
    assert parse_run(task, CPU, scenes=scenes).training.num_train_epochs == 7
    own = parse_run(task, (*CPU, "--dataset_name", "data"), scenes=scenes)
    assert own.training.num_train_epochs == 3
    assert own.options.image_size == [512, 512]


@pytest.mark.parametrize(
    ("task", "name"),
    [(SegmentationTask, "segformer-scenes-student"), (DepthTask, "glpn-scenes-student")],
    ids=["segmentation", "depth"],
)
def test_the_baseline_of_unlabelled_images_takes_as_many_steps_on_labelled_ones(
    task: type[Task], name: str, tmp_path: Path
) -> None:
    """Fewer steps would make the student alone worse for another reason than the missing teacher."""
    folder = Path(__file__).parents[2] / "examples" / "configs"
    flags = (*CPU, *TINY, "--student_model_name_or_path", str(folder / name), "--output_dir", str(tmp_path))
    batch = ("--num_train_epochs", "4", "--per_device_train_batch_size", "2")
    mixed = (*flags, *batch, "--unlabeled_dataset_name", "scenes", "--max_unlabeled_samples", "4")
    arguments = parse_run(task, mixed, scenes={})
    experiment = Experiment.load(arguments)
    assert len(experiment.data.train) == 7  # type: ignore[arg-type]
    assert len(experiment.data.labeled) == 3  # type: ignore[arg-type]
    assert experiment.baseline_arguments(arguments.training).max_steps == 4 * 4  # ceil(7 / 2) an epoch
    plain = parse_run(task, (*flags, *batch), scenes={})
    experiment = Experiment.load(plain)
    assert experiment.data.labeled is experiment.data.train
    assert experiment.baseline_arguments(plain.training).max_steps == -1


@over_tasks
@pytest.mark.parametrize("missing", ["teacher", "student"])
def test_a_model_that_is_not_named_is_said_before_anything_is_loaded(
    task: type[Task], missing: str, tmp_path: Path
) -> None:
    other = "teacher" if missing == "student" else "student"
    flags = (*CPU, *TINY, f"--{other}_model_name_or_path", "no/such-model", "--output_dir", str(tmp_path))
    with pytest.raises(SystemExit, match=f"--{missing}_model_name_or_path is missing"):
        distil(parse_run(task, flags, scenes={}))


@over_tasks
def test_a_teacher_without_a_name_is_said(task: type[Task], tmp_path: Path) -> None:
    flags = (*CPU, *TINY, "--output_dir", str(tmp_path))
    with pytest.raises(SystemExit, match="--student_model_name_or_path is missing"):
        train_teacher(parse_run(task, flags, scenes={}))


def test_student_and_baseline_start_from_the_teacher_where_that_is_asked(tmp_path: Path) -> None:
    """A baseline that starts from chance would lose to the start, and not to the distillation."""
    teacher = tiny_segmentation_model("segformer", id2label={0: "floor", 1: "wall", 2: "lamp"})
    teacher.save_pretrained(tmp_path / "teacher")
    teacher.config.save_pretrained(tmp_path / "student")
    names = {side: str(tmp_path / side) for side in ("student", "teacher")}
    flags = [part for side, name in names.items() for part in (f"--{side}_model_name_or_path", name)]
    asked = (*CPU, *TINY, *flags, "--init_student_from_teacher", "--output_dir", str(tmp_path / "out"))
    experiment = Experiment.load(parse_run(SegmentationTask, asked, scenes={}))
    args = experiment.arguments.training
    for with_teacher, used in ((True, args), (False, experiment.baseline_arguments(args))):
        student = experiment.trainer(used, with_teacher=with_teacher).model
        assert torch.equal(next(student.parameters()), next(teacher.parameters()))


def test_a_report_that_fails_loses_neither_the_student_nor_the_card(tmp_path: Path) -> None:
    """Else a picture that cannot be drawn costs a night of training."""
    configs = Path(__file__).parents[2] / "examples" / "configs"
    flags = (*CPU, *TINY, "--student_model_name_or_path", str(configs / "segformer-scenes-student"))
    tmp_path.joinpath("figures").write_text("a file where the folder of the figures has to be")
    with pytest.raises(FileExistsError):
        train_teacher(
            parse_run(
                SegmentationTask, (*flags, "--output_dir", str(tmp_path), "--max_steps", "1"), scenes={}
            )
        )
    for name in ("model.safetensors", "preprocessor_config.json", "all_results.json", "README.md"):
        assert (tmp_path / name).is_file(), name


def test_detection_whose_validation_has_no_boxes_is_written_whole(tmp_path: Path) -> None:
    """It ended in the report, after the whole training."""
    objects = {"bbox": [List(Value("float32"), length=4)], "category": [Value("int64")]}
    features = Features({"image": ImageColumn(), "objects": objects})
    image, box = Image.new("RGB", (64, 48), (90, 60, 30)), {"bbox": [[4, 4, 20, 20]], "category": [0]}
    for split, found in {"train": box, "validation": {"bbox": [], "category": []}}.items():
        rows = Dataset.from_list([{"image": image, "objects": found}] * 2, features=features)
        rows.to_parquet(tmp_path / "data" / f"{split}.parquet")
    (tmp_path / "names.json").write_text('{"0": "thing", "1": "other"}')
    for name, kind in (("teacher", "rt_detr"), ("student", "yolos")):
        tiny_detector(kind, id2label={0: "thing", 1: "other"}).save_pretrained(tmp_path / name)
    folders = {"dataset_name": "data", "teacher_model_name_or_path": "teacher", "output_dir": "out"}
    folders |= {"student_model_name_or_path": "student", "id2label_path": "names.json"}
    places = [word for name, place in folders.items() for word in (f"--{name}", str(tmp_path / place))]
    flags = ("--image_size", "64", "64", "--max_steps", "1", "--holistic_weight", "0")
    distil(parse_run(DetectionTask, (*CPU, *flags, *places), scenes={}))
    for name in ("model.safetensors", "README.md", "figures/predictions.png", "figures/classes.png"):
        assert (tmp_path / "out" / name).is_file(), name
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert math.isnan(results["eval_map"])
    assert math.isnan(results["eval_loss"])
