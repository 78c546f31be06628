"""A student on a backbone of this package loads where only Transformers is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForObjectDetection,
    AutoModelForSemanticSegmentation,
    DetrConfig,
    PreTrainedModel,
    UperNetConfig,
)

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.models.backbones import MobileNetV2BackboneConfig
from hf_structkd.models.loading import load_student
from hf_structkd.models.shipping import ship_code
from hf_structkd.tasks import DetectionTask, SegmentationTask, Task
from tests.tiny_models import tiny_segmentation_model

PROGRAM = """
import sys
from pathlib import Path
import torch, transformers
student = getattr(transformers, sys.argv[1]).from_pretrained(sys.argv[2], trust_remote_code=True).eval()
torch.save(student(torch.load(sys.argv[2] + "/images.pt")).logits, sys.argv[2] + "/logits.pt")
assert "hf_structkd" not in sys.modules
"""


def backbone() -> MobileNetV2BackboneConfig:
    return MobileNetV2BackboneConfig(depth_multiplier=0.1, min_depth=8)


def upernet() -> PreTrainedModel:
    config = UperNetConfig(backbone_config=backbone(), hidden_size=8, use_auxiliary_head=False, num_labels=3)
    return AutoModelForSemanticSegmentation.from_config(config).eval()


def detr() -> PreTrainedModel:
    sides = {f"{side}_{name}": 8 for side in ("encoder", "decoder") for name in ("ffn_dim",)}
    config = DetrConfig(
        backbone_config=backbone(),
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=5,
        **sides,
    )
    return AutoModelForObjectDetection.from_config(config).eval()


def saved(student: PreTrainedModel, folder: Path, task: type[Task]) -> Path:
    student.save_pretrained(folder)
    ship_code(student, folder, task.auto_model)
    return folder


@pytest.mark.long
@pytest.mark.parametrize(("make", "task"), [(upernet, SegmentationTask), (detr, DetectionTask)])
def test_a_process_without_this_package_gets_the_same_answers(
    make: object, task: type[Task], tmp_path: Path
) -> None:
    """It ended in `KeyError: 'structkd_mobilenet_v2'`, wherever the student was pushed to."""
    student = make()  # type: ignore[operator]
    saved(student, tmp_path / "student", task)
    images = torch.randn(1, 3, 64, 64)
    torch.save(images, tmp_path / "student" / "images.pt")
    program = (sys.executable, "-I", "-c", PROGRAM, task.auto_model.__name__, str(tmp_path / "student"))
    done = subprocess.run(
        program, env={"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "student" / "logits.pt"), student(images).logits)


def test_with_this_package_no_code_of_a_folder_runs(tmp_path: Path) -> None:
    """Code beside weights is somebody's program: it is never run unless the user says so."""
    student = upernet()
    folder = saved(student, tmp_path / "student", SegmentationTask)
    (folder / "modeling_student.py").write_text("raise SystemExit('the code of a folder runs')")
    again = load_student(folder, SegmentationTask)
    assert type(again) is type(student)
    assert torch.equal(next(again.parameters()), next(student.parameters()))


def test_a_student_of_transformers_gets_no_code(tmp_path: Path) -> None:
    """A folder with code asks whoever loads it for trust."""
    folder = saved(tiny_segmentation_model("segformer"), tmp_path / "student", SegmentationTask)
    assert not list(folder.glob("*.py"))
    assert "auto_map" not in (folder / "config.json").read_text()


def test_the_trainer_saves_the_code_with_the_student(tmp_path: Path) -> None:
    """A function that nobody calls helps nobody."""
    weights = {f"{name}_weight": 0.0 for name in ("pixel", "pairwise", "holistic")}
    args = StructKDTrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **weights)
    StructKDTrainer(upernet(), None, args).save_model()
    assert "modeling_student.StudentModel" in (tmp_path / "config.json").read_text()
    assert {path.name for path in tmp_path.glob("*.py")} == {
        "modeling_student.py",
        "structkd_mobilenet_v2.py",
    }
