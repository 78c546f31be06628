"""What depth's terms and scores mean: which pixels, which kind of depth, at which size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GLPNConfig
from transformers.modeling_outputs import DepthEstimatorOutput

from hf_structkd.critic import SMALLEST_MAP
from hf_structkd.losses.depth import DEPTH_LOSSES
from hf_structkd.tasks import DepthTask, Forward, find_task

KINDS = ("metric", "relative", "inverse")


def make(**options: Any) -> DepthTask:
    return DepthTask(GLPNConfig(), GLPNConfig(), **options)


def output(depth: Tensor) -> DepthEstimatorOutput:
    return DepthEstimatorOutput(predicted_depth=depth)


def forward(depth: Tensor) -> Forward:
    return Forward(output(depth), None)


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


@pytest.mark.parametrize("hole", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("loss", DEPTH_LOSSES)
def test_what_was_not_measured_teaches_nothing(loss: str, hole: float) -> None:
    """A hole read as 0 metres pulls the student to the camera."""
    labels = depths(2, 8, 8)
    holes = torch.rand(2, 8, 8) < 0.3

    def run(fill: float) -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        prediction = depths(2, 8, 8).requires_grad_()
        batch = {"labels": torch.where(holes, fill, labels)}
        value = make(loss=loss).task_loss(output(prediction), batch)
        value.backward()
        assert prediction.grad is not None
        return value, prediction.grad

    (value, gradient), (clean, clean_gradient) = run(hole), run(0.0)
    assert torch.equal(value, clean)
    assert torch.equal(gradient, clean_gradient)
    assert (gradient[holes] == 0).all()
    assert (gradient[~holes] != 0).any()


def test_labels_of_their_own_sizes_average_over_measured_images() -> None:
    """An image that the sensor missed would halve the loss of the other."""
    prediction = depths(3, 8, 8)
    labels = [depths(8, 8), torch.zeros(4, 4), depths(16, 8)]
    task = make(loss="l1")
    single = [task.task_loss(output(prediction[i : i + 1]), {"labels": labels[i][None]}) for i in (0, 2)]
    torch.testing.assert_close(
        task.task_loss(output(prediction), {"labels": labels}), torch.stack(single).mean()
    )


def test_a_batch_without_a_measurement_has_loss_zero_and_no_gradient() -> None:
    prediction = depths(2, 8, 8).requires_grad_()
    loss = make().task_loss(output(prediction), {"labels": torch.zeros(2, 8, 8)})
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


def test_an_inverse_student_is_trained_on_inverse_depth() -> None:
    """Trained on depth, it would learn that the sky is near."""
    labels = depths(1, 8, 8)
    task = make(loss="ssi", depth_kind="inverse")
    assert task.task_loss(output(3 / labels + 1), {"labels": labels}) < 1e-5
    assert task.task_loss(output(labels), {"labels": labels}) > 0.1


# ---- the pixel-wise term ----


def test_pixel_loss_of_a_metric_pair_is_the_absolute_difference() -> None:
    student, teacher = depths(2, 8, 8), depths(2, 8, 8)
    loss = make().pixel_loss(forward(student), forward(teacher), {}, temperature=1.0)
    torch.testing.assert_close(loss, (student - teacher).abs().mean())


def test_pixel_loss_compares_at_the_coarser_grid() -> None:
    student, teacher = depths(1, 16, 16), depths(1, 8, 8)
    coarse = F.avg_pool2d(student[:, None], 2)[:, 0]
    loss = make().pixel_loss(forward(student), forward(teacher), {}, temperature=1.0)
    torch.testing.assert_close(loss, (coarse - teacher).abs().mean())


@pytest.mark.parametrize("kind", ["relative", "inverse"])
def test_a_teacher_without_a_scale_teaches_none(kind: str) -> None:
    """Its arbitrary scale would be learned as metres."""
    task = make(teacher_depth_kind=kind)
    student = depths(2, 8, 8)
    theirs = student if kind == "relative" else 1 / student
    for scale, shift in ((1.0, 0.0), (7.0, -3.0)):
        teacher = forward(scale * theirs + shift)
        assert task.pixel_loss(forward(student), teacher, {}, temperature=1.0) < 1e-5
    other = forward(depths(2, 8, 8))
    assert task.pixel_loss(forward(student), other, {}, temperature=1.0) > 1e-2


def test_pixel_loss_leaves_padding_out() -> None:
    inside = torch.ones(1, 8, 8, dtype=torch.bool)
    inside[:, :, 4:] = False
    student = torch.where(inside, 2.0, math.nan).requires_grad_()
    teacher = torch.where(inside, 3.0, math.nan)
    loss = make().pixel_loss(forward(student), forward(teacher), {"pixel_mask": inside}, temperature=1.0)
    loss.backward()
    assert loss == 1
    assert student.grad is not None
    assert (student.grad[~inside] == 0).all()


# ---- what the critic sees ----


@pytest.mark.parametrize(
    ("maps", "image", "expected"),
    [
        ((64, 64), (64, 64), (16, 16)),
        ((4, 4), (64, 64), (SMALLEST_MAP, SMALLEST_MAP)),
        ((8, 12), (64, 64), (8, 12)),
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


def test_a_scale_that_is_left_open_is_hidden_from_the_critic() -> None:
    teacher = depths(2, 8, 8)
    task = make(teacher_depth_kind="relative")
    maps = task.score_maps(forward(2 * teacher + 1), forward(teacher), images(2, 32, 32))
    torch.testing.assert_close(maps.fake, maps.real, rtol=1e-4, atol=1e-4)


def test_score_maps_are_zero_on_padding_and_reach_the_student() -> None:
    """A critic that sees the padding tells teacher from student by it."""
    inside = torch.ones(1, 32, 32, dtype=torch.bool)
    inside[:, :, 16:] = False
    student = depths(1, 8, 8).requires_grad_()
    batch = {**images(1, 32, 32), "pixel_mask": inside}
    maps = make().score_maps(forward(student), forward(depths(1, 8, 8)), batch)
    assert (maps.real[..., 4:] == 0).all()
    assert (maps.fake[..., 4:] == 0).all()
    maps.fake.square().sum().backward()
    assert student.grad is not None
    assert (student.grad[..., 4:] == 0).all()
    assert (student.grad[..., :4] != 0).any()


# ---- scores ----


def scores(task: DepthTask, prediction: Tensor, batch: dict[str, Any]) -> dict[str, float]:
    metric = task.metric()
    metric.add_statistics(task.evaluation_statistics(output(prediction), batch))
    return metric.scores()


def test_scores_are_taken_at_the_labels_size() -> None:
    labels = torch.full((1, 16, 16), 2.0)
    assert scores(make(), torch.full((1, 4, 4), 2.5), {"labels": labels})["abs_rel"] == pytest.approx(0.25)


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
        ({"depth_kind": "inverse"}, "`loss` must be 'ssi' for a student of inverse depth, got 'silog'"),
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
    make().check_batch({"labels": torch.ones(1, 4, 4)})


def test_a_resumed_run_must_find_the_same_kinds() -> None:
    settings = make(loss="ssi", depth_kind="relative", teacher_depth_kind="inverse").settings()
    assert settings == {"depth_loss": "ssi", "depth_kind": "relative", "teacher_depth_kind": "inverse"}


def test_every_depth_class_is_known() -> None:
    assert find_task("GLPNForDepthEstimation") is DepthTask
    assert find_task("DPTForDepthEstimation") is DepthTask
