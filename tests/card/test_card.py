"""A student's card says where it came from, what it scores and how to use it, and nothing of the machine."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData, constants
from jinja2 import Environment, StrictUndefined

from hf_structkd.card.card import TEMPLATE, model_card, template_variables, with_overrides
from hf_structkd.card.facts import CardFacts, DataFacts, Origin, TermFacts, license_notice
from hf_structkd.card.origin import find_origin
from hf_structkd.card.run import card_facts
from hf_structkd.card.scores import Score, read_scores
from hf_structkd.report.comparison import ComparisonRow, Headline, comparison_table
from hf_structkd.tasks import TASKS, Task
from tests.cases import CASES, SEGMENTATION, TaskCase, arguments, make_trainer
from tests.loopback_hub.cards import check_card, read_metadata

TOKEN = "hf_" + "AbCd" * 8 + "Xy"
TABLE = comparison_table(
    [
        ComparisonRow("teacher", {"mean_iou": 0.428}, parameters=2_040_000, milliseconds=21.0),
        ComparisonRow("alone", {"mean_iou": 0.370}, parameters=810_000, milliseconds=11.0),
        ComparisonRow("distilled", {"mean_iou": 0.428}, parameters=810_000, milliseconds=11.0),
    ],
    Headline("mean_iou", "mean IoU"),
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
        matching={"classes": "1 shared by name; tree of the teacher's unused"},
        classes={"road|way": "labels, and the teacher's road|way", "tree (teacher)": "nothing"},
        terms=(
            TermFacts("pixel-wise", 1.0, "the two outputs, pixel by pixel or query by query"),
            TermFacts("pair-wise", 10.0, "how similar the places of a feature map are to one another"),
            TermFacts("holistic", 0.0, "whole outputs, which a critic tries to tell apart"),
        ),
        settings={"temperature": "1.0", "optim": "adamw_torch"},
        data=DataFacts(
            source=Origin("user/camvid", "user/camvid", "main", ("apache-2.0",)),
            train_split="train",
            validation_split="validation",
            train_images=367,
            validation_images=101,
        ),
        dataset_ids=("user/camvid",),
        usage='for part in predictor(image):\n    print(part["label"], part["mask"].size)',
        scores=(
            Score("mean_iou", "mean IoU", 0.4281),
            Score("iou_road|way", "IoU of road|way", 0.899, of_class=True),
        ),
        teacher_scores=(
            Score("mean_iou", "mean IoU", 0.5),
            Score("iou_tree", "IoU of tree", 0.25, of_class=True),
        ),
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


def usage_snippet(card: ModelCard) -> str:
    """The code that a reader copies off a card."""
    code = re.search(r"```python\n(.*?)```", str(card.text), re.DOTALL)
    assert code is not None
    return code.group(1)


# ---- metadata ----


VARIANTS = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"repo_id": None, "dataset_ids": (), "data": None},
        {"teacher": None, "teacher_description": None, "table": None, "teacher_scores": (), "classes": {}},
        {"from_scratch": True, "student": Origin("segformer-0.8m"), "figures": (), "command": None},
        {"from_scratch": True, "student": Origin(""), "scores": (), "train_seconds": None, "settings": {}},
        {"teacher": Origin("teacher: a # b"), "license": "mit", "language": "en", "tags": ("x",)},
        {"scores": (Score("map", "mAP", math.nan), Score("silog", "SILog", math.inf))},
    ],
    ids=["all", "local", "alone", "config only", "before evaluation", "odd names", "no finite score"],
)


@VARIANTS
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


def test_scores_are_numbers_of_the_model_and_their_names_tell_their_class() -> None:
    """A time is no score, and a metric that only begins like one of a class keeps its own label."""
    metrics = {
        "eval_map": np.float32(0.5),
        "ap_50": 0.12345678,
        "eval_ap_traffic_light": math.nan,
        "my_score": 2,
        "eval_loss": 1.0,
        "eval_runtime": 3.0,
        "epoch": 2,
        "eval_per_category_iou": [0.1],
        "eval_ok": True,
    }
    scores = read_scores(metrics, {"map": "mAP", "ap_50": "AP at IoU 0.50"}, {"ap_": "AP"})
    assert [(score.name, score.label, str(score.value), score.of_class) for score in scores] == [
        ("map", "mAP", "0.5", False),
        ("ap_50", "AP at IoU 0.50", "0.123457", False),
        ("ap_traffic_light", "AP of traffic_light", "nan", True),
        ("my_score", "my score", "2.0", False),
    ]


def test_a_score_that_is_not_finite_is_in_the_text_alone() -> None:
    """NaN is no number in YAML's core schema, and the Hub refuses the whole push for it."""
    card = model_card(
        facts(scores=(Score("map", "mAP", math.nan), Score("ap_50", "AP", 0.5), Score("x", "X", math.inf)))
    )
    metrics = metadata(card)["model-index"][0]["results"][0]["metrics"]
    assert metrics == [{"type": "ap_50", "value": 0.5, "name": "AP"}]
    for row in ("| mAP | n/a |", "| AP | 0.500 |", "| X | n/a |"):
        assert row in card.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_score_of_every_task_has_a_name_for_people(case: TaskCase, tmp_path: Path) -> None:
    trainer = make_trainer(case, arguments(tmp_path, report_to="none"), rows=1)
    task = trainer.task
    for score in read_scores(trainer.evaluate(), task.metric_labels, task.class_metric_labels):
        assert score.of_class or score.name in task.metric_labels, score.name


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


def test_one_of_a_thing_is_written_in_the_singular() -> None:
    """A reader takes "1 steps" for a mistake, and trusts the other numbers less."""
    data = DataFacts(source=Origin("camvid"), train_split="train", train_images=1)
    found = text(steps=1, epochs=1.0, global_batch_size=1, data=data)
    assert "after 1 step:" in found
    assert "1 step of 1 image, 1 epoch, 1,234 s" in found
    assert "trained on `train` (1 image);" in found
    assert "1,000 steps of 4 images, 0.5 epochs," in text(steps=1000, epochs=0.5)


def test_a_teacher_that_was_built_in_the_process_is_named_once() -> None:
    """Its class is its only name, and the description begins with that class."""
    built = text(teacher=Origin("DPTForX"), teacher_description="DPTForX of 33,000 parameters")
    assert "- **Teacher:** DPTForX of 33,000 parameters, frozen\n" in built
    loaded = text(teacher=Origin("big"), teacher_description="DPTForX of 33,000 parameters")
    assert "- **Teacher:** `big`, DPTForX of 33,000 parameters, frozen\n" in loaded


def test_the_teacher_is_scored_beside_its_student() -> None:
    """A score says little without what the student could have learned; a class that it lacks has none."""
    found = text()
    assert "| metric | student | teacher |\n| --- | ---: | ---: |\n| mean IoU | 0.428 | 0.500 |" in found
    assert "| IoU of road\\|way | 0.899 |  |" in found
    assert "| metric | value |\n| --- | ---: |\n| mean IoU | 0.428 |" in text(teacher_scores=())


def test_the_match_of_the_classes_is_told() -> None:
    """A class that no teacher knows is learned from labels alone, and its score is not the distillation's."""
    found = text()
    assert "- **Classes:** 1 shared by name; tree of the teacher's unused\n" in found
    assert "| road\\|way | labels, and the teacher's road\\|way |\n| tree (teacher) | nothing |" in found
    assert "taught by" not in text(matching={}, classes={})


def test_scores_are_printed_alike_and_small_ones_do_not_vanish() -> None:
    values = {"a": 0.7, "b": 0.0, "c": 36.94512, "d": 0.000412}
    scores = tuple(Score(name, name, value) for name, value in values.items())
    found = text(scores=scores, teacher_scores=())
    for row in ("| a | 0.700 |", "| b | 0.000 |", "| c | 36.945 |", "| d | 0.000412 |"):
        assert row in found


@VARIANTS
def test_the_template_names_nothing_that_the_card_lacks(changes: dict[str, Any]) -> None:
    """Jinja prints nothing for a name that it does not know, and a card would lose a fact unseen."""
    template = Environment(undefined=StrictUndefined).from_string(TEMPLATE.read_text(encoding="utf-8"))
    known = facts(**changes)
    assert f"{template.render(template_variables(known))}\n" == str(model_card(known))


def test_what_a_name_holds_is_no_template() -> None:
    assert "{{ seed }}" in text(name="{{ seed }}")
    assert "{% raw %}" in text(settings={"a": "{% raw %}"})


def test_figures_are_embedded_by_relative_paths() -> None:
    """Absolute ones are dead links on the Hub."""
    paths = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text())
    assert paths == ["figures/predictions.png", "figures/classes.png", "figures/curves.png"]
    assert "![" not in text(figures=())


def test_no_teacher_and_no_evaluation_leave_nothing_half_said() -> None:
    found = text(teacher=None, teacher_description=None, table=None, scores=(), command=None, data=None)
    assert "without a teacher" in found
    assert "Not evaluated yet." in found
    assert "None" not in found.replace("None is stated", "")
    assert "distilled" not in found
    assert "### Command" not in found


def test_a_name_does_not_turn_into_markup() -> None:
    found = text(name="<b>*my_model*</b>")
    assert found.lstrip().startswith("# \\<b>\\*my\\_model\\*\\</b>")


# ---- usage ----


@pytest.mark.parametrize("task", [*TASKS, Task], ids=lambda task: getattr(task, "name", "another-task"))
def test_the_usage_snippet_is_python(task: type[Task]) -> None:
    """Also that of a task which says nothing of its answer."""
    name = getattr(task, "name", "another-task")
    for needs_library in (False, True):
        known = facts(pipeline_tag=name, usage=task.usage, needs_library=needs_library)
        code = ast.unparse(ast.parse(usage_snippet(model_card(known))))
        trust = ", trust_remote_code=True" if needs_library else ""
        assert f"pipeline('{name}', model='user/camvid-student'{trust})" in code
        assert "predictor(image)" in code


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
    scope: dict[str, Any] = {}
    exec(usage_snippet(model_card(card_facts(trainer))), scope)
    assert scope["predictor"].model.name_or_path == "student"
    if case is SEGMENTATION:
        assert "LABEL_" in capsys.readouterr().out
    if case.name == "depth":
        with PIL.Image.open("depth.png") as picture:
            assert picture.size == (64, 48)


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


# ---- secrets ----


def test_no_token_is_anywhere_on_a_card() -> None:
    """Whatever way it came into the facts."""
    card = model_card(facts(name=f"x {TOKEN}", command=f"run --x {TOKEN}", settings={"a": TOKEN}))
    assert TOKEN not in str(card)


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
