"""A student's card says where it came from, what it scores and how to use it, and nothing of the machine."""

from __future__ import annotations

import ast
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData, constants
from transformers import DPTConfig

from hf_structkd import StructKDTrainer
from hf_structkd.card.card import model_card, with_overrides
from hf_structkd.card.command import printable_command
from hf_structkd.card.facts import CardFacts, DataFacts, Origin, license_notice
from hf_structkd.card.origin import find_origin
from hf_structkd.card.run import RunNotes, _needs_library, card_facts
from hf_structkd.card.scores import _LABELS, finite_scores, is_of_one_class, metric_label
from hf_structkd.card.text import usage_snippet
from hf_structkd.data import DataOptions, SegmentationOptions
from hf_structkd.models.backbones import MobileNetV2BackboneConfig
from hf_structkd.report.comparison import ComparisonRow, comparison_table
from hf_structkd.tasks import TASKS
from tests.cases import ALONE, CASES, SEGMENTATION, TaskCase, arguments, make_trainer
from tests.loopback_hub.cards import check_card, read_metadata

TOKEN = "hf_" + "AbCd" * 8 + "Xy"
TABLE = comparison_table(
    [
        ComparisonRow("teacher", {"mean_iou": 0.428}, parameters=2_040_000, milliseconds=21.0),
        ComparisonRow("alone", {"mean_iou": 0.370}, parameters=810_000, milliseconds=11.0),
        ComparisonRow("distilled", {"mean_iou": 0.428}, parameters=810_000, milliseconds=11.0),
    ],
    metric="mean_iou",
    metric_label="mean IoU",
)


def facts(**changes: Any) -> CardFacts:
    """A student of a pushed run with everything in it."""
    known = CardFacts(
        name="camvid-student",
        repo_id="user/camvid-student",
        pipeline_tag="image-segmentation",
        architecture="SegformerForSemanticSegmentation",
        parameters=810_000,
        student=Origin("user/mit-b0", "user/mit-b0", licenses=("apache-2.0",)),
        from_scratch=False,
        teacher=Origin("user/teacher", "user/teacher", "v1", ("apache-2.0",)),
        teacher_description="SegformerForSemanticSegmentation of 2,040,000 parameters",
        weights={"task": 1.0, "pixel": 1.0, "pairwise": 10.0, "holistic": 0.0},
        settings={"temperature": "1.0", "optim": "adamw_torch"},
        data=DataFacts(
            source=Origin("user/camvid", "user/camvid", "main", ("apache-2.0",)),
            train_split="train",
            validation_split="validation",
            train_images=367,
            validation_images=101,
        ),
        dataset_ids=("user/camvid",),
        metrics={"mean_iou": 0.4281, "iou_road|way": 0.899},
        table=TABLE,
        figures=("figures/predictions.png", "figures/classes.png", "figures/curves.png"),
        command="python examples/run_seg_distill.py \\\n    --seed 1",
        seed=1,
        steps=2760,
        epochs=30.0,
        global_batch_size=4,
        train_seconds=1234.5,
        hardware="NVIDIA H100",
        processes=2,
        versions={"torch": "2.13.0", "transformers": "5.23.0"},
    )
    return replace(known, **changes)


def metadata(card: ModelCard) -> dict[str, Any]:
    found = read_metadata(str(card))
    assert isinstance(found, dict)
    return found


def text(**changes: Any) -> str:
    return str(model_card(facts(**changes)).text)


# ---- metadata ----


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"repo_id": None, "dataset_ids": (), "data": None},
        {"teacher": None, "teacher_description": None, "table": None},
        {"from_scratch": True, "student": Origin("segformer-0.8m"), "figures": (), "command": None},
        {"from_scratch": True, "student": Origin(""), "metrics": {}, "train_seconds": None, "settings": {}},
        {"teacher": Origin("teacher: a # b"), "license": "mit", "language": "en", "tags": ("x",)},
    ],
    ids=["all", "local", "alone", "config only", "before evaluation", "odd names"],
)
def test_the_metadata_pass_validation_and_come_back_as_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    card = model_card(facts(**changes))
    assert check_card(str(card)) == ([], [])
    card.save(tmp_path / "README.md")
    loaded = ModelCard.load(tmp_path / "README.md")
    assert str(loaded) == str(card)
    again = yaml.safe_load(ModelCardData(**loaded.data.to_dict()).to_yaml())
    assert again == yaml.safe_load(card.data.to_yaml()) == metadata(card)


def test_the_metadata_of_a_finetuned_student() -> None:
    found = metadata(model_card(facts()))
    del found["model-index"]
    assert found == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "image-segmentation",
        "base_model": "user/mit-b0",
        "base_model_relation": "finetune",
        "datasets": ["user/camvid"],
        "tags": ["structkd", "knowledge-distillation", "teacher:user/teacher"],
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"from_scratch": True},
        {"student": Origin("mit-b0")},
        {"student": Origin("user/camvid-student", "user/camvid-student")},
    ],
    ids=["scratch", "local", "its own repository"],
)
def test_a_student_without_a_start_on_the_hub_has_no_base_model(changes: dict[str, Any]) -> None:
    """The teacher is none: no weight of it is in the student, and the Hub would draw it as a fine-tune."""
    found = metadata(model_card(facts(**changes)))
    assert "base_model" not in found
    assert "base_model_relation" not in found
    assert "teacher:user/teacher" in found["tags"]


def test_local_names_are_in_the_text_alone() -> None:
    """The Hub refuses a card that names a dataset or a base model that it does not have."""
    data = DataFacts(source=Origin("camvid"), validation_split="validation")
    card = model_card(facts(student=Origin("start"), teacher=Origin("big"), data=data, dataset_ids=()))
    found = metadata(card)
    assert not found.keys() & {"base_model", "datasets"}
    assert found["tags"] == ["structkd", "knowledge-distillation"]
    assert found["model-index"][0]["results"][0]["dataset"]["type"] == "local"
    for name in ("`start`", "`big`", "`camvid`"):
        assert name in card.text


def test_the_index_holds_every_score_with_its_data() -> None:
    found = metadata(model_card(facts()))
    assert found["model-index"] == [
        {
            "name": "camvid-student",
            "results": [
                {
                    "task": {"type": "image-segmentation", "name": "Image segmentation"},
                    "dataset": {
                        "name": "user/camvid",
                        "type": "user/camvid",
                        "split": "validation",
                        "revision": "main",
                    },
                    "metrics": [
                        {"type": "mean_iou", "value": 0.4281, "name": "mean IoU"},
                        {"type": "iou_road|way", "value": 0.899, "name": "IoU of road|way"},
                    ],
                }
            ],
        }
    ]


# ---- scores ----


def test_scores_are_finite_numbers_of_the_model() -> None:
    """NaN is no number in YAML's core schema, and the Hub refuses the whole push for it."""
    scores = finite_scores(
        {
            "eval_mean_iou": np.float32(0.5),
            "eval_map": 0.12345678,
            "eval_map_large": math.nan,
            "eval_silog": math.inf,
            "eval_loss": 1.0,
            "eval_runtime": 3.0,
            "epoch": 2,
            "eval_per_category_iou": [0.1],
            "eval_ok": True,
        }
    )
    assert scores == {"mean_iou": 0.5, "map": 0.123457}
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_score_of_every_task_has_a_name_for_people(case: TaskCase, tmp_path: Path) -> None:
    scores = make_trainer(case, arguments(tmp_path, report_to="none"), rows=1).evaluate()
    for name in (key.removeprefix("eval_") for key in scores):
        if name in finite_scores({name: 0.0}):
            assert name in _LABELS or is_of_one_class(name), name


def test_scores_of_one_class_are_told_by_their_name() -> None:
    assert metric_label("iou_traffic_light") == "IoU of traffic_light"
    assert metric_label("ap_cat") == "AP of cat"
    assert metric_label("my_score") == "my score"
    assert [is_of_one_class(name) for name in ("iou_a", "ap_a", "map", "mean_iou")] == [
        True,
        True,
        False,
        False,
    ]


# ---- text ----


def test_the_text_holds_what_a_reader_needs() -> None:
    found = text()
    for part in (
        TABLE,
        "[user/teacher](https://huggingface.co/user/teacher) at `v1`",
        "[user/camvid](https://huggingface.co/datasets/user/camvid)",
        "trained on `train` (367 images); scored on `validation` (101 images)",
        "| pair-wise | 10 |",
        "Switched off: holistic.",
        "| `temperature` | 1.0 |",
        "| mean IoU | 0.428 |",
        "| IoU of road\\|way | 0.899 |",
        "--seed 1",
        "2,760 steps of 4 images, 30 epochs, 1,234 s",
        "NVIDIA H100, 2 processes",
        "torch 2.13.0, transformers 5.23.0",
        "@article{liu2020structured",
        "`apache-2.0`",
    ):
        assert part in found, part


def test_scores_are_printed_alike_and_small_ones_do_not_vanish() -> None:
    found = text(metrics={"a": 0.7, "b": 0.0, "c": 36.94512, "d": 0.000412})
    for row in ("| a | 0.700 |", "| b | 0.000 |", "| c | 36.945 |", "| d | 0.000412 |"):
        assert row in found


def test_figures_are_embedded_by_relative_paths() -> None:
    """Absolute ones are dead links on the Hub."""
    paths = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text())
    assert paths == ["figures/predictions.png", "figures/classes.png", "figures/curves.png"]
    assert "![" not in text(figures=())


def test_no_teacher_and_no_evaluation_leave_nothing_half_said() -> None:
    found = text(teacher=None, teacher_description=None, table=None, metrics={}, command=None, data=None)
    assert "without a teacher" in found
    assert "Not evaluated yet." in found
    assert "None" not in found.replace("None is stated", "")
    assert "distilled" not in found
    assert "### Command" not in found


def test_a_name_does_not_turn_into_markup() -> None:
    found = text(name="<b>*my_model*</b>")
    assert found.lstrip().startswith("# \\<b>\\*my\\_model\\*\\</b>")


# ---- usage ----


@pytest.mark.parametrize("task", [*(task.name for task in TASKS), "another-task"])
def test_the_usage_snippet_is_python(task: str) -> None:
    for needs_library in (False, True):
        known = facts(pipeline_tag=task, needs_library=needs_library)
        tree = ast.parse(usage_snippet(known))
        assert f"```python\n{usage_snippet(known)}\n```" in model_card(known).text
        assert ("import hf_structkd" in ast.unparse(tree)) is needs_library
    assert f"pipeline('{task}', model='user/camvid-student')" in ast.unparse(tree)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_usage_snippet_runs(
    case: TaskCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    student = case.student(0)
    trainer = make_trainer(case, arguments("student", report_to="none"), student=student, rows=1)
    student.save_pretrained("student")
    trainer.task.image_processor((64, 64), student.config).save_pretrained("student")
    PIL.Image.fromarray(np.full((48, 64, 3), 90, dtype=np.uint8)).save("image.png")
    card = model_card(card_facts(trainer))
    code = re.search(r"```python\n(.*?)```", str(card.text), re.DOTALL)
    assert code is not None
    scope: dict[str, Any] = {}
    exec(code.group(1), scope)
    assert scope["predictor"].model.name_or_path == "student"
    if case is SEGMENTATION:
        assert "LABEL_" in capsys.readouterr().out
    if case.name == "depth":
        with PIL.Image.open("depth.png") as picture:
            assert picture.size == (64, 48)


def test_a_student_on_our_backbone_imports_the_library() -> None:
    """Without it `pipeline` does not know the architecture."""
    assert _needs_library(DPTConfig(backbone_config=MobileNetV2BackboneConfig()))
    assert not _needs_library(DPTConfig())


# ---- licences ----


def test_the_licence_is_the_teachers() -> None:
    mit = Origin("t", licenses=("mit",))
    assert metadata(model_card(facts(teacher=mit)))["license"] == "mit"
    both = Origin("t", licenses=("mit", "apache-2.0"))
    assert metadata(model_card(facts(teacher=both)))["license"] == ["mit", "apache-2.0"]


def test_no_licence_is_invented() -> None:
    """The student's start or the data may allow what the teacher forbids."""
    card = model_card(facts(teacher=Origin("t")))
    assert "license" not in metadata(card)
    assert "None is stated here. The licences behind this student are not all known" in card.text


def test_alone_the_licence_is_that_of_the_start() -> None:
    alone = {"teacher": None, "teacher_description": None}
    assert metadata(model_card(facts(**alone)))["license"] == "apache-2.0"
    assert "license" not in metadata(model_card(facts(**alone, from_scratch=True)))


def test_differing_and_unknown_licences_are_told() -> None:
    data = DataFacts(
        source=Origin("user/d", "user/d", licenses=("cc-by-nc-4.0",)),
        unlabeled=Origin("user/u", "user/u", licenses=("mit",)),
    )
    assert license_notice(facts()) is None
    assert license_notice(facts(data=data)) == (
        "The licences behind this student are not all the same (teacher user/teacher: apache-2.0; "
        "student's start user/mit-b0: apache-2.0; data user/d: cc-by-nc-4.0; unlabelled data user/u: mit); "
        "check what it may be used for."
    )
    assert "; data: not known);" in (license_notice(facts(data=None)) or "")
    assert "teacher t: not known" in (license_notice(facts(teacher=Origin("t"))) or "")
    assert license_notice(facts(data=data, license="other")) is None


def test_rendered_scenes_and_random_weights_bring_no_licence() -> None:
    data = DataFacts(source=Origin("scenes", generated=True))
    scratch = {"data": data, "from_scratch": True, "student": Origin("cfg")}
    assert license_notice(facts(**scratch)) is None
    assert license_notice(facts(**scratch, teacher=None)) is None


def test_licences_are_read_off_cards_in_folders(tmp_path: Path) -> None:
    for name, head in (("one", "license: mit"), ("two", "license: [mit, isc]"), ("none", "tags: [x]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"---\n{head}\n---\n# Card\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "README.md").write_text("---\n: [\n---\n")
    (tmp_path / "bare").mkdir()
    found = {
        path.name: find_origin(str(path), kind="model", revision="v1", token=None)
        for path in tmp_path.iterdir()
    }
    assert found["one"] == Origin("one", None, None, ("mit",))
    assert found["two"].licenses == ("mit", "isc")
    assert all(found[name].licenses == () for name in ("none", "broken", "bare"))


def test_licences_are_read_off_cards_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here off the client's cache, as it looks after a download; what it lacks is not known."""
    repository = tmp_path / "datasets--user--camvid"
    for revision in ("main", "v1"):
        snapshot = repository / "snapshots" / (revision[-1] * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "README.md").write_text(f"---\nlicense: {'mit' if revision == 'v1' else 'isc'}\n---\n")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(revision[-1] * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert find_origin("user/camvid", kind="dataset", revision=None, token=None).licenses == ("isc",)
    assert find_origin("user/camvid", kind="dataset", revision="v1", token=None) == Origin(
        "user/camvid", "user/camvid", "v1", ("mit",)
    )
    assert find_origin("user/camvid", kind="model", revision=None, token=None).licenses == ()


# ---- the command ----


def test_the_command_runs_again() -> None:
    """Read back by a shell, it is what was typed."""
    argv = [
        "run.py",
        "a.yaml",
        "--image_size",
        "180",
        "240",
        "--note=it's",
        "--label_map",
        '{"a": "b c"}',
        "",
    ]
    printed = printable_command(argv)
    assert printed.splitlines()[0] == "python run.py a.yaml \\"
    assert shlex.split(printed.replace("\\\n", "")) == ["python", *argv]
    assert printable_command(["run.py"], processes=4) == "torchrun --nproc_per_node 4 run.py"


@pytest.mark.parametrize(
    "argv",
    [
        ["--hub_token", "secret-word"],
        ["--hub-token=secret-word"],
        ["--token", "secret-word"],
        ["--TOKEN=secret-word"],
        ["-token", "secret-word"],
        ["--note", f"see {TOKEN}."],
        [f"--{TOKEN}"],
        [f"--name={TOKEN}", TOKEN],
        ["--other", "known-secret"],
    ],
)
def test_no_token_is_in_the_command(argv: list[str]) -> None:
    """A card is public, and so would the account be."""
    printed = printable_command(["run.py", *argv, "--seed", "1"], secrets=["known-secret", ""])
    assert "secret" not in printed
    assert TOKEN not in printed
    assert "1" in shlex.split(printed.replace("\\\n", ""))


def test_a_token_option_reads_the_environment_instead() -> None:
    printed = printable_command(
        ["run.py", "--hub_token", "x", "--seed", "1", "--token=y", "--hub_token", "--a"]
    )
    assert printed == (
        'python run.py \\\n    --hub_token "$HF_TOKEN" \\\n    --seed 1 \\\n    --token="$HF_TOKEN" \\\n'
        "    --hub_token \\\n    --a"
    )


def test_the_name_of_the_library_is_no_token() -> None:
    argv = ["run.py", "--output_dir", "outputs/hf_structkd", "--hub_model_id", "user/hf_structkd-student"]
    assert shlex.split(printable_command(argv).replace("\\\n", "")) == ["python", *argv]


def test_paths_of_the_machine_are_not_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [
        str(tmp_path / "run.py"),
        f"--data=/srv/{'x'}/camvid",
        "--out",
        str(tmp_path / "a" / "b"),
        "../c",
        "~/d",
    ]
    assert printable_command(argv).replace(" \\\n   ", "") == "python run.py --data=camvid --out a/b ../c d"


def test_no_token_is_anywhere_on_a_card() -> None:
    """Whatever way it came into the facts."""
    card = model_card(facts(name=f"x {TOKEN}", command=f"run --x {TOKEN}", settings={"a": TOKEN}))
    assert TOKEN not in str(card)


# ---- reading a run ----


@pytest.fixture
def trainer(tmp_path: Path) -> StructKDTrainer:
    """A distilled run before its first step, teacher and student from folders of this machine."""
    student, teacher = SEGMENTATION.student(0), SEGMENTATION.teacher(1)
    student.config.architectures = [type(student).__name__]
    student.config.save_pretrained(tmp_path / "segformer-tiny")
    teacher.save_pretrained(tmp_path / "big-teacher")
    (tmp_path / "big-teacher" / "README.md").write_text("---\nlicense: mit\n---\n")
    return StructKDTrainer(
        str(tmp_path / "segformer-tiny"),
        str(tmp_path / "big-teacher"),
        arguments(tmp_path / "my-student", report_to="none", seed=7, hub_token=TOKEN),
        train_dataset=SEGMENTATION.rows(3),
        eval_dataset=SEGMENTATION.rows(2),
    )


def test_a_run_is_read_off_its_trainer(
    trainer: StructKDTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = trainer.evaluate()
    folder = Path(str(trainer.args.output_dir)) / "figures"
    folder.mkdir(parents=True)
    (folder / "curves.png").touch()
    (tmp_path / "data").mkdir()
    options = SegmentationOptions(
        dataset_name=str(tmp_path / "data"), dataset_config_name="small", unlabeled_dataset_name="user/more"
    )
    command = ["run.py", "--hub_token", TOKEN, "--teacher", str(tmp_path / "big-teacher")]
    trainer.args.push_to_hub = True
    known = card_facts(trainer, RunNotes(data=options, command=command, table=TABLE))
    assert known.name == "my-student"
    assert known.repo_id is None
    assert known.student == Origin("segformer-tiny")
    assert known.from_scratch
    assert known.teacher == Origin("big-teacher", licenses=("mit",))
    assert known.data == DataFacts(
        source=Origin("data"),
        config="small",
        train_split="train",
        validation_split="validation",
        train_images=3,
        validation_images=2,
        unlabeled=Origin("user/more", "user/more"),
    )
    assert known.dataset_ids == ("user/more",)
    assert known.metrics["mean_iou"] == pytest.approx(metrics["eval_mean_iou"], rel=1e-5)
    assert known.weights == {"task": 1.0, "pixel": 1.0, "pairwise": 10.0, "holistic": 0.1}
    assert known.settings["granularity"] == "2"
    assert known.settings["lr_scheduler_type"] == "linear"
    assert "pixel_weight" not in known.settings
    assert known.figures == ("figures/curves.png",)
    assert (known.seed, known.steps, known.train_seconds, known.processes) == (7, 0, None, 1)
    assert known.versions["torch"] == torch.__version__ or known.versions["torch"] in torch.__version__
    assert [r.getMessage() for r in caplog.records if "licences" in r.getMessage()] == [license_notice(known)]
    card = model_card(known)
    assert check_card(str(card)) == ([], [])
    assert str(tmp_path) not in str(card)
    assert TOKEN not in str(card)


def test_without_notes_a_card_is_complete(trainer: StructKDTrainer, caplog: pytest.LogCaptureFixture) -> None:
    """Who trains in code of their own pushes with `push_to_hub` alone; till then no licence matters."""
    trainer.hub_model_id = "user/student"
    known = card_facts(trainer)
    assert license_notice(known) is not None
    assert "licences" not in caplog.text
    assert (known.name, known.repo_id) == ("student", "user/student")
    assert (known.data, known.command, known.table, known.metrics) == (None, None, None, {})
    assert check_card(str(model_card(known))) == ([], [])


def test_a_training_is_told_with_its_length(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none", max_steps=1, **ALONE), rows=4)
    trainer.train()
    trainer.log({"eval_mean_iou": 0.25})
    known = card_facts(trainer, RunNotes(data=DataOptions()))
    assert (known.steps, known.epochs, known.global_batch_size) == (1, 1.0, 4)
    assert known.train_seconds is not None
    assert known.train_seconds > 0
    assert known.metrics == {"mean_iou": 0.25}
    assert known.teacher is None
    assert "temperature" not in known.settings
    assert known.data is not None
    assert known.data.source.generated
    assert "embedded scenes" in model_card(known).text
    given = card_facts(trainer, RunNotes(metrics={"eval_mean_iou": 0.5}))
    assert given.metrics == {"mean_iou": 0.5}


def test_models_that_were_built_in_the_process_have_no_place(tmp_path: Path) -> None:
    """A class's name has the form of a Hub id."""
    known = card_facts(make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none")))
    assert (known.student, known.from_scratch) == (Origin(""), True)
    assert known.teacher == Origin("DPTForSemanticSegmentation")


# ---- what the caller asks for ----


def test_the_arguments_of_create_model_card_win() -> None:
    asked = with_overrides(
        facts(),
        language="en",
        license="mit",
        tags=["a", "structkd"],
        model_name="Better name",
        finetuned_from="user/other",
        tasks="other-task",
        dataset_tags=["user/x", "user/y"],
        dataset="X",
        dataset_args="small",
    )
    found = metadata(model_card(asked))
    assert (found["language"], found["license"], found["pipeline_tag"]) == ("en", "mit", "other-task")
    assert found["tags"] == ["structkd", "knowledge-distillation", "a", "teacher:user/teacher"]
    assert found["base_model"] == "user/other"
    assert found["datasets"] == ["user/x", "user/y"]
    assert found["model-index"][0]["name"] == "Better name"
    assert found["model-index"][0]["results"][0]["dataset"] == {
        "name": "X",
        "type": "user/x",
        "config": "small",
        "split": "validation",
    }


def test_what_the_caller_leaves_out_stays() -> None:
    assert with_overrides(facts()) == facts()
    scratch = facts(from_scratch=True, student=Origin("cfg"))
    assert with_overrides(scratch, tags="one") == replace(scratch, tags=("one",))


def test_a_caller_may_name_data_that_nothing_else_knows() -> None:
    asked = with_overrides(facts(data=None, dataset_ids=()), dataset="My photos")
    assert asked.data == DataFacts(source=Origin("My photos"))
    assert asked.dataset_ids == ()
