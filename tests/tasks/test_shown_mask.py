"""The mask of an image as its detector can take it."""

from __future__ import annotations

import pytest
import torch

from hf_structkd.features.forward import run_model
from hf_structkd.models import TeacherSource
from hf_structkd.tasks import DetectionTask
from tests.tiny_detectors import detector_images, tiny_detector
from tests.tiny_prompted import tiny_processor, tiny_prompted_model


@pytest.mark.parametrize("arch", ["deformable_detr", "grounding-dino"])
def test_an_image_away_from_the_corner_is_shown_without_dividing_by_0(arch: str) -> None:
    """Training crops pad on any side; a size of 0 makes every feature NaN, and the training ends."""
    prompted = arch == "grounding-dino"
    inner = tiny_prompted_model(arch) if prompted else tiny_detector(arch, id2label={0: "lamp"})
    source = TeacherSource(inner, DetectionTask)
    student = tiny_detector("detr", id2label={0: "lamp"}).config
    teacher = source.asked_for(student, {}, tiny_processor(arch) if prompted else None).model
    mask = torch.zeros(2, 64, 96, dtype=torch.bool)
    mask[0], mask[1, 27:60, 44:] = True, True
    task = DetectionTask(student, teacher.config)
    shown = task.model_inputs({"pixel_values": detector_images(size=(64, 96)), "pixel_mask": mask})
    assert shown["pixel_mask"].sum((1, 2)).tolist() == [64 * 96, 60 * 96]
    capture = task.find_features(teacher, shown["pixel_values"])
    assert all(maps.isfinite().all() for maps in run_model(teacher, shown, capture).features)
