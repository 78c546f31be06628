"""Models that segment by queries teach as maps of class scores, as their own post-processing has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.utils import is_torchvision_available

from hf_structkd.features.forward import run_model
from hf_structkd.models import TeacherSource, load_teacher
from hf_structkd.models.query_segmentation import log_score_map
from hf_structkd.models.teacher_forms import teacher_form
from hf_structkd.tasks import SegmentationTask
from tests.tiny_universal import UNIVERSAL, tiny_universal_model

NAMES = ["floor", "wall", "sofa", "lamp"]
PROCESSORS = {"eomt": "Eomt", "eomt_dinov3": "Eomt", "mask2former": "Mask2Former", "maskformer": "MaskFormer"}


def image_size(arch: str) -> tuple[int, int]:
    """The size of the images; EoMT takes one size alone."""
    return (32, 32) if arch.startswith("eomt") else (64, 96)


def post_processed(arch: str, output: Any, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Return the maps of the architecture's own image processor; OneFormer's form is MaskFormer's."""
    name = PROCESSORS.get(arch, "Detr" if arch == "detr" else "MaskFormer")
    backend = "" if is_torchvision_available() else "Pil"
    processor = getattr(transformers, f"{name}ImageProcessor{backend}")()
    known = {"size": {"shortest_edge": 32, "longest_edge": 32}} if arch.startswith("eomt") else {}
    return processor.post_process_semantic_segmentation(output, target_sizes=sizes, **known)


@pytest.mark.parametrize("arch", UNIVERSAL)
def test_a_teacher_of_queries_is_scored_as_its_own_post_processing_segments(arch: str) -> None:
    """Another reading of the queries scores, and teaches, another model than the user chose."""
    model = tiny_universal_model(arch, NAMES)
    images = torch.randn(2, 3, *image_size(arch), generator=torch.Generator().manual_seed(0))
    teacher = load_teacher(model, SegmentationTask)
    task = SegmentationTask(teacher.config, teacher.config)
    labels = [torch.zeros(50, 70, dtype=torch.long), torch.zeros(91, 64, dtype=torch.long)]
    batch = {"pixel_values": images, "labels": labels}
    with torch.no_grad():
        task_token = {"task_inputs": semantic_task()} if arch == "oneformer" else {}
        expected = post_processed(arch, model(pixel_values=images, **task_token), [(50, 70), (91, 64)])
        found = task.image_predictions(task.as_student(teacher(pixel_values=images), batch), batch)

    for own, theirs in zip(found, expected, strict=True):
        assert len(theirs.unique()) > 1
        torch.testing.assert_close(torch.as_tensor(own), theirs.int())


def semantic_task() -> Tensor:
    """The tokens of "the task is semantic" for two images, as OneFormer's processor pads them."""
    tokens = torch.zeros(2, 77, dtype=torch.long)
    tokens[:, :7] = torch.tensor([49406, 518, 10549, 533, 29119, 1550, 49407])
    return tokens


def test_the_score_map_is_the_sum_over_queries() -> None:
    """A formula that agrees with itself alone could be wrong on both sides."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(1, 3, 5, generator=generator)
    masks = torch.randn(1, 3, 2, 2, generator=generator)
    scores = log_score_map(classes, masks).exp()
    for k in range(4):
        by_hand = sum(
            torch.exp(classes[0, q, k]) / torch.exp(classes[0, q]).sum() / (1 + torch.exp(-masks[0, q, 1, 0]))
            for q in range(3)
        )
        torch.testing.assert_close(scores[0, k, 1, 0], by_hand)


def test_scores_of_zero_stay_finite() -> None:
    """The logarithm of 0 makes the distillation NaN at the pixels of which the teacher is surest."""
    assert (
        log_score_map(torch.tensor([[[500.0, 0.0, 0.0]]]), torch.full((1, 1, 2, 2), -500.0)).isfinite().all()
    )


def test_a_saved_teacher_of_queries_is_loaded_by_its_own_class(tmp_path: Path) -> None:
    """The auto class of the student's task would refuse the folder."""
    model = tiny_universal_model("mask2former", NAMES)
    model.save_pretrained(tmp_path)
    loaded = TeacherSource(str(tmp_path), SegmentationTask).model.inner
    assert type(loaded) is type(model)
    saved = model.state_dict()
    assert all(torch.equal(saved[name], value) for name, value in loaded.state_dict().items())


def test_the_map_of_the_image_is_the_feature() -> None:
    """A map that has met the queries says no more than the classes, which the pixels teach already."""
    model = tiny_universal_model("mask2former", NAMES)
    teacher = load_teacher(model, SegmentationTask)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    capture = SegmentationTask.find_features(teacher, images)
    with torch.no_grad():
        feature = run_model(teacher, {"pixel_values": images}, capture).features[0]
        expected = model.model.pixel_level_module(images).decoder_last_hidden_state
    torch.testing.assert_close(feature, expected)


def test_a_model_of_videos_is_refused_with_the_reason() -> None:
    """Without a reason, a user of a universal model cannot know which other would do."""
    with pytest.raises(ValueError, match=r"`teacher_model` must .* reads videos, clip by clip"):
        teacher_form(["VideomtForUniversalSegmentation"], SegmentationTask, "a folder")
