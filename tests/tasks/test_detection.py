"""What detection's terms and scores mean: which queries, which classes, which boxes, in whose pixels."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from hf_structkd import pairwise_distillation_loss
from hf_structkd.features.forward import Forward
from hf_structkd.losses import (
    DetectionHead,
    foreground_probabilities,
    query_distillation_loss,
    render_detections,
)
from hf_structkd.metrics import PADDING, decode_detections
from hf_structkd.metrics._detections import DETECTION, TRUTH
from hf_structkd.tasks import DetectionTask, find_task
from hf_structkd.tasks.detectors import DetectionQueries, detection_head, final_queries
from hf_structkd.terms import PairwiseTerm
from tests.cases import DETECTION as CASE
from tests.cases import Rows, arguments, make_trainer
from tests.tiny_detectors import (
    ALL_DETECTION_ARCHITECTURES,
    DETECTION_ARCHITECTURES,
    WITHOUT_CLASSES,
    WITHOUT_TRAINING,
    detector_images,
    detector_labels,
    shared,
)

HEADS: tuple[DetectionHead, ...] = ("softmax", "sigmoid")
STUDENT_NAMES = ("cat", "dog", "owl")
# The teacher knows one class more, in another order: its columns for the student's classes are 2, 0, 3.
TEACHER_NAMES = ("dog", "fox", "cat", "owl")
PICK = [2, 0, 3]

over_heads = pytest.mark.parametrize(
    ("student_head", "teacher_head"), [(one, other) for one in HEADS for other in HEADS]
)
over_trainable = pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)


def config(names: tuple[str, ...], **settings: Any) -> PretrainedConfig:
    return PretrainedConfig(id2label=dict(enumerate(names)), **settings)


def pair_task(
    student: tuple[str, ...] = STUDENT_NAMES, teacher: tuple[str, ...] = TEACHER_NAMES, **options: Any
) -> DetectionTask:
    return DetectionTask(config(student), config(teacher), **options)


def logits_of(head: DetectionHead, classes: int, queries: int = 6) -> Tensor:
    """For two images; of a softmax head the last channel is "no object"."""
    return 2 * torch.randn(2, queries, classes + (head == "softmax"))


def boxes_of(queries: int = 6) -> Tensor:
    sides = 0.1 + 0.5 * torch.rand(2, queries, 2)
    return torch.cat([sides / 2 + (1 - sides) * torch.rand(2, queries, 2), sides], dim=2)


def forward(logits: Tensor, boxes: Tensor, *levels: Tensor) -> Forward:
    return Forward(DetrObjectDetectionOutput(logits=logits, pred_boxes=boxes), levels)


def pick(logits: Tensor, ids: list[int], head: DetectionHead) -> Tensor:
    """The columns of these classes, and "no object" behind them."""
    return logits[..., [*ids, -1]] if head == "softmax" else logits[..., ids]


def labels_with(
    *boxes: list[float], canvas: tuple[float, float] = (64, 64), **more: Tensor
) -> dict[str, Any]:
    """Labels of class 0, 1, ... as evaluation rows have them."""
    return {
        "class_labels": torch.arange(len(boxes)),
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "canvas_size": torch.tensor(canvas),
        **more,
    }


def training(arch: str) -> PreTrainedModel:
    """In train mode: with denoising queries, groups of queries and losses of every layer."""
    return copy.deepcopy(shared(arch)).train()


def loss_of(model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """As the trainer computes it; seeded, for the noise of denoising queries."""
    task = DetectionTask(model.config)  # type: ignore[arg-type]
    torch.manual_seed(3)
    return task.task_loss(task.student_forward(model, batch, None).output, batch)


# ---- the task loss ----


@over_trainable
def test_the_task_loss_is_the_models_own(arch: str) -> None:
    """A student alone must be what a plain Trainer would train, or the comparison is of two losses."""
    images, labels = detector_images(size=(64, 96)), detector_labels(3, 1)
    mask = torch.ones(2, 64, 96, dtype=torch.bool)
    mask[1, :, 64:] = False
    loss = loss_of(training(arch), {"pixel_values": images, "labels": labels, "pixel_mask": mask})
    torch.manual_seed(3)
    own = training(arch)(pixel_values=images, pixel_mask=mask.long(), labels=labels).loss
    assert torch.isfinite(loss)
    torch.testing.assert_close(loss, own, rtol=1e-5, atol=0)


@pytest.mark.parametrize("arch", ["detr", "rt_detr"])
def test_crowds_are_not_trained_on(arch: str) -> None:
    """A box around a crowd would be learned as one huge object."""
    images, labels = detector_images(), detector_labels(3, 1)
    single = [{key: value[:1] for key, value in one.items()} for one in labels]
    crowd = [torch.tensor([False, True, True]), torch.tensor([False])]
    marked = [{**one, "crowd": of_image} for one, of_image in zip(labels, crowd, strict=True)]
    without = loss_of(training(arch), {"pixel_values": images, "labels": single})
    assert torch.equal(loss_of(training(arch), {"pixel_values": images, "labels": marked}), without)
    assert not torch.equal(loss_of(training(arch), {"pixel_values": images, "labels": labels}), without)


@over_trainable
@pytest.mark.parametrize("counts", [(2, 0), (0, 0)])
def test_images_without_a_box_are_trained_on(arch: str, counts: tuple[int, int]) -> None:
    """Else the student never learns that there may be nothing, or the run ends at the first such batch."""
    model = training(arch)
    loss = loss_of(model, {"pixel_values": detector_images(), "labels": detector_labels(*counts)})
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_a_batch_without_a_box_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    """All terms on; evaluated, an image without a box counts what is found in it as wrong."""
    empty = {**labels_with(), "crowd": torch.zeros(0, dtype=torch.bool)}
    rows = CASE.rows(4).rows
    bare = Rows([{"pixel_values": row["pixel_values"], "labels": empty} for row in rows])
    args = arguments(tmp_path, max_steps=1, per_device_eval_batch_size=2)
    mixed = Rows([*bare.rows[:2], *rows])
    trainer = make_trainer(CASE, args, train_dataset=bare, eval_dataset=mixed)
    trainer.train()
    log = trainer.state.log_history[0]
    assert all(math.isfinite(log[f"loss_{term}"]) for term in ("task", "pixel", "pairwise", "holistic"))
    metrics = trainer.evaluate()
    assert math.isfinite(metrics["eval_loss"])
    assert 0 <= metrics["eval_map"] <= 1
    assert 0 <= trainer.evaluate_teacher()["map"] <= 1
    nothing = trainer.evaluate(bare)
    assert math.isnan(nothing["eval_loss"])
    assert math.isnan(nothing["eval_map"])


# ---- what is not finite ----

# Weights that only training on labels reads: without labels all is finite.
READ_ON_LABELS = [
    ("rt_detr", "model.denoising_class_embed.weight"),
    ("d_fine", "model.denoising_class_embed.weight"),
    ("rf_detr", "model.enc_out_bbox_embed.1.layers.0.weight"),
    ("lw_detr", "model.enc_out_bbox_embed.1.layers.0.weight"),
]


@over_trainable
@pytest.mark.parametrize("mode", [True, False])
def test_an_image_that_is_not_finite_gives_a_loss_of_nan(arch: str, mode: bool) -> None:
    """Matching refuses it in its own words, and the trainer could not save what was good before."""
    images = detector_images()
    images[1, :, 5, 5] = math.nan
    model = training(arch).train(mode)
    assert loss_of(model, {"pixel_values": images, "labels": detector_labels(2, 1)}).isnan()


@over_trainable
def test_weights_that_are_not_finite_give_a_loss_of_nan(arch: str) -> None:
    model = training(arch)
    for parameter in model.parameters():
        nn.init.constant_(parameter, math.nan)
    loss = loss_of(model, {"pixel_values": detector_images(), "labels": detector_labels(2, 1)})
    assert loss.isnan()
    loss.backward()  # of the student's graph, as DDP expects it


@pytest.mark.parametrize(("arch", "weight"), READ_ON_LABELS)
def test_a_weight_that_only_training_reads_gives_a_loss_of_nan(arch: str, weight: str) -> None:
    model = training(arch)
    nn.init.constant_(model.get_parameter(weight), math.nan)
    assert loss_of(model, {"pixel_values": detector_images(), "labels": detector_labels(2, 1)}).isnan()


@pytest.mark.parametrize(
    ("arch", "box", "error"),
    [
        ("detr", [0.5, 0.5, math.nan, 0.2], "boxes2 must be in"),
        ("yolos", [0.5, 0.5, -0.2, 0.2], "boxes2 must"),
    ],
)
def test_an_error_of_the_model_about_the_labels_comes_through(
    arch: str, box: list[float], error: str
) -> None:
    """As NaN it would send its reader to the learning rate."""
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([box])}] * 2
    with pytest.raises(ValueError, match=error):
        loss_of(training(arch), {"pixel_values": detector_images(), "labels": labels})


@pytest.mark.parametrize("spoilt", ["logits", "boxes"])
def test_the_output_loss_of_a_student_that_is_not_finite_is_nan(spoilt: str) -> None:
    logits, boxes = logits_of("sigmoid", 3), boxes_of()
    (logits if spoilt == "logits" else boxes)[1, 2, 0] = math.nan
    logits.requires_grad_()
    teacher = forward(logits_of("softmax", 4), boxes_of())
    loss = pair_task().output_loss(forward(logits, boxes), teacher, {}, temperature=1.0)
    assert loss.isnan()
    loss.backward()


# ---- the pixel-wise term ----


@over_heads
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_output_loss_is_query_distillation_over_the_shared_classes(
    student_head: DetectionHead, teacher_head: DetectionHead, temperature: float
) -> None:
    """Matched by index, the student learns that the cat is a dog; without its last place, "no object"."""
    student, teacher = logits_of(student_head, 3), logits_of(teacher_head, 4, queries=9)
    boxes, theirs = boxes_of(), boxes_of(9)
    torch.testing.assert_close(
        pair_task().output_loss(
            forward(student, boxes), forward(teacher, theirs), {}, temperature=temperature
        ),
        query_distillation_loss(
            student,
            boxes,
            pick(teacher, PICK, teacher_head),
            theirs,
            student_head=student_head,
            teacher_head=teacher_head,
            temperature=temperature,
        ),
    )


@over_heads
def test_classes_that_only_the_student_knows_are_not_taught(
    student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    """The teacher says nothing of them; read as "no", it would unteach what the labels teach."""
    names, ids = ("ant", "owl", "bee", "dog"), [1, 3]  # of which the teacher calls two: its columns 3 and 0
    student = logits_of(student_head, 4).requires_grad_()
    teacher, boxes, theirs = logits_of(teacher_head, 4), boxes_of(), boxes_of()
    loss = pair_task(names).output_loss(
        forward(student, boxes), forward(teacher, theirs), {}, temperature=1.0
    )
    expected = query_distillation_loss(
        pick(student, ids, student_head),
        boxes,
        pick(teacher, [3, 0], teacher_head),
        theirs,
        student_head=student_head,
        teacher_head=teacher_head,
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert student.grad is not None
    assert (student.grad[..., [0, 2]] == 0).all()
    assert student.grad[..., [*ids, *([4] if student_head == "softmax" else [])]].any(dim=1).all()


@pytest.mark.parametrize("teacher_head", HEADS)
def test_the_probabilities_of_merged_classes_are_added(teacher_head: DetectionHead) -> None:
    """Of a softmax; the odds are, of which a sigmoid has its own."""
    task = pair_task(
        ("cat", "dog"),
        ("kitten", "dog", "tomcat", "fox"),
        teacher_label_map={"kitten": "cat", "tomcat": "cat"},
    )
    teacher, theirs = logits_of(teacher_head, 4), boxes_of()
    if teacher_head == "softmax":
        shares = teacher[..., [0, 1, 2, 4]].softmax(dim=-1)
        merged = torch.stack([shares[..., 0] + shares[..., 2], shares[..., 1], shares[..., 3]], dim=-1).log()
    else:
        odds = teacher.sigmoid() / (1 - teacher.sigmoid())
        merged = torch.stack([odds[..., 0] + odds[..., 2], odds[..., 1]], dim=-1).log()
    student, boxes = logits_of("sigmoid", 2), boxes_of()
    torch.testing.assert_close(
        task.output_loss(forward(student, boxes), forward(teacher, theirs), {}, temperature=2.0),
        query_distillation_loss(
            student, boxes, merged, theirs, student_head="sigmoid", teacher_head=teacher_head, temperature=2.0
        ),
        rtol=1e-4,
        atol=1e-5,
    )
    assert task.settings() == {"shared_classes": [[0, 1], [[0, 2], [1]]]}


# ---- what the pair-wise term sees ----


def pyramid(channels: int, *sides: int) -> list[Tensor]:
    return [torch.randn(2, channels, side, side) for side in sides]


def test_feature_pairs_are_levels_of_one_size_without_the_padding() -> None:
    """On padding the teacher makes things up, and a level of another size shows other things."""
    student, teacher = pyramid(5, 16, 8), pyramid(7, 32, 16, 4)
    padding = torch.ones(2, 64, 64, dtype=torch.bool)
    padding[0, :, 32:] = False
    queries = logits_of("sigmoid", 3), boxes_of()
    pairs = pair_task().feature_pairs(
        forward(*queries, *student), forward(*queries, *teacher), {"pixel_mask": padding}
    )
    assert [pair.student.shape[-1] for pair in pairs] == [16, 4]
    assert pairs[0].student is student[0]
    torch.testing.assert_close(pairs[1].student, F.avg_pool2d(student[1], 2))
    assert all(pair.teacher is level for pair, level in zip(pairs, teacher[1:], strict=True))
    for pair in pairs:
        side = pair.student.shape[-1]
        expected = torch.ones(2, side, side, dtype=torch.bool)
        expected[0, :, side // 2 :] = False
        assert pair.mask is not None
        assert torch.equal(pair.mask, expected)


def test_feature_pairs_count_everything_where_nothing_is_padded() -> None:
    side = forward(logits_of("sigmoid", 3), boxes_of(), *pyramid(5, 8))
    assert [pair.mask for pair in pair_task().feature_pairs(side, side, {})] == [None]


def pairwise(sides: tuple[int, ...], granularity: int) -> tuple[Tensor, list[Tensor]]:
    """The pair-wise term of two pyramids of these sides, and that of each level by itself."""
    queries = logits_of("sigmoid", 3), boxes_of()
    student, teacher = pyramid(5, *sides), pyramid(7, *sides)
    term = PairwiseTerm(granularity=granularity)
    value = term(pair_task(), forward(*queries, *student), forward(*queries, *teacher), {})
    single = [
        pairwise_distillation_loss(one, other, granularity=granularity)
        for one, other in zip(student, teacher, strict=True)
        if one.shape[-1] > granularity
    ]
    return value, single


@pytest.mark.parametrize(("sides", "granularity"), [((8, 4, 1), 1), ((8, 4, 2), 2), ((8, 3), 4)])
def test_a_level_with_a_single_node_is_left_out(sides: tuple[int, ...], granularity: int) -> None:
    """Nothing can be compared with it, and small images have such levels."""
    value, single = pairwise(sides, granularity)
    assert len(single) == len(sides) - 1
    torch.testing.assert_close(value, torch.stack(single).mean())


def test_where_every_level_has_a_single_node_the_loss_says_so() -> None:
    """A term over no level would be NaN, or train on nothing."""
    with pytest.raises(ValueError, match=r"`granularity`"):
        pairwise((4, 2), 4)


# ---- what the critic sees ----


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((64, 96), (8, 12)),
        ((256, 128), (32, 16)),
        ((65, 66), (9, 9)),
        ((32, 128), (8, 16)),
        ((16, 16), (8, 8)),
    ],
)
def test_score_maps_are_an_eighth_of_the_image_and_at_least_the_critics_smallest(
    image: tuple[int, int], expected: tuple[int, int]
) -> None:
    sides = forward(logits_of("sigmoid", 3), boxes_of()), forward(logits_of("softmax", 4), boxes_of())
    images = torch.zeros(2, 3, *image)
    task = pair_task()
    maps = task.score_maps(*sides, {"pixel_values": images})
    assert maps.images is images
    assert maps.real.shape == maps.fake.shape == (2, task.score_map_channels, *expected)


@over_heads
def test_score_maps_draw_the_teacher_as_real_and_the_student_as_fake(
    student_head: DetectionHead, teacher_head: DetectionHead
) -> None:
    """Swapped, the critic would push the student away from its teacher."""
    student, teacher = logits_of(student_head, 3), logits_of(teacher_head, 4, queries=9)
    boxes, theirs = boxes_of(), boxes_of(9)
    maps = pair_task().score_maps(
        forward(student, boxes), forward(teacher, theirs), {"pixel_values": torch.zeros(2, 3, 64, 96)}
    )
    for one, logits, drawn, head in (
        (maps.real, pick(teacher, PICK, teacher_head), theirs, teacher_head),
        (maps.fake, student, boxes, student_head),
    ):
        expected = render_detections(foreground_probabilities(logits, head), drawn, (8, 12))
        torch.testing.assert_close(one, expected)


def test_a_box_is_drawn_where_it_is_in_the_channel_of_its_class() -> None:
    """By hand: a sure dog in the upper left quarter, an unsure owl in the lower right."""
    student = torch.full((1, 2, 3), -20.0)
    student[0, 0, 1], student[0, 1, 2] = 20.0, 0.0
    boxes = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]])
    sides = forward(student, boxes), forward(torch.full((1, 1, 4), -20.0), boxes[:, :1])
    maps = pair_task().score_maps(*sides, {"pixel_values": torch.zeros(1, 3, 64, 64)})
    assert maps.fake[0, 1, 1, 1].item() == pytest.approx(1, abs=1e-2)
    assert maps.fake[0, 2, 6, 6].item() == pytest.approx(0.5, abs=1e-2)
    assert maps.fake[0, 0].max() < 1e-6
    assert maps.fake[0, 1, 4:].max() < 0.2
    assert maps.fake[0, 2, :4].max() < 0.2
    assert maps.real.max() < 1e-6


def test_score_maps_are_zero_on_padding_and_teach_boxes_and_classes() -> None:
    """A critic that sees the padding tells teacher from student by it."""
    inside = torch.ones(2, 64, 64, dtype=torch.bool)
    inside[0, :, 32:] = False
    tensors = [logits_of("softmax", 3), boxes_of(), logits_of("sigmoid", 4), boxes_of()]
    student, boxes, teacher, theirs = (tensor.requires_grad_() for tensor in tensors)
    batch = {"pixel_values": torch.zeros(2, 3, 64, 64), "pixel_mask": inside}
    with torch.no_grad():
        real = forward(teacher, theirs)
    maps = pair_task().score_maps(forward(student, boxes), real, batch).fake
    reals = pair_task().score_maps(forward(student, boxes), real, batch).real
    for one in (maps, reals):
        assert (one[0, :, :, 4:] == 0).all()
        assert (one[0, :, :, :4] > 0).any()
        assert (one[1] > 0).any()
    maps.square().sum().backward()
    for tensor in (student, boxes):
        assert tensor.grad is not None
        assert tensor.grad.any(dim=2).all()
    assert teacher.grad is None
    assert theirs.grad is None


# ---- evaluation ----


def metric_of(task: DetectionTask, output: Any, batch: dict[str, Any]) -> dict[str, float]:
    metric = task.metric()
    metric.add_statistics(task.evaluation_statistics(output, batch))
    return metric.compute()


def test_a_row_holds_a_box_in_pixels_of_the_original_image() -> None:
    """By hand: a canvas of 100 by 200 pixels of the original, whatever size the model was shown."""
    task = DetectionTask(config(STUDENT_NAMES))
    logits = torch.tensor([[[-9.0, 2.0, -8.0]]])
    output = forward(logits, torch.tensor([[[0.5, 0.25, 0.5, 0.5]]])).output
    labels = labels_with([0.5, 0.5, 0.2, 0.4], canvas=(100.0, 200.0))
    rows = task.evaluation_statistics(output, {"labels": [labels]})[0]
    found, truth = rows[rows[:, 0] == DETECTION], rows[rows[:, 0] == TRUTH]
    assert found[0].tolist() == pytest.approx(
        [DETECTION, 1, torch.tensor(2.0).sigmoid().item(), 50, 0, 150, 50]
    )
    assert truth[0].tolist() == pytest.approx([TRUTH, 0, 0, 80, 30, 120, 70])


def test_denoising_queries_do_not_count() -> None:
    """They start from the labels, and would score as perfect detections."""
    task = DetectionTask(config(STUDENT_NAMES))
    logits, boxes = logits_of("sigmoid", 3), boxes_of()
    sure = torch.full((2, 4, 3), 9.0)
    noised = DetrObjectDetectionOutput(
        logits=torch.cat([sure, logits], dim=1), pred_boxes=torch.cat([boxes_of(4), boxes], dim=1)
    )
    noised.denoising_meta_values = {"dn_num_split": [4, 6]}
    batch = {"labels": [labels_with([0.5, 0.5, 0.2, 0.4]), labels_with()]}
    expected = task.evaluation_statistics(forward(logits, boxes).output, batch)
    assert torch.equal(task.evaluation_statistics(noised, batch), expected)


def test_queries_of_further_groups_do_not_count() -> None:
    """They find what the first group found once more."""
    task = DetectionTask(config(STUDENT_NAMES, group_detr=3, num_queries=6))
    logits, boxes = logits_of("sigmoid", 3, queries=18), boxes_of(18)
    batch = {"labels": [labels_with([0.5, 0.5, 0.2, 0.4]), labels_with()]}
    first = forward(logits[:, :6], boxes[:, :6]).output
    expected = task.evaluation_statistics(first, batch)
    assert torch.equal(task.evaluation_statistics(forward(logits, boxes).output, batch), expected)


def detections_of(rows: Tensor) -> Tensor:
    """An image's detections: class, score and corners, the best first."""
    return rows[rows[:, 0] == DETECTION][:, 1:]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("scale", [1.0, 200.0])
@pytest.mark.parametrize("shift", [0.0, -500.0])
@pytest.mark.parametrize("queries", [6, 60])
def test_a_class_that_the_teacher_lacks_is_never_found(
    head: DetectionHead, scale: float, shift: float, queries: int
) -> None:
    """Found with a score of 0 it is still found: a class nobody taught it would get a precision."""
    task = pair_task(student=("cat", "bee", "dog", "owl"))
    teacher, boxes = logits_of(head, 4, queries) * scale + shift, boxes_of(queries)
    truth = torch.cat([boxes[0, :4], boxes[1, :4]])
    batch = {"labels": [labels_with(*truth[:4].tolist()), labels_with(*truth[4:].tolist())]}
    output = task.as_student(forward(teacher, boxes).output, batch)
    rows = task.evaluation_statistics(output, batch)
    found = detections_of(rows.flatten(0, 1))
    assert (found[:, 0] != 1).all()
    if scale == 1.0 and shift == 0.0:
        assert len(found) == 2 * min(100, queries if head == "softmax" else 3 * queries)
    metric = task.metric()
    metric.add_statistics(rows)
    assert metric.compute()["ap_bee"] == 0


@pytest.mark.parametrize("head", HEADS)
def test_a_teacher_of_the_same_classes_scores_as_it_would_for_itself(head: DetectionHead) -> None:
    """Their order apart; else the gap that distillation closes would mean nothing."""
    names = tuple(TEACHER_NAMES[index] for index in (1, *PICK))
    teacher, boxes = logits_of(head, 4), boxes_of()
    batch = {"labels": [labels_with(), labels_with()]}
    task = pair_task(student=names)
    rows = task.evaluation_statistics(task.as_student(forward(teacher, boxes).output, batch), batch)
    alone = DetectionTask(config(TEACHER_NAMES))
    own = alone.evaluation_statistics(forward(teacher, boxes).output, batch)
    for image in range(2):
        mine, theirs = detections_of(rows[image]), detections_of(own[image])
        assert [names[int(i)] for i in mine[:, 0]] == [TEACHER_NAMES[int(i)] for i in theirs[:, 0]]
        torch.testing.assert_close(mine[:, 1:], theirs[:, 1:])


@over_heads
def test_a_teacher_keeps_its_kind_of_head(student_head: DetectionHead, teacher_head: DetectionHead) -> None:
    """Read as the student's kind, "no object" would be a class or a class "no object"."""
    teacher, boxes = logits_of(teacher_head, 4), boxes_of()
    output = pair_task().as_student(forward(teacher, boxes).output, {})
    assert torch.equal(output.logits, pick(teacher, PICK, teacher_head))
    assert torch.equal(output.boxes, boxes)
    assert detection_head(config(STUDENT_NAMES), output.logits) == teacher_head
    assert detection_head(config(STUDENT_NAMES), logits_of(student_head, 3)) == student_head


def test_half_precision_teachers_are_laid_out_in_single() -> None:
    """Half precision has no -10,000 beside fractions."""
    task = pair_task(student=("cat", "bee", "dog", "owl"))
    output = task.as_student(forward(logits_of("softmax", 4).half(), boxes_of()).output, {})
    assert output.logits.dtype == torch.float32
    assert torch.isfinite(output.logits).all()


def test_what_is_found_with_a_score_of_zero_is_not_found() -> None:
    """As Transformers' post-processing has it: kept is what scores above the threshold."""
    task = DetectionTask(config(STUDENT_NAMES))
    logits, boxes = torch.full((1, 2, 3), -9e3), boxes_of(2)[:1]
    logits[0, 1, 2] = 1.0
    rows = task.evaluation_statistics(DetectionQueries(logits, boxes), {"labels": [labels_with()]})
    assert detections_of(rows[0])[:, 0].tolist() == [2]
    assert ((rows[0] == PADDING).all(dim=1) == (rows[0, :, 0] != DETECTION)).all()


def test_scores_are_plain_numbers_by_name() -> None:
    task = DetectionTask(config(STUDENT_NAMES))
    box = [0.5, 0.5, 0.2, 0.4]
    logits = torch.tensor([[[4.0, -9.0, -9.0]]])
    scores = metric_of(task, forward(logits, torch.tensor([[box]])).output, {"labels": [labels_with(box)]})
    assert all(type(value) is float for value in scores.values())
    assert scores["map"] == scores["map_50"] == scores["map_75"] == scores["ap_cat"] == pytest.approx(1)
    assert math.isnan(scores["ap_dog"])


# ---- batches and models that cannot be ----


def batch_of(*labels: Any, **more: Any) -> dict[str, Any]:
    return {"pixel_values": torch.zeros(len(labels), 3, 8, 8), "labels": list(labels), **more}


IDS, SQUARES = torch.tensor([0, 2]), torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.0, 1.0, 1.0, 0.0]])
GOOD = {"class_labels": IDS, "boxes": SQUARES}
EMPTY = {"class_labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}


def changed(**fields: Tensor) -> dict[str, Any]:
    return batch_of({**GOOD, **fields})


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({"pixel_values": SQUARES}, r"a batch needs `labels`, got \['pixel_values'\]; name the objects"),
        (batch_of(GOOD, torch.zeros(8, 8)), r"must be dicts .*, got Tensor in image 1 of the batch; load"),
        (batch_of({"boxes": SQUARES}), r"must be dicts .*, got \['boxes'\] in image 0 of the batch"),
        (changed(boxes=SQUARES[:1]), r"`boxes` must have shape \(2, 4\), .* got \(1, 4\)"),
        (changed(boxes=SQUARES[:, :3]), r"`boxes` must have shape \(2, 4\), .* got \(2, 3\)"),
        (
            batch_of({**EMPTY, "boxes": torch.zeros(0)}),
            r"\(0, 4\), .* got \(0,\) in .*; use an empty \(0, 4\)",
        ),
        (
            changed(class_labels=IDS.float()),
            r"int64 .* floating point, got torch\.float32 and torch\.float32 in",
        ),
        (
            changed(boxes=SQUARES.long()),
            r"got torch\.int64 and torch\.int64 in image 0 of the batch; convert",
        ),
        (batch_of(EMPTY, {**GOOD, "class_labels": IDS + 1}), r"in \[0, 3\), got 3 in image 1"),
        (changed(class_labels=torch.tensor([-100, 1])), r"in \[0, 3\), got -100 in image 0"),
        (changed(boxes=SQUARES * 8), r"`boxes` must be cx, cy, w, h in \[0, 1\], .* got \[4"),
        (changed(boxes=SQUARES - 0.1), r"`boxes` must be cx, .* got \[-0\.1"),
        (changed(boxes=SQUARES * math.nan), r"`boxes` must be cx, .* got \[nan"),
    ],
)
def test_a_batch_that_cannot_be_learned_from_is_refused(batch: dict[str, Any], sentence: str) -> None:
    """On a GPU it is a device-side assertion, in the matching a shape of matrices; both name no image."""
    with pytest.raises(ValueError, match=sentence):
        DetectionTask(config(STUDENT_NAMES)).check_batch(batch)


def test_a_good_batch_passes() -> None:
    task = DetectionTask(config(STUDENT_NAMES))
    task.check_batch(batch_of(GOOD, EMPTY))
    task.check_batch(batch_of(GOOD, GOOD, labeled=torch.tensor([True, False])))


@pytest.mark.parametrize("arch", WITHOUT_TRAINING)
def test_a_model_without_a_loss_can_only_teach(arch: str) -> None:
    DetectionTask.check_models(shared("yolos"), shared(arch))
    with pytest.raises(ValueError, match=r"`model` must .* PPDocLayout.* only be the `teacher_model`"):
        DetectionTask.check_models(shared(arch), None)


@pytest.mark.parametrize("arch", WITHOUT_CLASSES)
def test_a_model_without_classes_can_do_neither(arch: str) -> None:
    with pytest.raises(ValueError, match=r"`teacher_model` must predict boxes with classes, got PPOCR"):
        DetectionTask.check_models(shared("yolos"), shared(arch))
    with pytest.raises(ValueError, match=r"`model` must be a detector .* got PPOCR"):
        DetectionTask.check_models(shared(arch), None)


def test_models_without_a_common_class_are_refused() -> None:
    with pytest.raises(ValueError, match=r"share too few classes by name \(0"):
        pair_task(teacher=("elk", "fox"))


@pytest.mark.parametrize("arch", ALL_DETECTION_ARCHITECTURES)
def test_every_architecture_is_known(arch: str) -> None:
    assert find_task(type(shared(arch)).__name__) is DetectionTask


# ---- what is saved ----


@over_trainable
def test_the_processor_decodes_the_architectures_head(arch: str) -> None:
    """Beside a student of the other kind of head, a pipeline shows "no object" as a class, or misses one."""
    model = shared(arch)
    processor = DetectionTask.image_processor((64, 64), model.config)  # type: ignore[arg-type]
    output = model(detector_images())
    queries = final_queries(output, model.config)
    head = detection_head(model.config, queries.logits)
    ours = decode_detections(queries.logits, queries.boxes, head=head)
    results = processor.post_process_object_detection(output, threshold=0.0, target_sizes=[(50, 100)] * 2)
    for image, result in enumerate(results):
        scores, order = result["scores"].sort(descending=True, stable=True)
        count = len(scores)  # RT-DETR's keeps as many as there are queries
        assert count >= queries.logits.shape[1]
        torch.testing.assert_close(scores, ours.scores[image, :count])
        assert torch.equal(result["labels"][order], ours.labels[image, :count])
        corners = ours.boxes[image, :count] * torch.tensor([100.0, 50, 100, 50])
        torch.testing.assert_close(result["boxes"][order], corners)


@over_trainable
def test_the_processor_resizes_to_one_size_and_pads_nothing(arch: str) -> None:
    """The student was trained on images that fill this size."""
    processor = DetectionTask.image_processor((64, 96), shared(arch).config)  # type: ignore[arg-type]
    for height, width in ((30, 50), (200, 40)):
        image = np.full((height, width, 3), 255, dtype=np.uint8)
        inputs = processor(images=image, return_tensors="pt")
        assert list(inputs) == ["pixel_values"]
        assert inputs["pixel_values"].shape == (1, 3, 64, 96)
        white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
        expected = white.view(1, 3, 1, 1).expand(1, 3, 64, 96)
        torch.testing.assert_close(inputs["pixel_values"], expected, rtol=1e-5, atol=1e-5)


def test_a_resumed_run_must_find_the_same_classes() -> None:
    """As JSON, which has no tuples: what was read back would never equal what was saved."""
    settings = pair_task().settings()
    assert settings == {"shared_classes": [[0, 1, 2], [[2], [0], [3]]]}
    assert json.loads(json.dumps(settings)) == settings
    assert DetectionTask(config(STUDENT_NAMES)).settings() == {"shared_classes": None}


def test_the_critic_sees_the_shared_classes() -> None:
    assert pair_task().score_map_channels == 3
    assert pair_task(student=("cat", "bee", "dog")).score_map_channels == 2
