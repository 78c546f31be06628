"""Every architecture that transformers has for a task, as teacher and as student."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer

from ..cases import NUM_LABELS, Rows, arguments
from ..tiny_detectors import (
    DETECTION_ARCHITECTURES,
    TEACHER_ARCHITECTURES,
    detector_labels,
    tiny_detector,
)
from ..tiny_models import (
    DEPTH_MODELS,
    SEGMENTATION_ARCHITECTURES,
    smallest_image,
    tiny_depth_model,
    tiny_segmentation_model,
)
from ..tiny_prompted import PROMPTED, PROMPTED_DETECTORS, WORDS, tiny_processor, tiny_prompted_model
from ..tiny_universal import UNIVERSAL, tiny_universal_model


@dataclass(frozen=True)
class Matrix:
    """One task's architectures: how a model and its labels are made, and what evaluation must give."""

    students: tuple[str, ...]
    teachers: tuple[str, ...]
    model: Callable[[str, int], PreTrainedModel]
    labels: Callable[[int, tuple[int, int]], Any]
    metric: str
    highest: float
    # Of the student's parameters: a detector of these does not train its backbone.
    share_that_moves: float = 0.5


def class_ids(count: int, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randint(NUM_LABELS, (count, 1, 4, 4), generator=generator).float()
    return nn.functional.interpolate(coarse, size=size).long()[:, 0]


def depth(count: int, size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return 1 + torch.rand(count, *size, generator=generator)


def boxes(count: int, size: tuple[int, int]) -> list[dict[str, torch.Tensor]]:
    """One image has three boxes, the next none."""
    labels = detector_labels(*(3 * ((index + 1) % 2) for index in range(count)), num_labels=NUM_LABELS)
    return [{**one, "canvas_size": torch.tensor([float(side) for side in size])} for one in labels]


def named(count: int) -> dict[int, str]:
    """Class names that a teacher which reads text can look for."""
    return dict(enumerate(WORDS[:count]))


def segmenter(arch: str, seed: int) -> PreTrainedModel:
    if arch in UNIVERSAL:
        return tiny_universal_model(arch, list(named(NUM_LABELS).values()))
    if arch in PROMPTED:
        return tiny_prompted_model(arch)
    return tiny_segmentation_model(arch, id2label=named(NUM_LABELS), seed=seed)


def detector(arch: str, seed: int) -> PreTrainedModel:
    """Students and teachers have not as many queries, and share not all classes."""
    if arch in PROMPTED:
        return tiny_prompted_model(arch)
    return tiny_detector(arch, id2label=named(NUM_LABELS + seed), num_queries=10 + 2 * seed, seed=seed)


MATRICES = {
    "segmentation": Matrix(
        SEGMENTATION_ARCHITECTURES,
        (*SEGMENTATION_ARCHITECTURES, *UNIVERSAL, "clipseg"),
        segmenter,
        class_ids,
        "eval_mean_iou",
        1.0,
    ),
    "depth": Matrix(
        DEPTH_MODELS,
        DEPTH_MODELS,
        lambda arch, seed: tiny_depth_model(arch, seed=seed),
        depth,
        "eval_abs_rel",
        math.inf,
    ),
    "detection": Matrix(
        DETECTION_ARCHITECTURES,
        (*TEACHER_ARCHITECTURES, *PROMPTED_DETECTORS),
        detector,
        boxes,
        "eval_map",
        1.0,
        share_that_moves=0.3,
    ),
}


def rows(matrix: Matrix, arch: str, count: int = 2) -> Rows:
    size = smallest_image(arch)
    images = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(5))
    labels = matrix.labels(count, size)
    return Rows(
        [{"pixel_values": image, "labels": label} for image, label in zip(images, labels, strict=True)]
    )


def check_pair(task: str, student_arch: str, teacher_arch: str, folder: Path) -> None:
    """One step with every term on moves the student, and it can be evaluated."""
    matrix = MATRICES[task]
    data = rows(matrix, student_arch)
    student, teacher = matrix.model(student_arch, 0), matrix.model(teacher_arch, 1)
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    args = arguments(
        folder,
        max_steps=1,
        per_device_train_batch_size=2,
        granularity=1,
        teacher_image_size=smallest_image(teacher_arch),
    )
    reader = {"teacher_processing_class": tiny_processor(teacher_arch)} if teacher_arch in PROMPTED else {}
    trainer = StructKDTrainer(student, teacher, args, train_dataset=data, eval_dataset=data, **reader)
    trainer.train()
    pair = f"{teacher_arch} teaches {student_arch}"
    log: dict[str, Any] = trainer.state.log_history[0]
    for term in ("task", "pixel", "pairwise", "holistic"):
        assert math.isfinite(log[f"loss_{term}"]), (pair, term)
    # Different random models agree nowhere: a term of 0 would not have seen them.
    assert log["loss_pixel"] > 1e-3, pair
    assert log["loss_pairwise"] > 1e-5, pair
    moved = sum(not torch.equal(p, before[name]) for name, p in student.named_parameters())
    assert moved > matrix.share_that_moves * len(before), pair
    assert 0 <= trainer.evaluate()[matrix.metric] <= matrix.highest, pair


def chain(matrix: Matrix) -> list[tuple[str, str]]:
    """The fewest pairs in which every architecture learns once and teaches once, none from its own kind."""
    count = max(len(matrix.students), len(matrix.teachers))
    return [
        (matrix.students[i % len(matrix.students)], matrix.teachers[(i + 1) % len(matrix.teachers)])
        for i in range(count)
    ]


# Of the teachers of other kinds, some are enough beside `make test-long`.
DEAR = {*UNIVERSAL, *PROMPTED} - {"mask2former", "clipseg", "grounding-dino", "owlv2"}


def is_dear(task: str, teacher_arch: str) -> bool:
    """Return whether its pair is left to `make test-long`; a DETR teaches two tasks."""
    return teacher_arch in DEAR and (task, teacher_arch) != ("detection", "detr")


@pytest.mark.parametrize(
    ("task", "student_arch", "teacher_arch"),
    [
        pytest.param(task, *pair, marks=pytest.mark.long if is_dear(task, pair[1]) else ())
        for task, matrix in MATRICES.items()
        for pair in chain(matrix)
    ],
)
def test_every_architecture_learns_and_teaches(
    task: str, student_arch: str, teacher_arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else "any model" has an exception, and its user finds it after the download."""
    check_pair(task, student_arch, teacher_arch, tmp_path)
    assert capsys.readouterr().out.count("feature map") == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "student_arch"), [(task, arch) for task, m in MATRICES.items() for arch in m.students]
)
def test_it_learns_from_every_architecture(
    task: str, student_arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else "any pair" has an exception, and its user finds it after the download."""
    teachers = MATRICES[task].teachers
    for teacher_arch in teachers:
        check_pair(task, student_arch, teacher_arch, tmp_path)
    assert capsys.readouterr().out.count("feature map") == len(teachers)
