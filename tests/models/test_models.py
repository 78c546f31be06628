"""Models load as trained, or from scratch where nothing is trained, and never as something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import transformers
from torch import nn
from transformers import AutoImageProcessor, PreTrainedModel
from transformers.utils import is_torchvision_available

from hf_structkd.models.ignore_index import ignore_index_of
from hf_structkd.models.loading import (
    config_of,
    load_image_processor,
    load_student,
    load_teacher,
    student_image_processor,
)
from hf_structkd.models.parameters import count_parameters
from hf_structkd.models.restoring import restore_weights
from hf_structkd.tasks import DetectionTask, SegmentationTask, task_of
from tests.tiny_models import tiny_segmentation_model

NAMES = {0: "floor", 1: "wall", 2: "sofa"}
BACKEND = "" if is_torchvision_available() else "Pil"


def processor_class(name: str) -> Any:
    return getattr(transformers, f"{name}ImageProcessor{BACKEND}")


def same_weights(first: PreTrainedModel, second: PreTrainedModel) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def classifier() -> PreTrainedModel:
    """A model of a task that is not dense."""
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 12, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=12,
    )
    return transformers.SegformerForImageClassification(config)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder with a trained model of three classes."""
    model = tiny_segmentation_model("segformer", id2label=NAMES)
    model.save_pretrained(tmp_path / "trained")
    return tmp_path / "trained"


@pytest.fixture
def scratch(trained: Path, tmp_path: Path) -> Path:
    """A folder with the configuration alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "config.json").write_bytes((trained / "config.json").read_bytes())
    return folder


def changed(folder: Path, **settings: Any) -> None:
    """Change a folder's config.json; None removes the entry."""
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


# ---- the student ----


def test_a_folder_with_only_a_configuration_starts_from_scratch_by_the_seed(scratch: Path) -> None:
    """Without a seed no two runs, and no baseline and its student, start alike."""
    students = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        students.append(load_student(scratch, SegmentationTask))
    assert same_weights(students[0], students[1])
    assert not same_weights(students[0], students[2])
    assert students[0].training
    assert config_of(students[0]).id2label == NAMES


def test_a_folder_with_weights_loads_them(trained: Path) -> None:
    student = load_student(str(trained), SegmentationTask, id2label=NAMES)
    assert same_weights(student, tiny_segmentation_model("segformer", id2label=NAMES))
    assert student.training


def test_another_number_of_classes_makes_a_new_classifier_and_keeps_the_rest(trained: Path) -> None:
    names = {0: "wall", 1: "sofa", 2: "lamp", 3: "floor"}
    student = load_student(trained, SegmentationTask, id2label=names)
    before = tiny_segmentation_model("segformer", id2label=NAMES).state_dict()
    for name, value in student.state_dict().items():
        if name.startswith("decode_head.classifier"):
            assert value.shape[0] == 4
        else:
            assert torch.equal(value, before[name]), name
    config = config_of(student)
    assert (config.num_labels, config.id2label) == (4, names)
    assert config.label2id == {name: index for index, name in names.items()}


@pytest.mark.parametrize("arch", ["segformer", "upernet"])
@pytest.mark.parametrize("weights", [True, False])
def test_the_datas_ignored_label_is_the_students(tmp_path: Path, arch: str, weights: bool) -> None:
    """Two names for one option: under the wrong one the ignored label is trained on, or loading fails."""
    model = tiny_segmentation_model(arch)
    model.save_pretrained(tmp_path)
    if not weights:
        (tmp_path / "model.safetensors").unlink()
    student = load_student(tmp_path, SegmentationTask, ignore_index=6)
    assert ignore_index_of(config_of(student)) == 6
    assert SegmentationTask(config_of(student)).ignore_index == 6
    student.save_pretrained(tmp_path / "again")
    assert ignore_index_of(config_of(load_student(tmp_path / "again", SegmentationTask))) == 6


def test_without_settings_the_configurations_own_count(trained: Path) -> None:
    changed(trained, semantic_loss_ignore_index=9)
    student = load_student(trained, SegmentationTask)
    assert ignore_index_of(config_of(student)) == 9
    assert config_of(student).id2label == NAMES


def test_a_checkpoint_of_another_task_keeps_its_backbone(tmp_path: Path) -> None:
    """The usual student: a backbone trained to classify images."""
    model = classifier()
    model.save_pretrained(tmp_path)
    student = load_student(tmp_path, SegmentationTask, id2label=NAMES)
    assert type(student).__name__ == "SegformerForSemanticSegmentation"
    backbone = {name: value for name, value in model.state_dict().items() if name.startswith("segformer.")}
    assert backbone
    assert all(torch.equal(student.state_dict()[name], value) for name, value in backbone.items())


# ---- the teacher ----


def test_a_teacher_loads_as_trained(trained: Path) -> None:
    teacher = load_teacher(trained, SegmentationTask)
    assert same_weights(teacher, tiny_segmentation_model("segformer", id2label=NAMES))


def test_a_teacher_of_another_task_is_refused_by_name(tmp_path: Path) -> None:
    """The auto class would give it a random head, and the student would learn noise."""
    classifier().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError,
        match=rf"`teacher_model` must be a model for image-segmentation, got {tmp_path}, which is "
        r"SegformerForImageClassification; choose",
    ):
        load_teacher(tmp_path, SegmentationTask)


def test_a_teacher_of_no_stated_task_is_refused(trained: Path) -> None:
    changed(trained, architectures=None)
    with pytest.raises(ValueError, match=rf"got {trained}, which is of no stated task"):
        load_teacher(trained, SegmentationTask)


def test_a_teacher_with_missing_weights_is_refused(trained: Path) -> None:
    """Transformers fills them up with random numbers and only warns."""
    weights = transformers.AutoModelForSemanticSegmentation.from_pretrained(trained).state_dict()
    kept = {name: value for name, value in weights.items() if "classifier" not in name}
    tiny_segmentation_model("segformer", id2label=NAMES).save_pretrained(trained, state_dict=kept)
    with pytest.raises(
        ValueError,
        match=rf"`teacher_model` {trained} has no weights for \['decode_head\.classifier\..* and 2 in all;",
    ):
        load_teacher(trained, SegmentationTask)


def test_a_loaded_teacher_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"got .* which is SegformerForImageClassification;"):
        load_teacher(classifier(), SegmentationTask)
    loaded = tiny_segmentation_model("segformer")
    assert load_teacher(loaded, SegmentationTask) is loaded


# ---- a checkpoint ----


def test_a_checkpoints_weights_come_back_every_one(trained: Path) -> None:
    """Skipped silently, a resumed run goes on from its start."""
    student = tiny_segmentation_model("segformer", id2label=NAMES, seed=5)
    restore_weights(student, trained)
    assert same_weights(student, tiny_segmentation_model("segformer", id2label=NAMES))


def test_a_checkpoint_that_lacks_weights_is_refused(trained: Path) -> None:
    model = tiny_segmentation_model("segformer", id2label=NAMES)
    kept = {name: value for name, value in model.state_dict().items() if "classifier" not in name}
    model.save_pretrained(trained, state_dict=kept)
    with pytest.raises(
        RuntimeError, match=rf"{trained} lacks weights of SegformerFor.* and 2 in all\).*; resume"
    ):
        restore_weights(model, trained)


# ---- the task ----


def test_the_task_is_read_off_a_model_a_folder_or_a_path(trained: Path) -> None:
    assert task_of(tiny_segmentation_model("dpt")) is SegmentationTask
    assert task_of(trained) is SegmentationTask
    assert task_of(str(trained)) is SegmentationTask


def test_an_unknown_task_is_refused_by_the_class(tmp_path: Path) -> None:
    classifier().save_pretrained(tmp_path)
    for model in (classifier(), tmp_path):
        with pytest.raises(ValueError, match=r"`model` .* object-detection, got SegformerForImageClass"):
            task_of(model)


def test_a_configuration_without_an_architecture_asks_for_the_task(trained: Path) -> None:
    changed(trained, architectures=None)
    with pytest.raises(ValueError, match=rf"`model` {trained} .* names no architecture; pass `task`\."):
        task_of(trained)


# ---- the image processor ----


def test_no_processor_is_none(trained: Path) -> None:
    assert load_image_processor(trained) is None


def test_a_student_without_a_processor_gets_the_tasks_own(trained: Path) -> None:
    processor = student_image_processor(trained, SegmentationTask, (48, 64))
    assert type(processor).__name__ == f"SegformerImageProcessor{BACKEND}"
    assert dict(processor.size) == {"height": 48, "width": 64}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Segformer", {"image_mean": [0.1, 0.2, 0.3]}),
        ("MobileViT", {"image_mean": [0.1, 0.2, 0.3]}),  # resizes the shortest edge and crops the centre
        ("MobileNetV2", {"image_mean": [0.1, 0.2, 0.3]}),
        ("Beit", {"image_mean": [0.1, 0.2, 0.3], "do_center_crop": True}),
        ("DPT", {"image_mean": [0.1, 0.2, 0.3], "keep_aspect_ratio": True, "ensure_multiple_of": 32}),
        ("ViT", {"image_mean": [0.1, 0.2, 0.3], "do_resize": False}),
    ],
)
def test_a_students_processor_resizes_as_the_training_did(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    """A pipeline that shows the student images of another shape scores lower than it was trained to."""
    processor_class(name)(**settings).save_pretrained(tmp_path)
    processor = student_image_processor(tmp_path, SegmentationTask, (48, 80))
    processor.save_pretrained(tmp_path / "saved")
    again = AutoImageProcessor.from_pretrained(tmp_path / "saved")
    picture = PIL.Image.fromarray(np.zeros((50, 61, 3), dtype=np.uint8))
    for loaded in (processor, again):
        assert loaded(images=picture, return_tensors="pt")["pixel_values"].shape == (1, 3, 48, 80)
        assert list(loaded.image_mean or [0.1, 0.2, 0.3]) == [0.1, 0.2, 0.3]
    assert type(again) is processor_class(name)


def test_a_detectors_processor_keeps_the_aspect_that_evaluation_kept(tmp_path: Path) -> None:
    """Else a detector is scored on undistorted images, and its pipeline shows it stretched ones."""
    processor_class("Detr")(do_pad=False).save_pretrained(tmp_path)
    processor = student_image_processor(tmp_path, DetectionTask, (48, 80), keep_aspect_ratio=True)
    picture = PIL.Image.fromarray(np.zeros((50, 100, 3), dtype=np.uint8))
    assert processor(images=picture, return_tensors="pt")["pixel_values"].shape == (1, 3, 40, 80)


def test_parameters_count_frozen_once_and_no_buffers() -> None:
    shared = nn.Linear(3, 2)
    frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
    assert count_parameters(nn.Sequential(shared, shared, frozen, nn.BatchNorm1d(2))) == 8 + 4 + 4
