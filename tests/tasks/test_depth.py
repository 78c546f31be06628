"""What depth's terms and scores mean: which pixels, which kind of depth, at which size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GLPNConfig, PretrainedConfig
from transformers.modeling_outputs import DepthEstimatorOutput

from hf_structkd.adversary.critic import SMALLEST_MAP
from hf_structkd.features.forward import Forward
from hf_structkd.losses import scale_shift_invariant_loss
from hf_structkd.losses.depth import DEPTH_LOSSES
from hf_structkd.metrics import depth_statistics
from hf_structkd.tasks import DepthTask, find_task

KINDS = ("metric", "relative", "inverse")
# Every loss with every kind of student that it can train.
TRAINED = [*((loss, "metric") for loss in DEPTH_LOSSES), ("ssi", "relative"), ("ssi", "inverse")]


def make(**options: Any) -> DepthTask:
    return DepthTask(GLPNConfig(), GLPNConfig(), **options)


def output(depth: Tensor) -> DepthEstimatorOutput:
    return DepthEstimatorOutput(predicted_depth=depth)


def forward(depth: Tensor) -> Forward:
    return Forward(output(depth))


def depths(*shape: int) -> Tensor:
    return 1 + 4 * torch.rand(*shape)


def images(count: int, height: int, width: int) -> dict[str, Tensor]:
    return {"pixel_values": torch.zeros(count, 3, height, width)}


# ---- the task loss ----


@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_the_task_loss_is_the_named_one_at_the_labels_size(loss: str) -> None:
    prediction, labels = depths(2, 8, 8), depths(2, 16, 16)
    resized = F.interpolate(prediction[:, None], (16, 16), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(
        make(loss=loss).task_loss(output(prediction), {"labels": labels}), DEPTH_LOSSES[loss](resized, labels)
    )


def taught(task: DepthTask, start: Tensor, labels: Tensor | list[Tensor]) -> tuple[Tensor, Tensor]:
    """The task loss and its gradient."""
    prediction = start.clone().requires_grad_()
    value = task.task_loss(output(prediction), {"labels": labels})
    value.backward()
    assert prediction.grad is not None
    return value, prediction.grad


@pytest.mark.parametrize("hole", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_what_was_not_measured_teaches_nothing(loss: str, hole: float) -> None:
    """A hole read as 0 metres pulls the student to the camera."""
    labels, start = depths(2, 8, 8), depths(2, 8, 8)
    holes = torch.rand(2, 8, 8) < 0.3
    value, gradient = taught(make(loss=loss), start, torch.where(holes, hole, labels))
    clean, clean_gradient = taught(make(loss=loss), start, torch.where(holes, 0.0, labels))
    assert torch.equal(value, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[holes] == 0).all()
    assert (gradient[~holes] != 0).any()


@pytest.mark.parametrize("hole", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(("loss", "kind"), TRAINED)
def test_what_was_not_measured_teaches_nothing_at_any_size(
    loss: str, kind: str, as_list: bool, hole: float
) -> None:
    """Interpolation spreads a NaN in the gradient over its neighbours."""
    labels, start = depths(2, 8, 8), depths(2, 4, 4)
    holes = torch.zeros(2, 8, 8, dtype=torch.bool)
    holes[:, :, 4:] = True
    found = []
    for fill in (hole, 0.0):
        filled = torch.where(holes, fill, labels)
        task = make(loss=loss, depth_kind=kind)
        found.append(taught(task, start, list(filled) if as_list else filled))
    (value, gradient), (clean, clean_gradient) = found
    assert torch.equal(value, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[:, :, 3] == 0).all()  # none of the measured columns is interpolated from it
    assert (gradient[:, :, :2] != 0).any()


def test_the_task_loss_of_a_list_is_that_of_the_stacked_labels() -> None:
    prediction, labels = depths(3, 4, 4), depths(3, 8, 8)
    labels[0, :5] = 0
    labels[1] = 0
    for loss in DEPTH_LOSSES:
        task = make(loss=loss)
        torch.testing.assert_close(
            task.task_loss(output(prediction), {"labels": list(labels)}),
            task.task_loss(output(prediction), {"labels": labels}),
        )


def test_the_task_loss_is_computed_in_single_precision() -> None:
    """Squared metres overflow in half precision, from 256 m on."""
    prediction, labels = 300 * depths(2, 8, 8).half(), depths(2, 8, 8)
    loss = make(loss="berhu").task_loss(output(prediction), {"labels": labels})
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, DEPTH_LOSSES["berhu"](prediction.float(), labels))


def test_labels_of_their_own_sizes_average_over_measured_images() -> None:
    """An image that the sensor missed would halve the loss of the other."""
    prediction = depths(3, 8, 8)
    labels = [depths(8, 8), torch.zeros(4, 4), depths(16, 8)]
    task = make(loss="l1")
    single = [task.task_loss(output(prediction[i : i + 1]), {"labels": labels[i][None]}) for i in (0, 2)]
    torch.testing.assert_close(
        task.task_loss(output(prediction), {"labels": labels}), torch.stack(single).mean()
    )


@pytest.mark.parametrize("hole", [0.0, math.nan])
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(("loss", "kind"), TRAINED)
def test_a_batch_without_a_measurement_has_loss_zero_and_no_gradient(
    loss: str, kind: str, as_list: bool, hole: float
) -> None:
    """A plain mean is NaN there, and the weights with it."""
    prediction = depths(2, 4, 4).requires_grad_()
    labels = torch.full((2, 8, 8), hole)
    batch = {"labels": list(labels) if as_list else labels}
    value = make(loss=loss, depth_kind=kind).task_loss(output(prediction), batch)
    value.backward()
    assert value == 0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


def test_an_inverse_student_is_trained_on_inverse_depth() -> None:
    """Trained on depth, it would learn that the sky is near."""
    labels = depths(1, 8, 8)
    task = make(loss="ssi", depth_kind="inverse")
    assert task.task_loss(output(3 / labels + 1), {"labels": labels}) < 1e-5
    assert task.task_loss(output(labels), {"labels": labels}) > 0.1


# ---- the pixel-wise term ----


def test_output_loss_of_a_metric_pair_is_the_absolute_difference() -> None:
    student, teacher = depths(2, 8, 8), depths(2, 8, 8)
    for temperature in (1.0, 5.0):
        loss = make().output_loss(forward(student), forward(teacher), {}, temperature=temperature)
        torch.testing.assert_close(loss, (student - teacher).abs().mean())


@pytest.mark.parametrize(("student_side", "teacher_side"), [(16, 8), (8, 16)])
def test_output_loss_compares_at_the_coarser_grid(student_side: int, teacher_side: int) -> None:
    """A coarse teacher resized up would be followed in outlines that it does not have."""
    student, teacher = depths(1, student_side, student_side), depths(1, teacher_side, teacher_side)
    coarse = [F.adaptive_avg_pool2d(maps[:, None], 8)[:, 0] for maps in (student, teacher)]
    loss = make().output_loss(forward(student), forward(teacher), {}, temperature=1.0)
    torch.testing.assert_close(loss, (coarse[0] - coarse[1]).abs().mean())


def test_an_inverse_teacher_is_compared_with_the_students_inverse() -> None:
    """By hand: both maps minus their median, over the mean absolute deviation from it."""
    student, teacher = depths(2, 7, 7), depths(2, 7, 7)

    def normalised(maps: Tensor) -> Tensor:
        centred = maps - maps.flatten(1).median(dim=1).values[:, None, None]
        return centred / centred.abs().mean(dim=(1, 2), keepdim=True)

    error = normalised(1 / student.double()) - normalised(teacher.double())
    loss = make(teacher_depth_kind="inverse").output_loss(
        forward(student), forward(teacher), {}, temperature=1.0
    )
    without_gradients = scale_shift_invariant_loss(1 / student, teacher, gradient_weight=0.0)
    assert without_gradients.item() == pytest.approx(error.abs().mean().item() / 2, rel=1e-4)
    torch.testing.assert_close(loss, scale_shift_invariant_loss(1 / student, teacher))


LEGAL = [(own, theirs) for own in KINDS for theirs in KINDS if {own, theirs} != {"relative", "inverse"}]


def as_kind(depth: Tensor, kind: str) -> Tensor:
    """What a perfect model of this kind predicts: metres, or an affine function of depth or its inverse."""
    return {"metric": depth, "relative": 3 * depth + 1, "inverse": 5 / depth + 2}[kind]


@pytest.mark.parametrize(("own", "theirs"), LEGAL)
def test_wrong_students_cost_more_than_the_right_one(own: str, theirs: str) -> None:
    """A student of a constant, or of the world turned inside out, once agreed with any teacher at no cost."""
    task = make(depth_kind=own, teacher_depth_kind=theirs, loss="silog" if own == "metric" else "ssi")
    depth = depths(2, 16, 16)
    right = as_kind(depth, own)
    wrong = {
        "constant": torch.full_like(right, right.mean().item()),
        "inverted": right.amax() + right.amin() - right,
        "noisy": right * (1 + 0.5 * torch.rand(right.shape)),
    }
    teacher = forward(as_kind(depth, theirs))
    cost = task.output_loss(forward(right), teacher, {}, temperature=1.0).item()
    best = task.score_maps(forward(right), teacher, images(2, 64, 64))
    assert cost < 1e-4
    torch.testing.assert_close(best.fake, best.real, rtol=1e-3, atol=1e-3)
    for name, student in wrong.items():
        assert task.output_loss(forward(student), teacher, {}, temperature=1.0).item() > 0.05, name
        maps = task.score_maps(forward(student), teacher, images(2, 64, 64))
        assert (maps.fake - maps.real).abs().mean() > 0.05, name


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_world_turned_inside_out_does_not_score(kind: str) -> None:
    """Fitted with a negative scale, an inverted map would have no error."""
    task = make(depth_kind=kind, loss="ssi")
    depth = depths(2, 16, 16)
    right = as_kind(depth, kind)
    errors = []
    for student in (right, -right):
        metric = task.metric()
        metric.add_statistics(task.evaluation_statistics(forward(student).output, {"labels": depth}))
        errors.append(metric.compute()["abs_rel"])
    assert errors[0] < 1e-3
    assert errors[1] > 0.1


def test_an_inverse_student_has_nothing_to_learn_from_a_metric_teacher_it_agrees_with() -> None:
    """Its scale and shift mean nothing: inverted, they would bend its depth, and below 0 end its gradient."""
    task = make(loss="ssi", depth_kind="inverse")
    teacher = depths(2, 8, 8)
    for shift in (0.0, 1.0, -2.0):
        student = (3 / teacher + shift).requires_grad_()
        sides = forward(student), forward(teacher)
        assert task.output_loss(*sides, {}, temperature=1.0) < 1e-5
        maps = task.score_maps(*sides, images(2, 32, 32))
        torch.testing.assert_close(maps.fake, maps.real, rtol=1e-3, atol=1e-3)
    student = (depths(2, 8, 8) - 3).requires_grad_()
    task.output_loss(forward(student), forward(teacher), {}, temperature=1.0).backward()
    assert student.grad is not None
    assert (student.grad != 0).all()


def test_a_metric_teacher_teaches_its_scale() -> None:
    """Aligned as a relative one, it would leave a student that is twice too far alone."""
    teacher = depths(2, 8, 8)
    loss = make().output_loss(forward(2 * teacher), forward(teacher), {}, temperature=1.0)
    torch.testing.assert_close(loss, teacher.mean())


def test_an_image_without_labels_counts_in_the_output_loss() -> None:
    """The teacher says as much of it as of any other."""
    student, teacher = depths(2, 8, 8), depths(2, 8, 8)
    labels = depths(2, 8, 8)
    labels[1] = 0
    batch = {"labels": labels, "labeled": torch.tensor([True, False])}
    loss = make().output_loss(forward(student), forward(teacher), batch, temperature=1.0)
    torch.testing.assert_close(loss, (student - teacher).abs().mean())


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_teacher_without_a_scale_teaches_none(kind: str) -> None:
    """Its arbitrary scale would be learned as metres."""
    task = make(teacher_depth_kind=kind)
    student = depths(2, 8, 8)
    theirs = student if kind == "relative" else 1 / student
    for scale, shift in ((1.0, 0.0), (7.0, -3.0)):
        teacher = forward(scale * theirs + shift)
        assert task.output_loss(forward(student), teacher, {}, temperature=1.0) < 1e-5
    other = forward(depths(2, 8, 8))
    assert task.output_loss(forward(student), other, {}, temperature=1.0) > 1e-2


@pytest.mark.parametrize(("own", "theirs"), [("relative", "inverse"), ("inverse", "relative")])
def test_two_kinds_without_a_shift_are_not_compared(own: str, theirs: str) -> None:
    """1 / (depth + an unknown shift) is no depth: the student would learn a bent world."""
    task = make(depth_kind=own, teacher_depth_kind=theirs, loss="ssi")
    pair = forward(depths(1, 8, 8)), forward(depths(1, 8, 8))
    message = f"`teacher_depth_kind` {theirs} cannot be compared with a student of {own} depth"
    with pytest.raises(ValueError, match=message):
        task.output_loss(*pair, {}, temperature=1.0)
    with pytest.raises(ValueError, match=message):
        task.score_maps(*pair, images(1, 32, 32))


@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_output_loss_leaves_padding_out(teacher_kind: str, garbage: float) -> None:
    """On padding the teacher makes things up; the alignment must not see them either."""
    padding = torch.ones(2, 32, 32, dtype=torch.bool)
    padding[0, :, 16:] = False
    inside = padding[:, ::4, ::4]
    maps = depths(2, 8, 8), depths(2, 8, 8)
    task = make(teacher_depth_kind=teacher_kind)

    def run(fill: float) -> tuple[Tensor, Tensor]:
        student, teacher = (torch.where(inside, one, fill) for one in maps)
        student.requires_grad_()
        loss = task.output_loss(forward(student), forward(teacher), {"pixel_mask": padding}, temperature=1.0)
        loss.backward()
        assert student.grad is not None
        return loss, student.grad

    (loss, gradient), (clean, clean_gradient) = run(garbage), run(2.0)
    assert torch.equal(loss, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[~inside] == 0).all()
    assert (gradient[inside] != 0).all()


# ---- what the pair-wise term sees ----


def test_feature_pairs_share_one_grid_and_leave_padding_out() -> None:
    student, teacher = torch.randn(2, 5, 16, 16), torch.randn(2, 7, 8, 8)
    padding = torch.ones(2, 32, 32, dtype=torch.bool)
    padding[0, 16:] = False
    (pair,) = make().feature_pairs(
        Forward(output(depths(2, 4, 4)), (student,)),
        Forward(output(depths(2, 4, 4)), (teacher,)),
        {"pixel_mask": padding},
    )
    torch.testing.assert_close(pair.student, F.avg_pool2d(student, 2))
    assert pair.teacher is teacher
    expected = torch.ones(2, 8, 8, dtype=torch.bool)
    expected[0, 4:] = False
    assert pair.mask is not None
    assert torch.equal(pair.mask, expected)


# ---- what the critic sees ----


@pytest.mark.parametrize(
    ("maps", "image", "expected"),
    [
        ((64, 64), (64, 64), (16, 16)),
        ((4, 4), (64, 64), (SMALLEST_MAP, SMALLEST_MAP)),
        ((8, 12), (64, 64), (8, 12)),
        ((64, 4), (64, 64), (16, SMALLEST_MAP)),
        ((16, 16), (16, 16), (SMALLEST_MAP, SMALLEST_MAP)),
    ],
)
def test_score_maps_are_between_the_critics_smallest_and_a_quarter_of_the_image(
    maps: tuple[int, int], image: tuple[int, int], expected: tuple[int, int]
) -> None:
    """At full size the critic would cost more than both models."""
    score_maps = make().score_maps(forward(depths(2, *maps)), forward(depths(2, *maps)), images(2, *image))
    assert score_maps.real.shape == score_maps.fake.shape == (2, 1, *expected)


def test_the_critic_sees_an_error_of_scale() -> None:
    """Each map normalised by its own would make a student that is twice too far look right."""
    teacher = depths(2, 8, 8)
    maps = make().score_maps(forward(2 * teacher), forward(teacher), images(2, 32, 32))
    mean = teacher.mean(dim=(1, 2), keepdim=True)
    spread = (teacher - mean).abs().mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(maps.real[:, 0], (teacher - mean) / spread)
    torch.testing.assert_close(maps.fake[:, 0], (2 * teacher - mean) / spread)


def test_score_maps_average_what_is_finer_than_the_critics_grid() -> None:
    """Every fourth pixel instead would hide three quarters of the student's errors from the critic."""
    student, teacher = depths(1, 32, 32), depths(1, 32, 32)
    coarse = [F.avg_pool2d(maps[:, None], 4)[:, 0] for maps in (student, teacher)]
    task, batch = make(), images(1, 32, 32)
    maps = task.score_maps(forward(student), forward(teacher), batch)
    expected = task.score_maps(forward(coarse[0]), forward(coarse[1]), batch)
    torch.testing.assert_close(maps.real, expected.real, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps.fake, expected.fake, rtol=1e-4, atol=1e-4)


def test_score_maps_belong_to_the_batchs_images() -> None:
    batch = images(2, 32, 32)
    assert (
        make().score_maps(forward(depths(2, 8, 8)), forward(depths(2, 8, 8)), batch).images
        is (batch["pixel_values"])
    )


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_scale_that_is_left_open_is_hidden_from_the_critic(kind: str) -> None:
    """The critic would tell teacher from student by a number that means nothing."""
    depth = depths(2, 8, 8)
    teacher = depth if kind == "relative" else 1 / depth
    task = make(teacher_depth_kind=kind)
    maps = task.score_maps(forward(depth), forward(5 * teacher - 2), images(2, 32, 32))
    torch.testing.assert_close(maps.fake, maps.real, rtol=1e-3, atol=1e-3)
    other = task.score_maps(forward(depths(2, 8, 8)), forward(5 * teacher - 2), images(2, 32, 32))
    assert (other.fake - other.real).abs().mean() > 0.1


@pytest.mark.parametrize("student_kind", ["relative", "inverse"])
def test_the_scale_of_a_student_without_one_is_hidden_from_the_critic(student_kind: str) -> None:
    task = make(depth_kind=student_kind, teacher_depth_kind=student_kind, loss="ssi")
    teacher = depths(2, 8, 8)
    maps = task.score_maps(forward(5 * teacher - 2), forward(teacher), images(2, 32, 32))
    torch.testing.assert_close(maps.fake, maps.real, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
@pytest.mark.parametrize("teacher_kind", KINDS)
def test_score_maps_are_zero_on_padding_and_reach_the_student(teacher_kind: str, garbage: float) -> None:
    """A critic that sees the padding tells teacher from student by it."""
    inside = torch.ones(1, 32, 32, dtype=torch.bool)
    inside[:, :, 16:] = False
    on_image = inside[:, ::4, ::4]
    student, teacher = (torch.where(on_image, depths(1, 8, 8), garbage) for _ in range(2))
    student.requires_grad_()
    batch = {**images(1, 32, 32), "pixel_mask": inside}
    maps = make(teacher_depth_kind=teacher_kind).score_maps(forward(student), forward(teacher), batch)
    assert (maps.real[..., 4:] == 0).all()
    assert (maps.fake[..., 4:] == 0).all()
    real = maps.real[..., :4]
    assert real.mean().item() == pytest.approx(0, abs=1e-5)
    assert real.abs().mean().item() == pytest.approx(1, rel=1e-5)
    (maps.fake - torch.rand(1, 1, 8, 8)).square().sum().backward()
    assert student.grad is not None
    assert (student.grad[..., 4:] == 0).all()
    assert (student.grad[..., :4] != 0).all()


def test_padding_does_not_align_the_students_map() -> None:
    inside = torch.ones(2, 32, 32, dtype=torch.bool)
    inside[0, :, 16:] = False
    teacher = depths(2, 8, 8)
    student = torch.where(inside[:, ::4, ::4], 3 * teacher + 1, depths(2, 8, 8))
    batch = {**images(2, 32, 32), "pixel_mask": inside}
    maps = make(teacher_depth_kind="relative").score_maps(forward(student), forward(teacher), batch)
    torch.testing.assert_close(maps.fake, maps.real, rtol=1e-4, atol=1e-4)


# ---- scores ----


def scores(task: DepthTask, prediction: Tensor, batch: dict[str, Any]) -> dict[str, float]:
    metric = task.metric()
    metric.add_statistics(task.evaluation_statistics(output(prediction), batch))
    return metric.compute()


def test_scores_are_taken_at_the_labels_size() -> None:
    labels = torch.full((1, 16, 16), 2.0)
    assert scores(make(), torch.full((1, 4, 4), 2.5), {"labels": labels})["abs_rel"] == pytest.approx(0.25)


def abs_rel_by_hand(prediction: Tensor, label: Tensor, kind: str) -> float:
    """AbsRel after the straight line through the prediction and the measured depth, or its inverse."""

    def measured(depth: Tensor) -> Tensor:
        size = (label.shape[0], label.shape[1])
        resized = F.interpolate(depth[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        return resized[label.isfinite()]

    prediction, truth = prediction.double(), label[label.isfinite()].double()
    if kind != "metric":
        columns = torch.stack([measured(prediction), torch.ones_like(truth)], dim=1)
        target = 1 / truth if kind == "inverse" else truth
        scale, shift = torch.linalg.lstsq(columns, target).solution
        # Of all lines that do not fall, the flat one at the mean is the best where the best of all falls.
        prediction = scale * prediction + shift if scale > 0 else 0 * prediction + target.mean()
    if kind == "inverse":
        prediction = 1 / prediction
    return ((measured(prediction) - truth).abs() / truth).mean().item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_list", [False, True])
def test_each_image_is_scored_by_itself_at_its_labels_size(kind: str, as_list: bool) -> None:
    """An alignment over the batch would let one image set another's scale."""
    labels = [depths(8, 8), depths(6, 10) if as_list else depths(8, 8), torch.zeros(8, 8)]
    labels[0][:3] = math.nan
    prediction = depths(3, 4, 4)
    task = make(depth_kind=kind, loss="silog" if kind == "metric" else "ssi")
    batch = {"labels": labels if as_list else torch.stack(labels)}
    rows = task.evaluation_statistics(output(prediction), batch)
    assert rows[:, 0].tolist() == [1, 1, 0]
    for i in range(2):
        assert rows[i, 1].item() == pytest.approx(abs_rel_by_hand(prediction[i], labels[i], kind), rel=1e-5)


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_truth_that_is_not_scored_does_not_align(kind: str) -> None:
    """A sky of 1,000 m in synthetic truth would bend the scale of all that is near."""
    near = depths(1, 8, 8)
    labels = near.clone()
    labels[:, :4] = 1000.0
    prediction = near if kind == "relative" else 1 / near
    task = make(depth_kind=kind, loss="ssi", max_depth=10.0)
    assert scores(task, 3 * prediction + 1, {"labels": labels})["abs_rel"] < 1e-3


def test_the_range_and_the_crop_are_those_of_the_metric() -> None:
    labels, prediction = 10 * torch.rand(2, 48, 64), depths(2, 48, 64)
    options: dict[str, Any] = {"min_depth": 0.5, "max_depth": 7.0, "crop": "eigen"}
    assert torch.equal(
        make(**options).evaluation_statistics(output(prediction), {"labels": labels}),
        depth_statistics(prediction, labels, **options),
    )
    metric = make(**options).metric()
    metric.add_batch(predictions=prediction, references=labels)
    by_maps = metric.compute()
    assert by_maps == pytest.approx(scores(make(**options), prediction, {"labels": labels}))
    assert by_maps["abs_rel"] != pytest.approx(scores(make(), prediction, {"labels": labels})["abs_rel"])


def test_scores_have_their_customary_names() -> None:
    names = {"abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3"}
    labels = torch.full((1, 4, 4), 2.0)
    values = scores(make(), torch.full((1, 4, 4), 3.0), {"labels": labels})
    assert values.keys() == names
    assert all(type(value) is float for value in values.values())
    assert values["sq_rel"] == pytest.approx(0.5)
    assert values["rmse"] == pytest.approx(1)
    assert values["log10"] == pytest.approx(math.log10(1.5))
    assert [values[f"delta{k}"] for k in (1, 2, 3)] == [0, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_scored_in_metres(kind: str) -> None:
    """An inverse depth scored as it stands looks hopeless, however good it is."""
    labels = depths(2, 8, 8)
    labels[0, :2] = 0
    truth = torch.where(labels > 0, labels, 3.0)
    prediction = {"metric": truth, "relative": 5 * truth - 2, "inverse": 4 / truth + 1}[kind]
    task = make(depth_kind=kind, loss="silog" if kind == "metric" else "ssi")
    assert scores(task, prediction, {"labels": labels})["abs_rel"] < 1e-4
    assert scores(task, depths(2, 8, 8), {"labels": labels})["abs_rel"] > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_is_laid_out_as_the_student_would_predict(kind: str) -> None:
    labels = depths(2, 8, 8)
    theirs = {"metric": labels, "relative": 5 * labels - 2, "inverse": 4 / labels + 1}[kind]
    task = make(teacher_depth_kind=kind)
    laid_out = task.prediction(task.as_student(output(theirs), {"labels": labels}))
    torch.testing.assert_close(laid_out, labels, rtol=1e-4, atol=1e-4)
    inverse = make(teacher_depth_kind=kind, depth_kind="inverse", loss="ssi")
    laid_out = inverse.prediction(inverse.as_student(output(theirs), {"labels": labels}))
    torch.testing.assert_close(laid_out, 1 / labels, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("teacher_kind", KINDS)
def test_a_teacher_scores_as_it_would_for_itself(teacher_kind: str) -> None:
    """Scored otherwise than a student of its kind, the gap between the two would mean nothing."""
    labels, theirs = depths(2, 8, 8), depths(2, 8, 8)
    labels[0, :3] = 0
    batch = {"labels": labels}
    task = make(teacher_depth_kind=teacher_kind)
    laid_out = task.as_student(output(theirs), batch)
    alone = make(depth_kind=teacher_kind, loss="silog" if teacher_kind == "metric" else "ssi")
    torch.testing.assert_close(
        task.evaluation_statistics(laid_out, batch), alone.evaluation_statistics(output(theirs), batch)
    )


def test_a_metric_teacher_is_scored_as_it_is() -> None:
    """Aligned, a teacher with a wrong scale would look better than the student that it taught it to."""
    labels = depths(2, 8, 8)
    laid_out = make().as_student(output(2 * labels), {"labels": labels})
    assert torch.equal(make().prediction(laid_out), 2 * labels)


@pytest.mark.parametrize("as_list", [False, True])
def test_a_teacher_is_laid_out_without_a_measurement(as_list: bool) -> None:
    """An unmeasured image in the evaluation set must not stop it, nor count."""
    labels = torch.full((2, 8, 8), math.nan)
    batch = {"labels": list(labels) if as_list else labels}
    for kind in KINDS:
        task = make(teacher_depth_kind=kind)
        rows = task.evaluation_statistics(task.as_student(output(depths(2, 4, 4)), batch), batch)
        assert (rows == 0).all()


def test_an_inverse_depth_of_zero_is_far_but_not_infinitely() -> None:
    """One such pixel would make RMSE the square of a kilometre, whatever the others are."""
    labels = torch.tensor([[[1.0, 2.0, 4.0, 0.0]]])
    inverse = torch.tensor([[[1.0, 0.5, 0.25, -0.5]]])
    task = make(teacher_depth_kind="inverse")
    laid_out = task.prediction(task.as_student(output(inverse), {"labels": labels}))
    torch.testing.assert_close(laid_out, torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]))


def test_median_scaling_takes_the_scale_out_of_the_scores() -> None:
    labels = depths(1, 8, 8)
    assert scores(make(median_scaling=True), 3 * labels, {"labels": labels})["abs_rel"] < 1e-5
    assert scores(make(), 3 * labels, {"labels": labels})["abs_rel"] == pytest.approx(2)


# ---- what is refused, and what is recorded ----


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth_kind": "far"}, "`depth_kind` must be one of metric, relative, inverse, got 'far'"),
        ({"teacher_depth_kind": "far"}, "`teacher_depth_kind` must be one of"),
        ({"loss": "l3"}, "`loss` must be one of silog, ssi, l1, berhu, got 'l3'"),
        (
            {"depth_kind": "inverse", "loss": "silog"},
            "`loss` must be 'ssi' for a student of inverse depth, got 'silog'",
        ),
        ({"depth_kind": "relative", "loss": "l1"}, "`loss` must be 'ssi' for a student of relative depth"),
        ({"min_depth": 0.0}, "`min_depth`"),
        ({"max_depth": 1e-4}, "`max_depth`"),
        ({"crop": "garg"}, "`crop`"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(**options)


def test_labels_are_needed_and_are_depth() -> None:
    """Millimetres as integers, or class ids, would train without a sign of it."""
    with pytest.raises(ValueError, match="a batch needs `labels`"):
        make().check_batch({"pixel_values": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"`labels` must be depth in metres .* got torch\.int64"):
        make().check_batch({"labels": torch.ones(1, 4, 4, dtype=torch.long)})
    with pytest.raises(ValueError, match=r"`labels` must be depth in metres .* got torch\.uint8"):
        make().check_batch({"labels": [torch.ones(4, 4), torch.ones(2, 2, dtype=torch.uint8)]})
    make().check_batch({"labels": torch.ones(1, 4, 4)})
    make().check_batch({"labels": [torch.ones(4, 4), torch.ones(2, 2)]})


def test_a_resumed_run_must_find_the_same_kinds() -> None:
    settings = make(loss="ssi", depth_kind="relative", teacher_depth_kind="inverse").settings()
    assert settings == {"depth_loss": "ssi", "depth_kind": "relative", "teacher_depth_kind": "inverse"}


def test_every_depth_class_is_known() -> None:
    assert find_task("GLPNForDepthEstimation") is DepthTask
    assert find_task("DPTForDepthEstimation") is DepthTask


@pytest.mark.parametrize(
    ("config", "given", "kind", "said"),
    [
        (
            {"depth_estimation_type": "relative"},
            None,
            "inverse",
            "inverse of the teacher, by its configuration",
        ),
        ({"depth_estimation_type": "metric"}, None, "metric", "metric of the teacher, by its configuration"),
        (
            {},
            None,
            "metric",
            "metric of the teacher, assumed: its configuration does not say; name `teacher_depth_kind`",
        ),
        ({"depth_estimation_type": "relative"}, "metric", "metric", "metric of the teacher"),
    ],
)
def test_a_teachers_configuration_says_what_it_predicts(
    config: dict[str, str], given: Any, kind: str, said: str
) -> None:
    """A Depth Anything says "relative", and was silently taken for one of metres: AbsRel 0.99 for 0.33."""
    task = DepthTask(PretrainedConfig(), PretrainedConfig(**config), teacher_depth_kind=given)
    assert task.teacher_depth_kind == kind
    assert task.describe()["depth"] == f"metric of the student, {said}"
