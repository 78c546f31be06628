"""A network of one's own and a file of operations go through the commands like any pair of models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSemanticSegmentation

from hf_structkd import wrap_model
from hf_structkd.cli.commands import evaluate
from hf_structkd.cli.distil import distil
from hf_structkd.cli.script_args import parse_run
from hf_structkd.scenes.scenes import CLASS_NAMES
from hf_structkd.tasks import SegmentationTask
from tests.models.networks import unet

CLASSES = dict(enumerate(CLASS_NAMES))


@pytest.mark.long
def test_a_wrapped_student_learns_from_a_file_and_is_saved_with_its_code(
    tmp_path: Path, trusted_code: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two of the parts it could get lost: the code, the normalisation, the card's line."""
    arguments = {"width": 4, "outputs": len(CLASSES)}
    images = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "image_size": (64, 64)}
    student = wrap_model(unet.UNet, arguments, task="segmentation", id2label=CLASSES, read="maps", **images)
    student.save_pretrained(tmp_path / "student")
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        student.inner.eval(), (torch.rand(2, 3, 64, 64),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(program, tmp_path / "teacher.pt2")
    (tmp_path / "id2label.json").write_text(json.dumps(CLASSES))
    flags = (
        *("--student_model_name_or_path", str(tmp_path / "student"), "--trust_remote_code"),
        *("--teacher_model_name_or_path", str(tmp_path / "teacher.pt2"), "--pairwise_weight", "0"),
        *(
            "--image_size",
            "64",
            "64",
            "--max_train_samples",
            "3",
            "--max_eval_samples",
            "1",
            "--max_steps",
            "2",
        ),
        *("--ema_decay", "0.5", "--holistic_warmup_steps", "2", "--use_cpu", "--report_to", "none"),
        *("--output_dir", str(tmp_path / "out"), "--dataloader_pin_memory", "false", "--logging_steps", "1"),
    )
    distil(parse_run(SegmentationTask, flags, scenes={}))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "trust_remote_code=True" in card
    assert "teacher.pt2" in card
    assert "teacher" in capsys.readouterr().out
    again = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert again.config.id2label == CLASSES
    assert not torch.equal(again.inner.head.weight, student.inner.head.weight)
    scored = ("--trust_remote_code", "--max_eval_samples", "1", "--repeats", "1", "--image_size", "64", "64")
    evaluate.run([str(tmp_path / "out"), *scored])
    assert "mean IoU" in capsys.readouterr().out
