"""The pixel-wise term against a loop, its invariances, mask and errors; and what loss modules import."""

from __future__ import annotations

import doctest
import importlib
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hf_structkd import losses
from hf_structkd.losses import PixelDistillationLoss, pixel_distillation_loss
from tests.losses import oracles

LOSS_FILES = sorted(Path(losses.__file__).parent.glob("*.py"))


def random_logits(batch: int = 2, classes: int = 5, height: int = 3, width: int = 4) -> torch.Tensor:
    return 3 * torch.randn(batch, classes, height, width, dtype=torch.float64)


def random_mask(batch: int = 2, height: int = 3, width: int = 4) -> torch.Tensor:
    mask = torch.rand(batch, height, width) > 0.4
    mask[0, 0, 0], mask[0, 0, 1] = True, False
    return mask


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_loop_over_pixels(temperature: float, masked: bool) -> None:
    """A wrong axis or reduction would train at a weight that depends on classes, batch or resolution."""
    student, teacher = random_logits(), random_logits()
    mask = random_mask() if masked else None
    loss = pixel_distillation_loss(student, teacher, temperature=temperature, mask=mask)
    assert loss.item() == pytest.approx(oracles.pixel_loss(student, teacher, temperature, mask), rel=1e-10)


def test_value_derived_by_hand() -> None:
    """q_t = (3/4, 1/4), q_s = (1/2, 1/2): KL = ln 2 - entropy of q_t."""
    teacher = torch.tensor([math.log(3.0), 0.0]).reshape(1, 2, 1, 1)
    expected = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert pixel_distillation_loss(torch.zeros(1, 2, 1, 1), teacher).item() == pytest.approx(expected)


def test_is_zero_when_student_equals_teacher() -> None:
    """A cross-entropy in its place never reaches 0 and would keep pulling a perfect student."""
    student = random_logits().requires_grad_()
    loss = pixel_distillation_loss(student, student.detach().clone(), temperature=2.0)
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-15


def test_adding_a_constant_to_all_classes_changes_nothing() -> None:
    """Softmax does not see it; a loss on raw logits would."""
    student, teacher = random_logits(), random_logits()
    shifted = student + torch.randn(2, 1, 3, 4, dtype=torch.float64)
    expected = pixel_distillation_loss(student, teacher)
    torch.testing.assert_close(pixel_distillation_loss(shifted, teacher), expected)


def test_doubling_the_batch_changes_nothing() -> None:
    """A sum over the batch would tie the term's weight to the batch size, as in the paper's repository."""
    student, teacher, mask = random_logits(), random_logits(), random_mask()
    doubled = [torch.cat([part, part]) for part in (student, teacher, mask)]
    torch.testing.assert_close(
        pixel_distillation_loss(doubled[0], doubled[1], mask=doubled[2]),
        pixel_distillation_loss(student, teacher, mask=mask),
    )


def test_temperature_keeps_the_size_of_the_gradient() -> None:
    """Without the squared temperature, T = 16 would weaken the term 256 times."""
    student, teacher = random_logits().requires_grad_(), random_logits()
    norms = []
    for temperature in (16.0, 32.0):
        loss = pixel_distillation_loss(student, teacher, temperature=temperature)
        norms.append(torch.autograd.grad(loss, student)[0].norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.1)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_ignored_pixels_get_exactly_zero_gradient_whatever_they_hold(poison: float) -> None:
    """0 * NaN is NaN: one padded pixel would wipe out the student's weights."""
    student, teacher, mask = random_logits(), random_logits(), random_mask()
    clean = pixel_distillation_loss(student, teacher, mask=mask)
    ignored = ~mask[:, None].expand_as(student)
    student = student.masked_fill(ignored, poison).requires_grad_()
    loss = pixel_distillation_loss(student, teacher.masked_fill(ignored, poison), mask=mask)
    loss.backward()
    assert loss.item() == clean.item()
    assert student.grad is not None
    assert (student.grad[ignored] == 0).all()
    assert (student.grad[~ignored] != 0).all()


def test_all_pixels_ignored_gives_zero_and_zero_gradient() -> None:
    """A crop of nothing but padding would otherwise divide 0 by 0."""
    student = random_logits().requires_grad_()
    loss = pixel_distillation_loss(student, random_logits(), mask=torch.zeros(2, 3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad is not None
    assert (student.grad == 0).all()


def test_teacher_gets_no_gradient() -> None:
    """A teacher that moves towards the student makes the loss fall without any learning."""
    student, teacher = random_logits().requires_grad_(), random_logits().requires_grad_()
    pixel_distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked: bool) -> None:
    student, teacher = random_logits(1, 3, 2, 2).requires_grad_(), random_logits(1, 3, 2, 2)
    mask = torch.tensor([[[True, False], [True, True]]]) if masked else None
    assert torch.autograd.gradcheck(
        lambda logits: pixel_distillation_loss(logits, teacher, temperature=2.0, mask=mask), student
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_under_autocast_are_computed_in_float32(dtype: torch.dtype) -> None:
    """In bfloat16 the sum over 150 classes would lose all but two digits."""
    student, teacher = (random_logits(classes=150).to(dtype) for _ in range(2))
    expected = pixel_distillation_loss(student.double(), teacher.double())
    with torch.autocast("cpu", dtype=dtype):
        loss = pixel_distillation_loss(student, teacher)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_module_equals_function() -> None:
    student, teacher, mask = random_logits(), random_logits(), random_mask()
    module = PixelDistillationLoss(temperature=3.0)
    expected = pixel_distillation_loss(student, teacher, temperature=3.0, mask=mask)
    assert torch.equal(module(student, teacher, mask), expected)
    assert repr(module) == "PixelDistillationLoss(temperature=3.0)"


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_rejects_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
        pixel_distillation_loss(random_logits(), random_logits(), temperature=temperature)
    with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
        PixelDistillationLoss(temperature)


@pytest.mark.parametrize("temperature", ["2", None, True])
def test_rejects_temperature_that_is_no_number(temperature: object) -> None:
    with pytest.raises(TypeError, match="`temperature` must be a number"):
        PixelDistillationLoss(temperature)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("student_shape", "teacher_shape", "message"),
    [
        (
            (2, 5, 3, 4),
            (2, 6, 3, 4),
            "must have the same shape (B, C, h, w), got (2, 5, 3, 4) and (2, 6, 3, 4)",
        ),
        ((2, 5, 3, 4), (2, 1, 3, 4), "configure the student with the teacher's labels"),
        ((2, 5, 3, 4), (2, 5, 6, 8), "must have the same shape (B, C, h, w)"),
        ((2, 5, 3, 4), (1, 5, 3, 4), "must have the same shape (B, C, h, w)"),
        ((2, 1, 3, 4), (2, 1, 3, 4), "at least 2 classes, got 1"),
        ((5, 3, 4), (2, 5, 3, 4), "`student_logits` must be non-empty with axes"),
        ((2, 5, 3, 4), (2, 5, 12), "`teacher_logits` must be non-empty with axes"),
        ((0, 5, 3, 4), (0, 5, 3, 4), "`student_logits` must be non-empty with axes"),
    ],
)
def test_rejects_shapes_that_do_not_fit(
    student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], message: str
) -> None:
    """Many of these broadcast, and would train towards something nobody asked for."""
    with pytest.raises(ValueError, match=re.escape(message)):
        pixel_distillation_loss(torch.zeros(student_shape), torch.zeros(teacher_shape))


def test_rejects_class_ids_in_place_of_logits() -> None:
    with pytest.raises(TypeError, match="`teacher_logits` must be floating point"):
        pixel_distillation_loss(random_logits(), torch.zeros(2, 5, 3, 4, dtype=torch.long))


def test_rejects_a_mask_that_is_not_bool() -> None:
    """An int mask may be inverted or hold class ids."""
    with pytest.raises(TypeError, match="`mask` must be bool"):
        pixel_distillation_loss(random_logits(), random_logits(), mask=torch.ones(2, 3, 4))


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (1, 3, 4), (3, 4), (2, 6, 8)])
def test_rejects_a_mask_of_another_shape(shape: tuple[int, ...]) -> None:
    """(B, 1, h, w) against (B, h, w) broadcasts to (B, B, h, w)."""
    with pytest.raises(ValueError, match=re.escape("`mask` must have shape (B, h, w) = (2, 3, 4)")):
        pixel_distillation_loss(random_logits(), random_logits(), mask=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("name", ["losses.pixel", "losses.pairwise", "losses.holistic", "adversary.critic"])
def test_docstring_examples_run_as_shown(name: str) -> None:
    module = importlib.import_module(f"hf_structkd.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


def test_public_names_are_sorted_and_exist() -> None:
    assert losses.__all__ == sorted(losses.__all__)
    assert all(hasattr(losses, name) for name in losses.__all__)


def test_kl_div_with_mean_over_pixels_agrees() -> None:
    """A second, independent oracle: torch's own divergence, with the reduction spelled out."""
    student, teacher = random_logits(), random_logits()
    divergence = F.kl_div(
        F.log_softmax(student, 1), F.log_softmax(teacher, 1), reduction="none", log_target=True
    )
    torch.testing.assert_close(pixel_distillation_loss(student, teacher), divergence.sum(1).mean())
