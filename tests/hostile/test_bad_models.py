"""Model folders whose parts do not belong together: said, layer by layer, or refused."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_structkd import StructKDTrainer
from hf_structkd.hub.pushing import name_base
from hf_structkd.models import TeacherSource, load_image_processor, load_student, load_teacher
from hf_structkd.tasks import SegmentationTask

from ..cases import NUM_LABELS, SEGMENTATION, arguments
from ..tiny_models import tiny_segmentation_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    SEGMENTATION.student(0).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    name = "hf_structkd.models.unloaded"
    monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level("WARNING", logger=name)
    return lambda: [record.getMessage() for record in caplog.records if record.name == name]


def configured(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("read", [load_student, load_teacher, TeacherSource, load_image_processor])
def test_a_folder_has_no_revision(read: Any, folder: Path) -> None:
    """The run seemed to use "v2" and used whatever lay in the folder."""
    task = () if read is load_image_processor else (SegmentationTask,)
    with pytest.raises(ValueError, match=r"model is a folder, which has no revisions, got 'v2'; leave"):
        read(folder, *task, revision="v2")


def test_layers_without_weights_are_named(folder: Path, said: Callable[[], list[str]]) -> None:
    """A configuration of another size started half of a "pretrained" student anew, without a word of ours."""
    configured(folder, depths=[2, 1, 1, 1])
    load_student(folder, SegmentationTask)
    (text,) = said()
    assert "do not fit each other: segformer.stages.0.blocks.1.attention.k_proj, " in text
    assert "start from random values; this is right where a backbone alone has weights" in text
    with pytest.raises(ValueError, match=r"has no weights for .* a teacher must be trained"):
        load_teacher(folder, SegmentationTask)


@pytest.mark.parametrize("read", [load_student, load_teacher])
def test_a_count_that_nothing_reads_may_lack(read: Any, folder: Path, said: Callable[[], list[str]]) -> None:
    """Checkpoints of other frameworks have no `num_batches_tracked`: their teachers were refused."""
    file = folder / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if "num_batches_tracked" not in name}
    assert len(weights) < len(load_file(file))
    save_file(weights, file, metadata={"format": "pt"})
    read(folder, SegmentationTask)
    assert said() == []


@pytest.mark.parametrize("read", [load_student, load_teacher])
def test_weights_without_layers_are_named(read: Any, folder: Path, said: Callable[[], list[str]]) -> None:
    """A model with fewer layers than its weights is another function than the one that was trained."""
    deep = SEGMENTATION.student(0)
    deep.config.depths = [2, 1, 1, 1]
    type(deep)(deep.config).save_pretrained(folder)
    configured(folder, depths=[1, 1, 1, 1])
    read(folder, SegmentationTask)
    (text,) = said()
    assert "the weights of segformer.stages.0.blocks.1.attention.k_proj, " in text
    assert "are not used; this is right where" in text


def test_a_new_head_is_said_in_other_words(folder: Path, said: Callable[[], list[str]]) -> None:
    """It is wanted, and must not look like a damaged folder; nor is a whole model without a word."""
    load_student(folder, SegmentationTask)
    assert said() == []
    load_student(folder, SegmentationTask, id2label={number: str(number) for number in range(17)})
    (text,) = said()
    assert text.endswith(
        "the head starts from random values, as for other classes or another task: decode_head.classifier."
    )


def test_a_student_with_spoilt_statistics_is_refused(tmp_path: Path) -> None:
    """NaN in BatchNorm's running mean trains well, and ended the run at its first checkpoint."""
    student = tiny_segmentation_model("mobilevit", num_labels=NUM_LABELS, seed=0)
    name, norm = next((n, m) for n, m in student.named_modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.running_mean.fill_(math.nan)
    trainer = StructKDTrainer(
        student, SEGMENTATION.teacher(1), arguments(tmp_path), train_dataset=SEGMENTATION.rows(4)
    )
    with pytest.raises(ValueError, match=rf"1 of its tensors hold .* \({name}\.running_mean is the first\)"):
        trainer.train()


def test_images_that_the_student_cannot_take_are_named_with_their_size(tmp_path: Path) -> None:
    """A layer deep inside spoke of kernels and strides, or none was "found" to distil."""
    rows = SEGMENTATION.rows(4)
    for row in rows.rows:
        row["pixel_values"], row["labels"] = row["pixel_values"][:, :8, :8], row["labels"][:8, :8]
    student, teacher = SEGMENTATION.student(0), SEGMENTATION.teacher(1)
    trainer = StructKDTrainer(student, teacher, arguments(tmp_path), train_dataset=rows)
    with pytest.raises(ValueError, match=r"`model` refused images of 8 × 8 \(.*\); resize them to a height"):
        trainer.train()


def test_pushed_adapters_name_a_base_that_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They named a folder of this machine, from which nobody else can load them."""
    monkeypatch.setattr(logging.getLogger("hf_structkd.hub.pushing"), "propagate", True)
    path, local = tmp_path / "adapter_config.json", tmp_path / "base"
    cached = tmp_path / "models--user--tiny" / "snapshots" / "abc123"
    for base in (local, cached):
        base.mkdir(parents=True)
        path.write_text(json.dumps({"base_model_name_or_path": str(base), "r": 4}))
        name_base(tmp_path)
    assert json.loads(path.read_text()) == {
        "base_model_name_or_path": "user/tiny",
        "revision": "abc123",
        "r": 4,
    }
    (record,) = [record for record in caplog.records if record.name == "hf_structkd.hub.pushing"]
    assert f"name the folder {local} as their base model" in record.getMessage()
