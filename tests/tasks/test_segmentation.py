"""What segmentation's terms mean: which pixels, which classes, at which size."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import EvalPrediction, PretrainedConfig, SegformerConfig
from transformers.modeling_outputs import SemanticSegmenterOutput

from hf_structkd import pixel_distillation_loss
from hf_structkd.features.forward import Forward
from hf_structkd.models.ignore_index import ignore_index_of, set_ignore_index
from hf_structkd.tasks import TASKS, SegmentationTask, find_task
from hf_structkd.training.evaluation import StreamingScores
from tests.tiny_models import (
    SEGMENTATION_ARCHITECTURES,
    random_images,
    smallest_image,
    tiny_segmentation_model,
)

IGNORED = 255
STUDENT_NAMES = ("road", "car", "tree")
# The teacher knows one class more, in another order: its columns for the student's classes are 2, 0, 3.
TEACHER_NAMES = ("car", "sky", "road", "tree")
PICK = [2, 0, 3]


def config(names: tuple[str, ...], ignore_index: int = IGNORED) -> PretrainedConfig:
    return SegformerConfig(id2label=dict(enumerate(names)), semantic_loss_ignore_index=ignore_index)


def pair_task(
    student: tuple[str, ...] = STUDENT_NAMES, teacher: tuple[str, ...] = TEACHER_NAMES, **settings: Any
) -> SegmentationTask:
    return SegmentationTask(config(student), config(teacher), **settings)


def forward(logits: Tensor, feature: Tensor | None = None) -> Forward:
    return Forward(SemanticSegmenterOutput(logits=logits), () if feature is None else (feature,))


def labels_with_ignored(*shape: int, classes: int = 3) -> Tensor:
    labels = torch.randint(0, classes, shape)
    labels[:, : shape[1] // 4] = IGNORED
    return labels


def naive_cross_entropy(logits: Tensor, labels: list[Tensor]) -> float:
    """The mean over all labelled pixels of -log p, pixel by pixel."""
    terms = []
    for scores, label in zip(logits, labels, strict=True):
        height, width = label.shape
        resized = F.interpolate(scores[None], (height, width), mode="bilinear", align_corners=False)[0]
        probabilities = resized.double().softmax(dim=0)
        for i in range(height):
            for j in range(width):
                if label[i, j] != IGNORED:
                    terms.append(-math.log(probabilities[int(label[i, j]), i, j].item()))
    return sum(terms) / len(terms)


# ---- the task loss ----


@pytest.mark.parametrize("arch", ["segformer", "mobilevit", "mobilenet_v2"])
def test_task_loss_is_the_models_own(arch: str) -> None:
    """A student alone must be what a plain Trainer would train, or the comparison is of two losses."""
    model = tiny_segmentation_model(arch, id2label=dict(enumerate(STUDENT_NAMES)))
    images = random_images(arch)
    labels = labels_with_ignored(2, *smallest_image(arch))
    output = model(pixel_values=images, labels=labels)
    loss = SegmentationTask(model.config).task_loss(output, {"labels": labels})
    torch.testing.assert_close(loss, output.loss)


def test_task_loss_counts_each_labelled_pixel_once() -> None:
    logits, labels = torch.randn(2, 3, 4, 6), labels_with_ignored(2, 8, 12)
    loss = SegmentationTask(config(STUDENT_NAMES)).task_loss(forward(logits).output, {"labels": labels})
    assert loss.item() == pytest.approx(naive_cross_entropy(logits, list(labels)), rel=1e-5)


def test_task_loss_of_labels_of_their_own_sizes_counts_each_pixel_once() -> None:
    """A mean of the images' means would weigh a pixel by how few labelled ones its image has."""
    logits = torch.randn(3, 3, 4, 6)
    labels = [labels_with_ignored(1, 8, 12)[0], labels_with_ignored(1, 5, 7)[0], torch.full((4, 4), IGNORED)]
    task = SegmentationTask(config(STUDENT_NAMES))
    loss = task.task_loss(forward(logits).output, {"labels": labels})
    assert loss.item() == pytest.approx(naive_cross_entropy(logits, labels), rel=1e-5)
    same = labels_with_ignored(3, 8, 12)
    torch.testing.assert_close(
        task.task_loss(forward(logits).output, {"labels": list(same)}),
        task.task_loss(forward(logits).output, {"labels": same}),
    )


@pytest.mark.parametrize("as_list", [False, True])
def test_a_batch_without_a_labelled_pixel_has_loss_zero_and_no_gradient(as_list: bool) -> None:
    """A plain mean is NaN there, and the weights with it."""
    logits = torch.randn(2, 3, 4, 6, requires_grad=True)
    labels = torch.full((2, 8, 12), IGNORED)
    batch = {"labels": list(labels) if as_list else labels}
    loss = SegmentationTask(config(STUDENT_NAMES)).task_loss(forward(logits).output, batch)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("size", [(8, 12), (4, 6)])
def test_task_loss_is_computed_in_single_precision(size: tuple[int, int]) -> None:
    logits, labels = torch.randn(2, 3, 4, 6).bfloat16(), labels_with_ignored(2, *size)
    loss = SegmentationTask(config(STUDENT_NAMES)).task_loss(forward(logits).output, {"labels": labels})
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(naive_cross_entropy(logits.float(), list(labels)), rel=1e-5)


# ---- batches ----


@pytest.mark.parametrize("wrong", [3, 254, -1, -100])
@pytest.mark.parametrize("as_list", [False, True])
def test_a_label_outside_of_the_classes_is_refused(wrong: int, as_list: bool) -> None:
    """On a GPU it is a device-side assertion, which names nothing; -100 is what others ignore."""
    labels = labels_with_ignored(2, 8, 12)
    labels[1, 5, 5] = wrong
    batch = {"labels": list(labels) if as_list else labels}
    with pytest.raises(
        ValueError, match=rf"`labels` must lie in \[0, 3\) or be the ignored 255, got {wrong} in image 1"
    ):
        SegmentationTask(config(STUDENT_NAMES)).check_batch(batch)


def test_a_batch_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a batch needs `labels`, got the keys \['pixel_values'\]"):
        SegmentationTask(config(STUDENT_NAMES)).check_batch({"pixel_values": torch.zeros(1, 3, 8, 8)})


def test_a_good_batch_passes() -> None:
    labels = labels_with_ignored(2, 8, 12)
    SegmentationTask(config(STUDENT_NAMES)).check_batch({"labels": labels})
    SegmentationTask(config(STUDENT_NAMES)).check_batch({"labels": list(labels)})


# ---- the pixel-wise term ----


def test_output_loss_leaves_ignored_and_padded_pixels_out() -> None:
    """There the teacher was never right or wrong, and on padding it makes things up."""
    task = pair_task()
    student = torch.randn(2, 3, 8, 8)
    teacher = torch.randn(2, 4, 8, 8)
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    labels[0, 8:16, 8:24] = IGNORED  # pixels (2..3, 2..5) of the map
    padding = torch.ones(2, 32, 32, dtype=torch.bool)
    padding[1, :, 20:] = False  # columns 5..7
    batch = {"labels": labels, "pixel_mask": padding}
    counted = torch.ones(2, 8, 8, dtype=torch.bool)
    counted[0, 2:4, 2:6] = False
    counted[1, :, 5:] = False

    def run(fill: float) -> tuple[Tensor, Tensor]:
        logits = torch.where(counted[:, None], student, fill).requires_grad_()
        maps = torch.where(counted[:, None], teacher, fill)
        loss = task.output_loss(forward(logits), forward(maps), batch, temperature=2.0)
        loss.backward()
        assert logits.grad is not None
        return loss, logits.grad

    (loss, gradient), (loss_too, gradient_too) = run(0.0), run(math.nan)
    assert (gradient[~counted.unsqueeze(1).expand_as(gradient)] == 0).all()
    assert (gradient[counted.unsqueeze(1).expand_as(gradient)] != 0).all()
    assert torch.equal(loss, loss_too)
    assert torch.equal(gradient, gradient_too)
    by_hand = pixel_distillation_loss(student, teacher[:, PICK], temperature=2.0, mask=counted)
    torch.testing.assert_close(loss, by_hand)


def test_every_pixel_of_an_unlabelled_image_counts() -> None:
    """Its labels are all ignored; masked by them, it would teach nothing at all."""
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[0, :2] = IGNORED
    labels[1] = IGNORED
    counted = labels != IGNORED
    counted[1] = True
    batch = {"labels": labels, "labeled": torch.tensor([True, False])}
    torch.testing.assert_close(
        pair_task().output_loss(forward(student), forward(teacher), batch, temperature=1.0),
        pixel_distillation_loss(student, teacher[:, PICK], mask=counted),
    )


def test_output_loss_leaves_the_batchs_labels_and_mask_as_they_are() -> None:
    labels, padding = labels_with_ignored(2, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    padding[0, 0] = False
    before = labels.clone(), padding.clone()
    logits = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    batch = {"labels": labels, "pixel_mask": padding}
    pair_task().output_loss(forward(logits[0]), forward(logits[1]), batch, temperature=1.0)
    assert torch.equal(labels, before[0])
    assert torch.equal(padding, before[1])


def test_classes_are_matched_by_name_whatever_their_order() -> None:
    """Matched by index, the student learns that the road is a car."""
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    batch = {"labels": torch.zeros(2, 8, 8, dtype=torch.long), "pixel_values": torch.zeros(2, 3, 8, 8)}
    same_order = pair_task(teacher=STUDENT_NAMES)
    sides = forward(student), forward(teacher)
    sorted_sides = forward(student), forward(teacher[:, PICK])
    torch.testing.assert_close(
        pair_task().output_loss(*sides, batch, temperature=1.0),
        same_order.output_loss(*sorted_sides, batch, temperature=1.0),
    )
    for one, other in zip(
        pair_task().score_maps(*sides, batch), same_order.score_maps(*sorted_sides, batch), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_label_map_names_what_is_called_otherwise() -> None:
    task = pair_task(
        teacher=("auto", "sky", "street", "tree"), teacher_label_map={"auto": "car", "street": "road"}
    )
    student, teacher = torch.randn(1, 3, 8, 8), torch.randn(1, 4, 8, 8)
    batch = {"labels": torch.zeros(1, 8, 8, dtype=torch.long)}
    torch.testing.assert_close(
        task.output_loss(forward(student), forward(teacher), batch, temperature=1.0),
        pixel_distillation_loss(student, teacher[:, PICK]),
    )


@pytest.mark.parametrize("finer", ["student", "teacher"])
def test_logits_are_compared_at_the_coarser_grid_before_the_softmax(finer: str) -> None:
    """A coarse teacher resized up would be followed in outlines that it does not have."""
    sizes = {"student": 4, "teacher": 4, finer: 8}
    student = torch.randn(1, 3, sizes["student"], sizes["student"])
    teacher = torch.randn(1, 4, sizes["teacher"], sizes["teacher"])
    batch = {
        "labels": torch.zeros(1, 32, 32, dtype=torch.long),
        "pixel_values": torch.zeros(1, 3, 32, 32),
    }
    coarse_student, coarse_teacher = (F.adaptive_avg_pool2d(logits, 4) for logits in (student, teacher))
    torch.testing.assert_close(
        pair_task().output_loss(forward(student), forward(teacher), batch, temperature=1.0),
        pixel_distillation_loss(coarse_student, coarse_teacher[:, PICK]),
    )
    for one, other in zip(
        pair_task().score_maps(forward(student), forward(teacher), batch),
        pair_task().score_maps(forward(coarse_student), forward(coarse_teacher), batch),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


# ---- what the pair-wise term and the critic see ----


def test_feature_pairs_share_one_grid_and_leave_padding_out() -> None:
    student, teacher = torch.randn(2, 5, 16, 16), torch.randn(2, 7, 8, 8)
    padding = torch.ones(2, 32, 32, dtype=torch.bool)
    padding[0, 16:] = False
    (pair,) = pair_task().feature_pairs(
        forward(torch.zeros(1), student), forward(torch.zeros(1), teacher), {"pixel_mask": padding}
    )
    torch.testing.assert_close(pair.student, F.avg_pool2d(student, 2))
    assert pair.teacher is teacher
    expected = torch.ones(2, 8, 8, dtype=torch.bool)
    expected[0, 4:] = False
    assert pair.mask is not None
    assert torch.equal(pair.mask, expected)


def test_feature_pairs_count_everything_where_nothing_is_padded() -> None:
    feature = torch.randn(2, 5, 8, 8)
    (pair,) = pair_task().feature_pairs(
        forward(torch.zeros(1), feature), forward(torch.zeros(1), feature), {}
    )
    assert pair.mask is None


@pytest.mark.parametrize(
    ("size", "expected"), [((4, 4), (8, 8)), ((4, 16), (8, 16)), ((16, 8), (16, 8)), ((8, 12), (8, 12))]
)
def test_score_maps_are_probabilities_of_at_least_the_critics_size(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    task = pair_task()
    images = torch.randn(2, 3, 64, 64)
    maps = task.score_maps(
        forward(torch.randn(2, 3, *size)), forward(torch.randn(2, 4, 32, 32)), {"pixel_values": images}
    )
    assert maps.images is images
    for one in (maps.real, maps.fake):
        assert one.shape == (2, task.score_map_channels, *expected)
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(dim=1), torch.ones(2, *expected))


def test_score_maps_are_zero_on_padding() -> None:
    """A critic that sees the padding tells teacher from student by it."""
    padding = torch.ones(2, 32, 32, dtype=torch.bool)
    padding[1, :, :16] = False
    batch = {"pixel_values": torch.zeros(2, 3, 32, 32), "pixel_mask": padding}
    student = torch.randn(2, 3, 8, 8, requires_grad=True)
    maps = pair_task().score_maps(forward(student), forward(torch.randn(2, 4, 8, 8)), batch)
    inside = torch.ones(2, 8, 8)
    inside[1, :, :4] = 0
    for one in (maps.real, maps.fake):
        torch.testing.assert_close(one.sum(dim=1), inside)
    maps.fake.square().sum().backward()
    assert student.grad is not None
    assert (student.grad[1, :, :, :4] == 0).all()
    assert (student.grad[0] != 0).all()


def test_what_a_model_makes_of_padding_never_reaches_the_critic() -> None:
    """One NaN in a corner that nobody looks at would end the run."""
    inside = torch.ones(1, 8, 8, dtype=torch.bool)
    inside[:, :, 4:] = False
    student, teacher = (
        torch.where(inside[:, None], torch.randn(1, classes, 8, 8), math.nan) for classes in (3, 4)
    )
    batch = {"pixel_values": torch.zeros(1, 3, 8, 8), "pixel_mask": inside}
    maps = pair_task().score_maps(forward(student.requires_grad_()), forward(teacher), batch)
    assert torch.isfinite(maps.real).all()
    maps.fake.square().sum().backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad[..., :4]).all()


def test_detached_score_maps_carry_no_graph() -> None:
    """The critic's step would go back through the student."""
    student = torch.randn(1, 3, 8, 8, requires_grad=True)
    maps = pair_task().score_maps(
        forward(student), forward(torch.randn(1, 4, 8, 8)), {"pixel_values": torch.zeros(1, 3, 8, 8)}
    )
    assert maps.fake.requires_grad
    detached = maps.detach()
    assert not detached.fake.requires_grad
    assert torch.equal(detached.fake, maps.fake)


# ---- evaluation ----


@pytest.mark.parametrize("as_list", [False, True])
def test_evaluation_statistics_count_pixels(as_list: bool) -> None:
    logits, labels = torch.randn(2, 3, 8, 12), labels_with_ignored(2, 8, 12)
    task = SegmentationTask(config(STUDENT_NAMES))
    batch = {"labels": list(labels) if as_list else labels}
    statistics = task.evaluation_statistics(forward(logits).output, batch)
    expected = torch.zeros(2, 3, 3, dtype=torch.long)
    for b in range(2):
        for i in range(8):
            for j in range(12):
                if labels[b, i, j] != IGNORED:
                    scores = logits[b, :, i, j].tolist()
                    expected[b, labels[b, i, j], scores.index(max(scores))] += 1
    assert torch.equal(statistics, expected)


def test_evaluation_is_at_each_labels_own_size() -> None:
    logits = torch.zeros(2, 3, 2, 2)
    logits[:, 1, :, 0] = 5.0
    logits[:, 2, :, 1] = 5.0
    labels = [torch.full((4, 4), 1), torch.full((6, 10), 2)]
    statistics = SegmentationTask(config(STUDENT_NAMES)).evaluation_statistics(
        forward(logits).output, {"labels": labels}
    )
    assert statistics[0].tolist() == [[0, 0, 0], [0, 8, 8], [0, 0, 0]]
    assert statistics[1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 30, 30]]


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("shift", [0.0, -500.0])
@pytest.mark.parametrize("size", [(8, 8), (32, 24), (5, 7)])
def test_a_class_that_the_teacher_lacks_never_wins(scale: float, shift: float, size: tuple[int, int]) -> None:
    """A teacher scored on classes it never saw looks worse than it is, and the gap smaller."""
    task = pair_task(student=("road", "bus", "car", "tree"))
    teacher = torch.randn(2, 4, 8, 8) * scale + shift
    output = task.as_student(forward(teacher).output, {})
    assert output.logits.shape == (2, 4, 8, 8)
    assert torch.equal(output.logits[:, [0, 2, 3]], teacher[:, PICK])
    for label in range(4):
        statistics = task.evaluation_statistics(output, {"labels": torch.full((2, *size), label)})
        assert (statistics[:, :, 1] == 0).all()
        assert statistics.sum() == 2 * size[0] * size[1]


def test_half_precision_teachers_are_laid_out_in_single() -> None:
    """Half precision has no -10,000 beside fractions."""
    logits = torch.randn(1, 4, 8, 8).half()
    output = pair_task(student=("road", "bus", "car", "tree")).as_student(forward(logits).output, {})
    assert output.logits.dtype == torch.float32
    assert torch.isfinite(output.logits).all()


def test_scores_are_plain_numbers() -> None:
    """No log takes a list; a class that nowhere occurs has no score."""
    streaming = StreamingScores(SegmentationTask(config(STUDENT_NAMES)))
    first, second, third = (
        EvalPrediction(np.array([matrix]), np.zeros(1))
        for matrix in (
            [[6, 2, 0], [0, 4, 0], [0, 0, 0]],
            [[0, 0, 0], [4, 0, 0], [0, 0, 0]],
            [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
        )
    )
    assert streaming(first, compute_result=False) == {}
    scores = streaming(second)
    assert all(type(value) is float for value in scores.values())
    assert scores["mean_iou"] == pytest.approx((6 / 12 + 4 / 10) / 2)
    assert scores["overall_accuracy"] == pytest.approx(10 / 16)
    assert any(math.isnan(value) for value in scores.values())
    assert streaming(third)["mean_iou"] == 1.0


# ---- the configurations ----


def test_a_single_class_is_refused() -> None:
    """The softmax over one class is always 1."""
    with pytest.raises(ValueError, match=r"`num_labels` must be at least 2, got 1\."):
        SegmentationTask(config(("road",)))


def test_models_without_a_common_class_are_refused() -> None:
    with pytest.raises(ValueError, match=r"share too few classes by name \(0"):
        pair_task(teacher=("dog", "cat"))


def test_the_critic_sees_the_shared_classes() -> None:
    assert pair_task().score_map_channels == 3
    assert pair_task(student=("road", "bus", "car")).score_map_channels == 2


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_every_architecture_is_known_and_keeps_its_ignored_label(arch: str) -> None:
    model = tiny_segmentation_model(arch)
    assert find_task(type(model).__name__) is SegmentationTask
    assert ignore_index_of(model.config) == IGNORED
    set_ignore_index(model.config, 11)
    assert SegmentationTask(model.config).ignore_index == 11
    labels = torch.full((2, *smallest_image(arch)), 11)
    labels[:, :4] = 2
    loss = SegmentationTask(model.config).task_loss(model(random_images(arch)), {"labels": labels})
    assert torch.isfinite(loss)
    assert loss > 0


def test_a_configuration_that_says_nothing_gets_an_ignored_label() -> None:
    bare = PretrainedConfig(id2label=dict(enumerate(STUDENT_NAMES)))
    assert ignore_index_of(bare) == 255
    set_ignore_index(bare, 0)
    assert ignore_index_of(bare) == 0


def test_an_unknown_model_class_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"segmentation, depth-estimation, object-detection, got BertModel; .* AutoModelForSemanticSeg",
    ):
        find_task("BertModel")


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_own_processor_resizes_to_height_and_width(task: Any) -> None:
    processor = task.image_processor((48, 64), SegformerConfig())
    images = torch.zeros(3, 20, 30, dtype=torch.uint8).numpy()
    assert processor(images=images, return_tensors="pt")["pixel_values"].shape == (1, 3, 48, 64)


def test_an_ignored_class_id_is_neither_taught_nor_chosen_by_the_teacher() -> None:
    """The student would learn from the teacher what its labels say is no class."""
    names = ("road", "car", "tree")
    task = SegmentationTask(config(names, ignore_index=1), config(TEACHER_NAMES))
    assert task.labels is not None
    assert (task.labels.student_ids, task.labels.teacher_ids) == ((0, 2), ((2,), (3,)))
    sure_of_a_car = torch.zeros(1, 4, 2, 2).index_fill(1, torch.tensor([0]), 9.0)
    assert (task.as_student(forward(sure_of_a_car).output, {}).logits.argmax(1) != 1).all()
    assert task.describe()["classes"] == (
        "2 shared by name; 2 (car, sky) of the teacher's unused; car is the ignored label 1: no class"
    )


def test_labels_that_are_all_ignored_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Dummy labels of images without labels switch the teacher off too, and every loss is 0."""
    task, ignored = pair_task(), torch.full((2, 4, 4), IGNORED)
    one = ignored.clone()
    one[1, 0, 0] = 2
    with caplog.at_level(logging.WARNING):
        task.check_training_batch({"labels": one})
        task.check_training_batch({"labels": ignored, "labeled": torch.tensor([False, False])})
        assert not caplog.text
        task.check_training_batch({"labels": list(ignored)})
        task.check_training_batch({"labels": ignored})
    assert caplog.text.count("All `labels` of a batch are the ignored 255: its task loss is 0") == 1
