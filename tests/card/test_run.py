"""What a card says is read off the run, whoever built it and however far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DPTConfig

from hf_structkd import StructKDTrainer
from hf_structkd.card.card import model_card
from hf_structkd.card.facts import DataFacts, Origin, license_notice
from hf_structkd.card.run import RunNotes, card_facts
from hf_structkd.card.scores import Score
from hf_structkd.data import DataOptions, DepthOptions, DetectionOptions, SegmentationOptions
from hf_structkd.models.backbones import MobileNetV2BackboneConfig
from hf_structkd.models.shipping import needs_own_code
from tests.cases import ALONE, SEGMENTATION, arguments, make_trainer
from tests.loopback_hub.cards import check_card

TOKEN = "hf_" + "AbCd" * 8 + "Xy"


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
    told = {"teacher_metrics": trainer.evaluate_teacher(), "table": "| model |\n| --- |"}
    known = card_facts(trainer, RunNotes(data=options, command=command, **told))
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
    assert known.scores[0][:2] == ("mean_iou", "mean IoU")
    assert known.scores[0].value == pytest.approx(metrics["eval_mean_iou"], rel=1e-5)
    assert known.teacher_scores[0].value == pytest.approx(told["teacher_metrics"]["mean_iou"], rel=1e-5)
    assert known.teacher_scores[0].name == "mean_iou"
    assert known.classes == trainer.task.taught_classes() != {}
    assert known.matching["classes"].startswith(f"{len(known.classes)} shared by name")
    assert {term.title: term.weight for term in known.terms} == {
        "task loss": 1.0,
        "pixel-wise term": 1.0,
        "pair-wise term": 10.0,
        "holistic term": 0.1,
        "feature imitation": 0.0,
        "channel-wise term": 0.0,
        "attention transfer": 0.0,
    }
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            SegmentationOptions(label_values=["0", "255"], reduce_labels=True, image_size=[512, 512]),
            {"label_values": "0, 255", "reduce_labels": "True"},
        ),
        (SegmentationOptions(id2label_path="/home/me/names.json"), {"id2label_path": "names.json"}),
        (DepthOptions(depth_scale=1 / 256), {"depth_scale": "0.00390625"}),
        (DetectionOptions(bbox_format="xyxy"), {"bbox_format": "xyxy"}),
        (SegmentationOptions(dataset_name="user/data", train_split="all"), {}),
    ],
)
def test_a_card_tells_how_the_data_were_read(
    options: Any, told: dict[str, str], trainer: StructKDTrainer
) -> None:
    """Else nobody can read the same labels again; and a folder is nobody else's business."""
    before, after = card_facts(trainer).settings, card_facts(trainer, RunNotes(data=options)).settings
    assert {name: text for name, text in after.items() if name not in before} == told
    assert "/home/me" not in str(model_card(card_facts(trainer, RunNotes(data=options))))


def test_without_notes_a_card_is_complete(trainer: StructKDTrainer, caplog: pytest.LogCaptureFixture) -> None:
    """Who trains in code of their own pushes with `push_to_hub` alone; till then no licence matters."""
    trainer.hub_model_id = "user/student"
    known = card_facts(trainer)
    assert license_notice(known) is not None
    assert "licences" not in caplog.text
    assert (known.name, known.repo_id) == ("student", "user/student")
    assert (known.data, known.command, known.table, known.scores) == (None, None, None, ())
    assert check_card(str(model_card(known))) == ([], [])


def test_a_card_fits_the_repository_that_it_is_uploaded_to_later(trainer: StructKDTrainer) -> None:
    """Who looks at the student first uploads the folder by hand, and its usage would name a folder."""
    trainer.args.hub_model_id = "user/street"
    known = card_facts(trainer)
    assert (known.name, known.repo_id) == ("street", "user/street")
    assert 'model="user/street"' in model_card(known).text


def test_a_training_is_told_with_its_length(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none", max_steps=1, **ALONE), rows=4)
    trainer.train()
    trainer.log({"eval_mean_iou": 0.25})
    known = card_facts(trainer, RunNotes(data=DataOptions()))
    assert (known.steps, known.epochs, known.global_batch_size) == (1, 1.0, 4)
    assert known.train_seconds is not None
    assert known.train_seconds > 0
    assert known.scores == (Score("mean_iou", "mean IoU", 0.25),)
    assert known.teacher is None
    assert "temperature" not in known.settings
    assert known.data is not None
    assert known.data.source.generated
    assert "embedded scenes" in model_card(known).text
    given = card_facts(trainer, RunNotes(metrics={"eval_mean_iou": 0.5}))
    assert given.scores == (Score("mean_iou", "mean IoU", 0.5),)


def test_models_that_were_built_in_the_process_have_no_place(tmp_path: Path) -> None:
    """A class's name has the form of a Hub id."""
    known = card_facts(make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none")))
    assert (known.student, known.from_scratch) == (Origin(""), True)
    assert known.teacher == Origin("DPTForSemanticSegmentation")


def test_a_student_on_our_backbone_needs_the_library() -> None:
    """Without it `pipeline` does not know the architecture."""
    assert needs_own_code(DPTConfig(backbone_config=MobileNetV2BackboneConfig()))
    assert not needs_own_code(DPTConfig())


@pytest.mark.parametrize("folder", ["3", "checkpoint-500", "run_2", "seed1", "street-b0"])
def test_a_title_is_a_name(folder: str, tmp_path: Path) -> None:
    """A page whose title is "3" says nothing, and so does the list of models that it stands in."""
    known = card_facts(make_trainer(SEGMENTATION, arguments(tmp_path / folder)))
    wanted = "SegformerForSemanticSegmentation distilled from DPTForSemanticSegmentation"
    assert known.name == (folder if folder == "street-b0" else wanted)
    assert known.folder == folder


def test_weights_that_are_shares_are_told_as_what_they_were(tmp_path: Path) -> None:
    """A pair-wise weight of 0.3 that was 300 in the loss would be repeated by nobody."""
    args = arguments(tmp_path, max_steps=1, balance_steps=1, holistic_weight=0.0)
    trainer = make_trainer(SEGMENTATION, args)
    trainer.train()
    settings = card_facts(trainer).settings
    pairwise = trainer.distillation.weights_in_use["pairwise"]
    assert settings["balance_steps"] == "1"
    assert settings["weights in use"].endswith(f"pairwise {pairwise:.3g}")
    assert "ema_decay" not in settings
