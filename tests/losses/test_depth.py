"""Depth losses and affine fits against loops, their invariances, masks, degenerate maps and errors."""

from __future__ import annotations

import doctest
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers.models.glpn.modeling_glpn import SiLogLoss

from hf_structkd.losses import berhu_loss, depth, scale_shift_invariant_loss, silog_loss, valid_depth
from hf_structkd.losses.depth import DEPTH_LOSSES
from hf_structkd.losses.depth_fits import affine_statistics, align_scale_shift
from tests.losses import oracles

NAMES = sorted(DEPTH_LOSSES)
ORACLES: dict[str, Callable[..., float]] = {
    "silog": oracles.silog_loss,
    "ssi": oracles.scale_shift_invariant_loss,
    "l1": oracles.l1_depth_loss,
    "berhu": oracles.berhu_loss,
}
METRIC = ["berhu", "l1", "silog"]


def random_depth(batch: int = 2, height: int = 7, width: int = 10) -> Tensor:
    return 0.5 + 5 * torch.rand(batch, height, width, dtype=torch.float64)


def random_mask(batch: int = 2, height: int = 7, width: int = 10) -> Tensor:
    mask = torch.rand(batch, height, width) > 0.4
    mask[:, 0, 0], mask[:, 0, 1] = True, False
    return mask


# ---- values ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_loop_over_pixels(name: str, masked: bool) -> None:
    """A wrong axis or reduction would train at a weight that depends on batch or resolution."""
    prediction, target = random_depth(3), random_depth(3)
    mask = random_mask(3) if masked else None
    expected = ORACLES[name](prediction, target, mask=mask)
    assert DEPTH_LOSSES[name](prediction, target, mask=mask).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("variance_focus", [0, 0.85, 1])
def test_silog_equals_the_loop_at_every_focus(variance_focus: float) -> None:
    prediction, target = random_depth(), random_depth()
    loss = silog_loss(prediction, target, variance_focus=variance_focus)
    assert loss.item() == pytest.approx(oracles.silog_loss(prediction, target, variance_focus), rel=1e-10)


@pytest.mark.parametrize("threshold", [0.05, 0.6, 1])
def test_berhu_equals_the_loop_at_every_threshold(threshold: float) -> None:
    prediction, target = random_depth(), random_depth()
    loss = berhu_loss(prediction, target, threshold=threshold)
    assert loss.item() == pytest.approx(oracles.berhu_loss(prediction, target, threshold), rel=1e-10)


@pytest.mark.parametrize(("gradient_weight", "scales"), [(0, 4), (2.0, 1), (0.5, 2), (1, 6)])
def test_scale_shift_invariant_loss_equals_the_loop_at_every_setting(
    gradient_weight: float, scales: int
) -> None:
    """Six scales are more than a 7 x 10 map has: the last ones are a single pixel without a neighbour."""
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    loss = scale_shift_invariant_loss(
        prediction, target, gradient_weight=gradient_weight, scales=scales, mask=mask
    )
    expected = oracles.scale_shift_invariant_loss(prediction, target, gradient_weight, scales, mask)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("variance_focus", [0.0, 0.5, 0.85])
def test_silog_of_one_image_is_the_loss_of_glpn(variance_focus: float) -> None:
    """GLPN computes it from its own labels: a second definition would change what fine-tuning means."""
    prediction, target = random_depth(1), random_depth(1) * random_mask(1)
    expected = SiLogLoss(variance_focus)(prediction, target)
    torch.testing.assert_close(silog_loss(prediction, target, variance_focus=variance_focus), expected)


def test_berhu_value_derived_by_hand() -> None:
    """Errors 0.5, 1, 5: c = 1, so 0.5 and 1 count as they are and 5 as (25 + 1) / 2."""
    target = torch.ones(1, 1, 3)
    prediction = target + torch.tensor([0.5, -1.0, 5.0])
    assert berhu_loss(prediction, target).item() == pytest.approx((0.5 + 1 + 13) / 3)


def test_gradient_matching_sees_what_the_mean_of_differences_does_not() -> None:
    """The same residuals in another order: checkered ones have far more gradient than two halves."""
    target = torch.arange(16.0).reshape(1, 4, 4)
    checkered = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    halves = torch.ones(4, 4)
    halves[:, 2:] = -1
    losses = [
        scale_shift_invariant_loss(target + residual, target, scales=1) for residual in (checkered, halves)
    ]
    assert losses[0] > 1.5 * losses[1]


@pytest.mark.parametrize("name", NAMES)
def test_perfect_prediction_gives_zero_and_no_gradient(name: str) -> None:
    """The root of silog and the border of BerHu both divide by 0 there, and NaN would end the training."""
    target = random_depth()
    target[0, 0, 0] = 1e-4
    prediction = target.clone().requires_grad_()
    loss = DEPTH_LOSSES[name](prediction, target)
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


def test_valid_depth_is_finite_and_above_zero() -> None:
    values = torch.tensor([1e-6, 80.0, 0.0, -0.0, -2.0, math.nan, math.inf, -math.inf])
    assert valid_depth(values).tolist() == [True, True] + 6 * [False]


# ---- invariances ----


@pytest.mark.parametrize("factor", [0.01, 3.0, 1000.0])
def test_silog_with_full_focus_ignores_the_scale(factor: float) -> None:
    """float32: from the definition, with its difference of large sums, the root turns NaN."""
    prediction, target = random_depth().float(), random_depth().float()
    expected = silog_loss(prediction, target, variance_focus=1)
    torch.testing.assert_close(silog_loss(factor * prediction, target, variance_focus=1), expected)
    assert silog_loss(factor * target, target, variance_focus=1).item() < 1e-5


def test_silog_with_half_focus_sees_the_scale() -> None:
    target = random_depth()
    assert silog_loss(2 * target, target).item() == pytest.approx(math.log(2) * math.sqrt(0.5))


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (50.0, -300.0), (0.2, 1000.0)])
def test_scale_shift_invariant_loss_ignores_both(scale: float, shift: float) -> None:
    """A relative teacher's numbers mean nothing by themselves; so do the student's."""
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    expected = scale_shift_invariant_loss(prediction, target, mask=mask)
    for maps in ((scale * prediction + shift, target), (prediction, scale * target + shift)):
        torch.testing.assert_close(scale_shift_invariant_loss(*maps, mask=mask), expected)


def test_scale_shift_invariant_loss_sees_an_inverted_map() -> None:
    """Inverse depth taught as depth must not look like a good fit."""
    target = random_depth()
    assert scale_shift_invariant_loss(-target, target) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_doubling_the_batch_changes_nothing(name: str) -> None:
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    doubled = [torch.cat([part, part]) for part in (prediction, target, mask)]
    torch.testing.assert_close(
        DEPTH_LOSSES[name](doubled[0], doubled[1], mask=doubled[2]),
        DEPTH_LOSSES[name](prediction, target, mask=mask),
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_image_at_a_time_gives_the_gradient_of_the_batch(name: str) -> None:
    """Pooled pixels would weigh images by their measurements, and accumulation would change the training."""
    prediction, target, mask = random_depth(4), random_depth(4), random_mask(4)
    mask[1, 1:] = False
    whole = prediction.clone().requires_grad_()
    DEPTH_LOSSES[name](whole, target, mask=mask).backward()
    parts = prediction.clone().requires_grad_()
    for i in range(4):
        one = slice(i, i + 1)
        (DEPTH_LOSSES[name](parts[one], target[one], mask=mask[one]) / 4).backward()
    torch.testing.assert_close(parts.grad, whole.grad)


# ---- masks ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e30, 0.0])
def test_ignored_pixels_get_exactly_zero_gradient_whatever_they_hold(name: str, poison: float) -> None:
    """0 * NaN is NaN: one padded pixel would wipe out the student's weights."""
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    clean = DEPTH_LOSSES[name](prediction, target, mask=mask)
    prediction = prediction.masked_fill(~mask, poison).requires_grad_()
    loss = DEPTH_LOSSES[name](prediction, target.masked_fill(~mask, poison), mask=mask)
    loss.backward()
    assert loss.item() == clean.item()
    assert prediction.grad is not None
    assert (prediction.grad[~mask] == 0).all()
    assert (prediction.grad[mask] != 0).double().mean() > 0.9


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_ignored_pixels_do_not_reach_the_fits(poison: float) -> None:
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    poisoned = prediction.masked_fill(~mask, poison).requires_grad_()
    bad_target = target.masked_fill(~mask, poison)
    found = (
        *align_scale_shift(poisoned, bad_target, mask=mask),
        *affine_statistics(poisoned, mask=mask),
    )
    clean = (*align_scale_shift(prediction, target, mask=mask), *affine_statistics(prediction, mask=mask))
    assert all(torch.equal(one, other) for one, other in zip(found, clean, strict=True))
    sum(found).sum().backward()  # type: ignore[union-attr]
    assert poisoned.grad is not None
    assert (poisoned.grad[~mask] == 0).all()
    assert (poisoned.grad[mask] != 0).all()


@pytest.mark.parametrize("name", METRIC)
@pytest.mark.parametrize("hole", [0.0, -1.0, math.nan, math.inf])
def test_unmeasured_targets_never_count_in_metric_losses(name: str, hole: float) -> None:
    """Without the rule a sensor's holes are learnt as surfaces at the camera."""
    prediction, target, measured = random_depth(), random_depth(), random_mask()
    expected = DEPTH_LOSSES[name](prediction, target, mask=measured)
    holes = target.masked_fill(~measured, hole)
    assert DEPTH_LOSSES[name](prediction, holes) == expected
    assert DEPTH_LOSSES[name](prediction, holes, mask=torch.ones_like(measured)) == expected


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_relative_targets_count_at_any_sign_but_not_where_they_are_not_finite(hole: float) -> None:
    prediction, target, mask = random_depth(), random_depth(), random_mask()
    expected = scale_shift_invariant_loss(prediction, target - 100, mask=mask)
    torch.testing.assert_close(scale_shift_invariant_loss(prediction, target, mask=mask), expected)
    holes = target.masked_fill(~mask, hole)
    torch.testing.assert_close(scale_shift_invariant_loss(prediction, holes), expected)
    for found, clean in zip(
        align_scale_shift(prediction, holes), align_scale_shift(prediction, target, mask=mask), strict=True
    ):
        assert torch.equal(found, clean)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_mask", [True, False])
def test_nothing_valid_gives_zero_and_zero_gradient(name: str, by_mask: bool) -> None:
    """A batch of unlabelled images would otherwise divide 0 by 0."""
    prediction = random_depth().requires_grad_()
    target = random_depth() if by_mask else torch.full((2, 7, 10), math.nan)
    mask = torch.zeros(2, 7, 10, dtype=torch.bool) if by_mask else None
    loss = DEPTH_LOSSES[name](prediction, target, mask=mask)
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_valid_pixels_does_not_dilute_the_others(name: str) -> None:
    """Unlabelled images in a batch would otherwise weaken the labelled ones."""
    prediction, target, mask = random_depth(3), random_depth(3), random_mask(3)
    mask[1] = False
    others = torch.tensor([0, 2])
    torch.testing.assert_close(
        DEPTH_LOSSES[name](prediction, target, mask=mask),
        DEPTH_LOSSES[name](prediction[others], target[others], mask=mask[others]),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_counted_prediction_that_is_not_finite_shows(name: str, value: float) -> None:
    """A diverged student must not hide behind a finite loss."""
    prediction = random_depth()
    prediction[0, 3, 3] = value
    assert not DEPTH_LOSSES[name](prediction, random_depth()).isfinite()


# ---- gradients and precision ----


@pytest.mark.parametrize("name", ["l1", "silog", "ssi"])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(name: str, masked: bool) -> None:
    prediction, target = random_depth(2, 3, 4).requires_grad_(), random_depth(2, 3, 4)
    mask = random_mask(2, 3, 4) if masked else None
    assert torch.autograd.gradcheck(lambda maps: DEPTH_LOSSES[name](maps, target, mask=mask), prediction)


def test_gradcheck_of_berhu_with_its_border_held() -> None:
    """The border carries no gradient: the largest error is a masked-in pixel that does not move."""
    prediction, target = random_depth(1, 3, 4), random_depth(1, 3, 4)
    far = torch.full((1, 1, 4), 20.0, dtype=torch.float64)
    wide_target = torch.cat([target, torch.ones_like(far)], dim=1)

    def loss(maps: Tensor) -> Tensor:
        return berhu_loss(torch.cat([maps, far], dim=1), wide_target, threshold=0.1)

    assert torch.autograd.gradcheck(loss, prediction.requires_grad_())


def test_the_border_of_berhu_carries_no_gradient() -> None:
    """With it, the one largest error would steer the loss of every other pixel."""
    target = torch.ones(1, 1, 3)
    prediction = (target + torch.tensor([0.5, 2.0, 5.0])).requires_grad_()
    berhu_loss(prediction, target).backward()
    assert prediction.grad is not None
    torch.testing.assert_close(prediction.grad, torch.tensor([[[1.0, 2.0, 5.0]]]) / 3)


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck_of_the_fits(masked: bool) -> None:
    maps, target = random_depth(2, 3, 4).requires_grad_(), random_depth(2, 3, 4).requires_grad_()
    mask = random_mask(2, 3, 4) if masked else None
    assert torch.autograd.gradcheck(lambda *pair: align_scale_shift(*pair, mask=mask), (maps, target))
    assert torch.autograd.gradcheck(lambda one: affine_statistics(one, mask=mask), maps)


@pytest.mark.parametrize("value", [-3.0, -1e-3, 0.0, 5e-4])
def test_gradcheck_of_silog_below_the_floor_of_the_logarithm(value: float) -> None:
    prediction, target = random_depth(1, 2, 3), random_depth(1, 2, 3)
    prediction[0, 0, 0] = value
    assert torch.autograd.gradcheck(
        lambda maps: silog_loss(maps, target), prediction.requires_grad_(), eps=1e-8, rtol=1e-2
    )


@pytest.mark.parametrize("value", [-100.0, -0.5, 0.0, 1e-4])
def test_silog_pushes_predictions_up_from_zero_and_below(value: float) -> None:
    """A clamp leaves them without gradient, and they stay where they are for good."""
    prediction, target = random_depth(), random_depth()
    prediction[0, 0, 0] = value
    prediction.requires_grad_()
    loss = silog_loss(prediction, target)
    loss.backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert -1000 < prediction.grad[0, 0, 0] < 0
    assert loss < 3


def test_silog_falls_without_a_jump_from_far_below_zero_to_the_target() -> None:
    depths = torch.linspace(-0.01, 0.01, 401, dtype=torch.float64)
    losses = torch.stack([silog_loss(one.reshape(1, 1, 1), torch.ones(1, 1, 1)) for one in depths])
    steps = losses.diff()
    assert (steps < 0).all()
    assert steps.min() > -0.1


@pytest.mark.parametrize("name", NAMES)
def test_target_gets_no_gradient(name: str) -> None:
    prediction, target = random_depth().requires_grad_(), random_depth().requires_grad_()
    DEPTH_LOSSES[name](prediction, target).backward()
    assert target.grad is None
    assert prediction.grad is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_under_autocast_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    """In float16 the squares of BerHu overflow at 256 m, and a sum over an image long before."""
    prediction, target = (random_depth(2, 64, 64).to(dtype) * 50 for _ in range(2))
    expected = DEPTH_LOSSES[name](prediction.double(), target.double())
    with torch.autocast("cpu", dtype=dtype):
        loss = DEPTH_LOSSES[name](prediction, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_of_the_fits_are_computed_in_float32(dtype: torch.dtype) -> None:
    maps, target = (random_depth(2, 64, 64).to(dtype) for _ in range(2))
    with torch.autocast("cpu", dtype=dtype):
        found = (*align_scale_shift(maps, target), *affine_statistics(maps))
    expected = (*align_scale_shift(maps.double(), target.double()), *affine_statistics(maps.double()))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


# ---- maps without spread ----


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e4])
def test_a_collapsed_prediction_gets_a_gradient_of_ordinary_size(constant: float) -> None:
    """Division by a small floor would multiply it a million times, and one image would drown the batch."""
    prediction = torch.full((1, 7, 10), constant, requires_grad=True)
    loss = scale_shift_invariant_loss(prediction, random_depth(1).float(), gradient_weight=0)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert prediction.grad is not None
    assert 0 < prediction.grad.abs().max() <= 1


def test_a_constant_target_gives_a_finite_loss() -> None:
    prediction = random_depth().requires_grad_()
    loss = scale_shift_invariant_loss(prediction, torch.full((2, 7, 10), 3.0))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("constant", [0.1, -7.3, 1e4])
def test_rounding_is_no_spread(constant: float) -> None:
    """The mean of equal float32 values is not always that value; dividing by the rest makes noise of it."""
    maps = torch.full((2, 33, 37), constant)
    mean, spread = affine_statistics(maps)
    torch.testing.assert_close(mean, torch.full((2,), constant))
    assert spread.tolist() == [1.0, 1.0]
    scale, shift = align_scale_shift(maps, random_depth(2, 33, 37).float())
    assert scale.tolist() == [0.0, 0.0]
    assert shift.isfinite().all()


# ---- affine fits ----


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_align_scale_shift_equals_a_least_squares_solver(offset: float) -> None:
    prediction, mask = random_depth() + offset, random_mask()
    target = random_depth() + 0.5 * prediction
    scale, shift = align_scale_shift(prediction, target, mask=mask)
    expected = oracles.align_scale_shift(prediction, target, mask)
    assert scale.tolist() == pytest.approx([one for one, _ in expected], rel=1e-6)
    assert shift.tolist() == pytest.approx([one for _, one in expected], rel=1e-6)


def test_align_scale_shift_is_accurate_in_float32_far_from_zero() -> None:
    """The normal equations without centring lose every digit there."""
    prediction = random_depth().float() + 2000
    scale, shift = align_scale_shift(prediction, (prediction.double() * 0.5 + 3).float())
    assert scale.dtype == shift.dtype == torch.float32
    torch.testing.assert_close(scale, torch.full((2,), 0.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(shift, torch.full((2,), 3.0), rtol=0, atol=0.1)


def test_the_scale_of_a_fit_is_never_negative() -> None:
    """Fitted with a negative one, a world turned inside out would be the right one."""
    prediction = random_depth()
    scale, shift = align_scale_shift(prediction, 7 - 2 * prediction)
    assert scale.tolist() == [0.0, 0.0]
    torch.testing.assert_close(shift, 7 - 2 * prediction.mean(dim=(1, 2)))


def test_align_scale_shift_of_degenerate_images() -> None:
    """Constant, one pixel, no pixel: the mean of the target, that pixel's target, the identity."""
    prediction, target = random_depth(3).requires_grad_(), random_depth(3)
    mask = torch.zeros(3, 7, 10, dtype=torch.bool)
    mask[0], mask[1, 2, 3] = True, True
    constant = torch.cat([torch.full((1, 7, 10), 4.2, dtype=torch.float64), prediction[1:]])
    scale, shift = align_scale_shift(constant, target, mask=mask)
    assert scale.tolist() == [0.0, 0.0, 1.0]
    assert shift.tolist() == pytest.approx([target[0].mean().item(), target[1, 2, 3].item(), 0.0])
    (scale + shift).sum().backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_affine_statistics_equal_the_loop() -> None:
    maps, mask = random_depth() - 3, random_mask()
    mean, spread = affine_statistics(maps, mask=mask)
    expected = oracles.affine_statistics(maps, mask)
    assert mean.tolist() == pytest.approx([one for one, _ in expected], rel=1e-10)
    assert spread.tolist() == pytest.approx([one for _, one in expected], rel=1e-10)


def test_affine_statistics_of_an_image_without_pixels_are_the_identity() -> None:
    mean, spread = affine_statistics(random_depth(1), mask=torch.zeros(1, 7, 10, dtype=torch.bool))
    assert (mean.item(), spread.item()) == (0.0, 1.0)


# ---- errors ----

PAIRS = {**DEPTH_LOSSES, "align_scale_shift": align_scale_shift}


@pytest.mark.parametrize("name", sorted(PAIRS))
@pytest.mark.parametrize(
    ("prediction_shape", "target_shape", "message"),
    [
        ((2, 7, 10), (2, 14, 20), "must have the same shape (B, h, w), got (2, 7, 10) and (2, 14, 20)"),
        ((2, 7, 10), (1, 7, 10), "must have the same shape (B, h, w)"),
        ((2, 1, 7, 10), (2, 7, 10), "`prediction` must be non-empty with axes (B, h, w)"),
        ((2, 7, 10), (7, 10), "`target` must be non-empty with axes (B, h, w)"),
        ((0, 7, 10), (0, 7, 10), "`prediction` must be non-empty with axes (B, h, w)"),
    ],
)
def test_rejects_shapes_that_do_not_fit(
    name: str, prediction_shape: tuple[int, ...], target_shape: tuple[int, ...], message: str
) -> None:
    """(B, 1, h, w) against (B, h, w) broadcasts every image against every other."""
    with pytest.raises(ValueError, match=re.escape(message)):
        PAIRS[name](torch.ones(prediction_shape), torch.ones(target_shape))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_rejects_stored_integers_in_place_of_metres(name: str) -> None:
    """Depth files hold millimetres or other steps; as they are, the loss is a thousand times too large."""
    with pytest.raises(TypeError, match="`target` must be floating point"):
        PAIRS[name](random_depth(), torch.ones(2, 7, 10, dtype=torch.int32))


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_rejects_masks_that_do_not_fit(name: str) -> None:
    maps = random_depth()
    with pytest.raises(TypeError, match="`mask` must be bool"):
        PAIRS[name](maps, maps, mask=torch.ones(2, 7, 10))
    with pytest.raises(ValueError, match="`mask` must have shape"):
        PAIRS[name](maps, maps, mask=torch.ones(2, 1, 7, 10, dtype=torch.bool))


def test_affine_statistics_reject_what_is_no_depth_map() -> None:
    with pytest.raises(ValueError, match="`maps` must be non-empty with axes"):
        affine_statistics(torch.ones(2, 1, 7, 10))
    with pytest.raises(TypeError, match="`maps` must be floating point"):
        affine_statistics(torch.ones(2, 7, 10, dtype=torch.long))
    with pytest.raises(TypeError, match="`mask` must be bool"):
        affine_statistics(random_depth(), mask=torch.ones(2, 7, 10))


def call_with(setting: str, value: object) -> Tensor:
    losses: dict[str, Callable[..., Tensor]] = {
        "variance_focus": silog_loss,
        "threshold": berhu_loss,
        "gradient_weight": scale_shift_invariant_loss,
        "scales": scale_shift_invariant_loss,
    }
    return losses[setting](random_depth(), random_depth(), **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("variance_focus", 1.5, "`variance_focus` must be finite and at least 0 and at most 1, got 1.5"),
        ("variance_focus", -0.1, "`variance_focus` must be finite and at least 0"),
        ("variance_focus", math.nan, "`variance_focus` must be finite and at least 0"),
        ("threshold", 0, "`threshold` must be finite and above 0 and at most 1, got 0"),
        ("threshold", 20.0, "`threshold` must be finite and above 0 and at most 1, got 20"),
        ("gradient_weight", -1.0, "`gradient_weight` must be finite and at least 0"),
        ("gradient_weight", math.inf, "`gradient_weight` must be finite and at least 0"),
        ("scales", 0, "`scales` must be at least 1, got 0"),
    ],
)
def test_rejects_settings_out_of_range(setting: str, value: float, message: str) -> None:
    """With a focus above 1 the root's argument turns negative; a threshold in per cent is plain L1."""
    with pytest.raises(ValueError, match=message):
        call_with(setting, value)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("variance_focus", "0.5", "`variance_focus` must be a number, got str"),
        ("threshold", None, "`threshold` must be a number, got NoneType"),
        ("gradient_weight", True, "`gradient_weight` must be a number, got bool"),
        ("scales", 4.0, "`scales` must be an int, got 4.0"),
    ],
)
def test_rejects_settings_of_the_wrong_type(setting: str, value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call_with(setting, value)


def test_docstring_examples_run_as_shown() -> None:
    result = doctest.testmod(depth)
    assert result.failed == 0
    assert result.attempted > 0
