"""A student starts from what fits of its teacher, class by class and layer by layer, and says how much."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel, SegformerForSemanticSegmentation

from hf_structkd.matching.label_spaces import LabelMatch, match_label_spaces
from hf_structkd.models.initialization import read_layers, start_from_teacher
from tests.tiny_configs import SEGMENTATION
from tests.tiny_detectors import tiny_detector
from tests.tiny_models import tiny_segmentation_model

TEACHER_NAMES = {0: "wall", 1: "floor", 2: "lamp", 3: "sofa"}
STUDENT_NAMES = {0: "sofa", 1: "cat", 2: "wall", 3: "floor"}


def segformer(depth: int) -> PreTrainedModel:
    config = SEGMENTATION["segformer"]()
    config.depths = [depth, 1, 1, 1]
    return SegformerForSemanticSegmentation(config)


def match(student: PreTrainedModel, teacher: PreTrainedModel) -> LabelMatch:
    return match_label_spaces(student.config.id2label, teacher.config.id2label)


def test_the_rows_of_a_classifier_follow_the_names_of_the_classes() -> None:
    """Rows that are copied by their number let the student call every wall a sofa at its start."""
    teacher = tiny_segmentation_model("segformer", id2label=TEACHER_NAMES, seed=1)
    student = tiny_segmentation_model("segformer", id2label=STUDENT_NAMES, seed=2)
    cat = student.decode_head.classifier.weight[1].clone()

    start = start_from_teacher(student, teacher, match(student, teacher))

    own, theirs = student.decode_head.classifier, teacher.decode_head.classifier
    for mine, his in ((0, 3), (2, 0), (3, 1)):
        assert torch.equal(own.weight[mine], theirs.weight[his])
        assert torch.equal(own.bias[mine], theirs.bias[his])
    assert torch.equal(own.weight[1], cat)
    rest = {name: t for name, t in teacher.state_dict().items() if "classifier" not in name}
    assert all(torch.equal(student.state_dict()[name], tensor) for name, tensor in rest.items())
    assert start.tensors == start.of_tensors
    assert start.of_values - start.values == own.weight[1].numel() + 1


@pytest.mark.parametrize("arch", ["detr", "deformable_detr"])
def test_no_object_stays_the_last_class_of_a_detector(arch: str) -> None:
    """A row of "no object" in a class's place finds that class everywhere."""
    teacher = tiny_detector(arch, id2label=TEACHER_NAMES, seed=1)
    student = tiny_detector(arch, id2label={0: "sofa", 1: "wall"}, seed=2)
    start_from_teacher(student, teacher, match(student, teacher))
    heads = [name for name in student.state_dict() if "class" in name and name.endswith("bias")]
    assert heads
    for name in heads:
        own, theirs = student.state_dict()[name], teacher.state_dict()[name]
        assert torch.equal(own[:2], theirs[[3, 0]])
        assert torch.equal(own[2:], theirs[4:])


def test_a_shallower_student_takes_layers_at_equal_distances() -> None:
    """The first layers alone would be an encoder that stops in its middle."""
    teacher, student = segformer(depth=4), segformer(depth=2)
    start = start_from_teacher(student, teacher, match(student, teacher))

    blocks = [model.segformer.stages[0].blocks for model in (student, teacher)]
    for mine, his in ((0, 0), (1, 2)):
        pairs = zip(blocks[0][mine].parameters(), blocks[1][his].parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert "segformer.stages.0.blocks has the layers 0, 2" in str(start)


def test_models_that_share_nothing_are_refused() -> None:
    """A run that was asked to start from the teacher and starts from chance looks like a bad method."""
    teacher = tiny_segmentation_model("upernet", id2label=TEACHER_NAMES)
    student = tiny_segmentation_model("segformer", id2label=TEACHER_NAMES)
    with pytest.raises(ValueError, match=r"`init_student_from_teacher` must be off for a Segformer.*UperNet"):
        start_from_teacher(student, teacher, match(student, teacher))


def test_layers_are_taken_by_their_numbers_where_these_are_named() -> None:
    """Every second layer from the second on is another start than from the first on."""
    teacher, student = segformer(depth=4), segformer(depth=2)
    start = start_from_teacher(student, teacher, layers=read_layers(["*.stages.0.blocks=1,3"]))
    blocks = [model.segformer.stages[0].blocks for model in (student, teacher)]
    for mine, his in ((0, 1), (1, 3)):
        pairs = zip(blocks[0][mine].parameters(), blocks[1][his].parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert "segformer.stages.0.blocks has the layers 1, 3" in str(start)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*.stages.0.blocks=0,1,2", "must name 2 of the layers 0 to 3 of the teacher for .*, got 0, 1, 2"),
        ("*.stages.0.blocks=0,4", "must name 2 of the layers 0 to 3 .*, got 0, 4"),
        (
            "*.decoder=0,1",
            r"must match lists of layers of both models, got '\*\.decoder'; name one of .*blocks",
        ),
        ("blocks", "must be written as NAME=0,2,4, got 'blocks'"),
    ],
)
def test_layers_that_are_not_there_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"`teacher_layers` {message}"):
        start_from_teacher(segformer(depth=2), segformer(depth=4), layers=read_layers([text]))
