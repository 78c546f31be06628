"""The pair-wise term against a loop in all its forms, its invariances, mask, memory and errors."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_structkd.losses import (
    PairwiseDistillationLoss,
    graphs,
    node_grid_size,
    pairwise,
    pairwise_distillation_loss,
)
from tests.losses import oracles

Form = Callable[[Tensor, Tensor], Tensor]
FORMS = [graphs.full_graph_direct, graphs.full_graph_linear]


@pytest.fixture(params=FORMS, ids=["direct", "linear"])
def full_graph_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Form:
    """Make the loss use one form of the full graph, whatever the shape."""
    form: Form = request.param
    monkeypatch.setattr(pairwise, "full_graph", lambda student, teacher, squares: form(student, teacher))
    return form


def random_features(height: int = 3, width: int = 4, batch: int = 2) -> tuple[Tensor, Tensor]:
    student = torch.randn(batch, 3, height, width, dtype=torch.float64)
    return student, torch.randn(batch, 5, height, width, dtype=torch.float64)


def random_mask(height: int = 3, width: int = 4, batch: int = 2) -> Tensor:
    """Some pixels, and in the first image all of the first 2x2 node."""
    mask = torch.rand(batch, height, width) > 0.3
    mask[0, :2, :2], mask[0, -1, -1] = False, True
    return mask


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("granularity", [1, 2, (1, 3), (3, 2)])
@pytest.mark.parametrize("size", [(3, 4), (5, 4)])
def test_full_graph_equals_the_loop_over_node_pairs(
    size: tuple[int, int], granularity: int | tuple[int, int], pooling: pairwise.Pooling, masked: bool
) -> None:
    """A dropped border patch, or a pad counted as a pixel, would teach other affinities."""
    student, teacher = random_features(*size)
    mask = random_mask(*size) if masked else None
    sides = granularity if isinstance(granularity, tuple) else (granularity, granularity)
    loss = pairwise_distillation_loss(
        student, teacher, granularity=granularity, pooling=pooling, mask=mask
    ).item()
    expected = oracles.pairwise_loss(student, teacher, sides, None, pooling, mask)
    assert loss == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("connection_range", [9, 25, 49, 225])
@pytest.mark.parametrize("granularity", [(1, 1), (2, 1)])
@pytest.mark.parametrize("size", [(5, 4), (2, 6), (7, 3)])
def test_finite_range_equals_the_loop_over_windows(
    size: tuple[int, int], granularity: tuple[int, int], connection_range: int, masked: bool
) -> None:
    """A window that wraps around, or missing neighbours counted as zeros, would spoil the border."""
    student, teacher = random_features(*size)
    mask = random_mask(*size) if masked else None
    loss = pairwise_distillation_loss(
        student, teacher, granularity=granularity, connection_range=connection_range, mask=mask
    ).item()
    radius = (math.isqrt(connection_range) - 1) // 2
    expected = oracles.pairwise_loss(student, teacher, granularity, radius, "mean", mask)
    assert loss == pytest.approx(expected, rel=1e-9)


def test_window_larger_than_the_map_equals_the_full_graph() -> None:
    student, teacher = random_features(3, 3)
    torch.testing.assert_close(
        pairwise_distillation_loss(student, teacher, connection_range=25),
        pairwise_distillation_loss(student, teacher),
    )


def test_both_full_graph_forms_agree_in_value_and_gradient() -> None:
    """The form is picked by shape: a difference would be a jump of the loss at some image size."""
    student = F.normalize(torch.randn(2, 6, 40), dim=1).requires_grad_()
    teacher = F.normalize(torch.randn(2, 9, 40), dim=1)
    values = [form(student, teacher) for form in FORMS]
    gradients = [torch.autograd.grad(value, student)[0] for value in values]
    torch.testing.assert_close(values[1].float(), values[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_linear_form_does_not_cancel_near_convergence() -> None:
    """In float32 its three large sums leave noise where the loss is small, even below zero."""
    student = F.normalize(torch.randn(1, 16, 256), dim=1)
    teacher = F.normalize(student + 1e-4 * torch.randn(1, 16, 256), dim=1)
    exact = graphs.full_graph_direct(student.double(), teacher.double())
    torch.testing.assert_close(graphs.full_graph_linear(student, teacher), exact, rtol=1e-6, atol=0)


def test_linear_form_is_picked_where_it_does_less_work() -> None:
    """The direct form at 128x128 nodes needs 1 GiB a matrix; the linear one wastes time on small maps."""
    assert graphs.linear_is_cheaper(64 * 128, 128, 512)
    assert not graphs.linear_is_cheaper(16 * 16, 128, 512)
    student, teacher = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    expected = graphs.full_graph_linear(F.normalize(student.flatten(2)), F.normalize(teacher.flatten(2)))
    torch.testing.assert_close(
        pairwise_distillation_loss(student, teacher).double(), expected / 64**2, rtol=1e-6, atol=0
    )


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("connection_range", [None, 9])
def test_is_zero_when_student_equals_teacher(connection_range: int | None) -> None:
    student = random_features()[0].requires_grad_()
    loss = pairwise_distillation_loss(student, student.detach().clone(), connection_range=connection_range)
    loss.backward()
    assert abs(loss.item()) < 1e-14
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-14


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("connection_range", [None, 9])
def test_scaling_and_rotating_teacher_channels_changes_nothing(connection_range: int | None) -> None:
    """Affinities do not depend on the basis or the length: a loss that does would need a projection layer."""
    student, teacher = random_features()
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    moved = torch.einsum("dc,bchw->bdhw", rotation, teacher) * (
        1 + torch.rand(2, 1, 3, 4, dtype=torch.float64)
    )
    torch.testing.assert_close(
        pairwise_distillation_loss(student, moved, connection_range=connection_range),
        pairwise_distillation_loss(student, teacher, connection_range=connection_range),
    )


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("connection_range", [None, 9])
def test_doubling_the_batch_changes_nothing(connection_range: int | None) -> None:
    student, teacher = random_features()
    mask = random_mask()
    once = pairwise_distillation_loss(student, teacher, connection_range=connection_range, mask=mask)
    student, teacher, mask = (torch.cat([part, part]) for part in (student, teacher, mask))
    twice = pairwise_distillation_loss(student, teacher, connection_range=connection_range, mask=mask)
    torch.testing.assert_close(twice, once)


def test_the_norm_carries_gradient() -> None:
    """With the norm detached, most of the gradient only rescales features: the cosine cannot see that."""
    student, teacher = random_features()
    student.requires_grad_()
    pairwise_distillation_loss(student, teacher).backward()
    assert student.grad is not None
    along = (student.grad * student.detach()).sum(dim=1)
    assert along.abs().max() < 1e-15
    assert student.grad.abs().max() > 1e-4


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("connection_range", [None, 9])
def test_ignored_pixels_get_exactly_zero_gradient_whatever_they_hold(
    connection_range: int | None, pooling: pairwise.Pooling, poison: float
) -> None:
    """A padded border would otherwise teach its own pattern, or spread its NaN to the whole map."""
    student, teacher = random_features(5, 6)
    mask = random_mask(5, 6)
    loss_of = PairwiseDistillationLoss(granularity=2, connection_range=connection_range, pooling=pooling)
    clean = loss_of(student, teacher, mask)
    ignored = ~mask[:, None].expand_as(student)
    student = student.masked_fill(ignored, poison).requires_grad_()
    loss = loss_of(student, teacher.masked_fill(~mask[:, None], poison), mask)
    loss.backward()
    assert loss.item() == clean.item()
    assert student.grad is not None
    assert (student.grad[ignored] == 0).all()
    assert student.grad.isfinite().all()
    assert student.grad.any()


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("connection_range", [None, 9])
def test_all_pixels_ignored_gives_zero_and_zero_gradient(
    connection_range: int | None, pooling: pairwise.Pooling
) -> None:
    student, teacher = random_features()
    student.requires_grad_()
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    loss = pairwise_distillation_loss(
        student, teacher, connection_range=connection_range, pooling=pooling, mask=mask
    )
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad is not None
    assert (student.grad == 0).all()


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("connection_range", [None, 9])
def test_zero_node_has_affinity_zero_and_no_gradient(connection_range: int | None) -> None:
    """A dead ReLU makes such nodes. Dividing by a floored norm would hand them a gradient of about 1e12."""
    student, teacher = random_features()
    student[:, :, 1, 1] = 0
    student.requires_grad_()
    loss = pairwise_distillation_loss(student, teacher, connection_range=connection_range)
    loss.backward()
    radius = None if connection_range is None else 1
    expected = oracles.pairwise_loss(student.detach(), teacher, radius=radius)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert student.grad is not None
    assert (student.grad[:, :, 1, 1] == 0).all()
    assert student.grad.abs().max() < 1


def test_teacher_gets_no_gradient() -> None:
    student, teacher = random_features()
    teacher.requires_grad_()
    pairwise_distillation_loss(student.requires_grad_(), teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("connection_range", [None, 9])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked: bool, connection_range: int | None, pooling: pairwise.Pooling) -> None:
    student, teacher = random_features(3, 5, batch=1)
    mask = random_mask(3, 5, batch=1) if masked else None
    assert torch.autograd.gradcheck(
        lambda features: pairwise_distillation_loss(
            features,
            teacher,
            granularity=(1, 2),
            connection_range=connection_range,
            pooling=pooling,
            mask=mask,
        ),
        student.requires_grad_(),
    )


@pytest.mark.usefixtures("full_graph_form")
@pytest.mark.parametrize("connection_range", [None, 9])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_under_autocast_are_computed_in_float32(
    dtype: torch.dtype, connection_range: int | None
) -> None:
    """Autocast would run the products in two or three digits, and the squared differences are small."""
    student, teacher = (features.to(dtype) for features in random_features(6, 6))
    expected = pairwise_distillation_loss(
        student.double(), teacher.double(), connection_range=connection_range
    )
    student.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        loss = pairwise_distillation_loss(student, teacher, connection_range=connection_range)
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad is not None
    assert student.grad.dtype == dtype
    torch.testing.assert_close(loss.detach().double(), expected, rtol=1e-5, atol=0)


def test_module_equals_function() -> None:
    student, teacher = random_features(5, 6)
    mask = random_mask(5, 6)
    settings = {"granularity": (2, 1), "connection_range": 9, "pooling": "max"}
    expected = pairwise_distillation_loss(student, teacher, **settings, mask=mask)  # type: ignore[arg-type]
    module = PairwiseDistillationLoss(**settings)  # type: ignore[arg-type]
    assert torch.equal(module(student, teacher, mask), expected)
    assert repr(module) == ("PairwiseDistillationLoss(granularity=(2, 1), connection_range=9, pooling='max')")


def test_finite_range_keeps_no_copy_of_the_features_per_shift() -> None:
    """25 shifted copies of a 128x128x512 map would be 800 MB; only one number per connection may be kept."""
    student, teacher = torch.randn(1, 32, 16, 16, requires_grad=True), torch.randn(1, 64, 16, 16)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = pairwise_distillation_loss(student, teacher, connection_range=25)
    loss.backward()
    features, connections = student.numel() * 4, 25 * 16 * 16 * 4
    assert sum(saved.values()) < 4 * features + 2 * connections


MEMORY_SCRIPT = """
import pathlib, re, resource, sys, types, torch
# An empty parent package: the real one loads Transformers, seconds that the losses do not need.
sys.modules["hf_structkd"] = types.ModuleType("hf_structkd")
sys.modules["hf_structkd"].__path__ = [sys.argv[1]]
from hf_structkd.losses import pairwise_distillation_loss
assert "transformers" not in sys.modules
torch.set_num_threads(1)
def run(student, teacher):
    for connection_range in (None, 9):
        pairwise_distillation_loss(student, teacher, connection_range=connection_range).backward()
student = torch.randn(1, 64, 128, 128, requires_grad=True)
teacher = torch.randn(1, 128, 128, 128)
run(student[..., :4, :4], teacher[..., :4, :4])
before = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
run(student, teacher)
# Not ru_maxrss, which a child takes over from the process that starts it.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
print((peak - before) / 1e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_128x128_nodes_stay_below_100_megabytes() -> None:
    """One affinity matrix of this map is 1 GiB: training at stride 4 would not fit on a common card."""
    package = str(Path(pairwise.__file__).parents[1])
    command = [sys.executable, "-c", MEMORY_SCRIPT, package]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 20 < float(output) < 100  # the unit nodes in float32 alone are 12 MB


@pytest.mark.parametrize(
    ("granularity", "expected"), [(1, (65, 33)), (2, (33, 17)), ((13, 33), (5, 1)), ([64, 32], (2, 2))]
)
def test_node_grid_keeps_border_patches(
    granularity: int | tuple[int, int], expected: tuple[int, int]
) -> None:
    assert node_grid_size(65, 33, granularity) == expected


def test_each_connection_of_a_window_is_counted_once() -> None:
    """Two opposite shifts are folded into one: a slip would count some neighbours double and others never."""
    rows, columns, radius = 4, 5, 2
    counted = torch.zeros(rows * columns, rows * columns, dtype=torch.long)
    index = torch.arange(rows * columns).reshape(rows, columns)
    for here, there, weight in graphs.window_shifts(rows, columns, radius):
        counted[index[here], index[there]] += 1
        if weight == 2:
            counted[index[there], index[here]] += 1
    for (i, one), (j, other) in itertools.product(enumerate(index.flatten().tolist()), repeat=2):
        near = max(abs(one // columns - other // columns), abs(one % columns - other % columns)) <= radius
        assert counted[i, j] == int(near)


def test_a_connection_range_is_the_square_of_an_odd_number_from_3_up() -> None:
    """1 would compare each node with itself alone, which is always 0."""
    for number in range(-9, 130):
        if number in (9, 25, 49, 81, 121):
            pairwise.check_connection_range(number)
        else:
            with pytest.raises(ValueError, match="`connection_range` must be the square of an odd number"):
                pairwise.check_connection_range(number)
    with pytest.raises(ValueError, match="`connection_range` must be"):
        pairwise_distillation_loss(*random_features(), connection_range=4)


@pytest.mark.parametrize("connection_range", [9.0, "9", True])
def test_rejects_connection_range_that_is_no_int(connection_range: object) -> None:
    with pytest.raises(TypeError, match="`connection_range` must be an int or None"):
        PairwiseDistillationLoss(connection_range=connection_range)  # type: ignore[arg-type]


@pytest.mark.parametrize("granularity", [0, -1, (1, 0)])
def test_rejects_granularity_below_one(granularity: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="`granularity` must be at least 1"):
        PairwiseDistillationLoss(granularity=granularity)


@pytest.mark.parametrize("granularity", [0.5, "2", (1, 2, 3), (1.0, 2), None, True])
def test_rejects_granularity_that_is_no_size(granularity: object) -> None:
    """0.5 is how the paper's repository writes it: a share of the map, not a side in pixels."""
    with pytest.raises(TypeError, match="`granularity` must be an int or a pair"):
        PairwiseDistillationLoss(granularity=granularity)  # type: ignore[arg-type]


@pytest.mark.parametrize("granularity", [4, (4, 1), (1, 5)])
def test_rejects_granularity_larger_than_the_map(granularity: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"`granularity` must fit into the map, got .* for a 3x4 map"):
        pairwise_distillation_loss(*random_features(), granularity=granularity)


def test_rejects_a_map_with_a_single_node() -> None:
    """A node compared with itself alone always agrees: the gradient would silently be zero."""
    with pytest.raises(ValueError, match="`granularity` must leave at least 2 nodes per map"):
        pairwise_distillation_loss(*random_features(3, 3), granularity=3)


def test_rejects_unknown_pooling() -> None:
    with pytest.raises(ValueError, match=re.escape("`pooling` must be one of ('mean', 'max'), got 'avg'")):
        pairwise_distillation_loss(*random_features(), pooling="avg")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("student_shape", "teacher_shape", "message"),
    [
        ((2, 3, 4, 4), (2, 3, 4, 5), "must agree in B, h and w"),
        ((2, 3, 4, 4), (1, 3, 4, 4), "must agree in B, h and w"),
        ((2, 3, 16), (2, 3, 4, 4), "`student_features` must be non-empty with axes"),
        ((2, 3, 4, 4), (2, 16, 3), "`teacher_features` must be non-empty with axes"),
    ],
)
def test_rejects_shapes_that_do_not_fit(
    student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pairwise_distillation_loss(torch.zeros(student_shape), torch.zeros(teacher_shape))


def test_rejects_integer_features() -> None:
    with pytest.raises(TypeError, match="`student_features` must be floating point"):
        pairwise_distillation_loss(torch.ones(1, 3, 4, 4, dtype=torch.long), torch.ones(1, 3, 4, 4))


def test_what_is_stored_of_ignored_nodes_is_not_read() -> None:
    """A NaN of the teacher under padding would reach every weight of the student."""
    student = torch.randn(1, 2, 2, 2, requires_grad=True)
    mask = torch.tensor([[[True, True], [True, False]]])
    teacher = torch.randn(1, 3, 2, 2).masked_fill(~mask[:, None], math.nan)
    loss = pairwise_distillation_loss(student, teacher, mask=mask, teacher_is_pooled=True)
    loss.backward()
    torch.testing.assert_close(loss, pairwise_distillation_loss(student.detach(), teacher, mask=mask))
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_rejects_masks_of_another_dtype_or_shape() -> None:
    student, teacher = random_features()
    with pytest.raises(TypeError, match="`mask` must be bool"):
        pairwise_distillation_loss(student, teacher, mask=torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match=re.escape("`mask` must have shape (B, h, w) = (2, 3, 4)")):
        pairwise_distillation_loss(student, teacher, mask=torch.ones(2, 6, 8, dtype=torch.bool))


def test_known_squares_of_the_teacher_are_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are half of the term's work on large maps, and come from the cache where there is one."""
    monkeypatch.setattr(graphs, "linear_is_cheaper", lambda *sizes: True)
    student, teacher = torch.randn(2, 4, 3, 5), torch.randn(2, 6, 3, 5)
    expected, squares = pairwise_distillation_loss(student, teacher), pairwise.squared_affinities(teacher)
    assert squares.dtype == torch.float64
    cosines = F.normalize(teacher.double().flatten(2), dim=1)
    torch.testing.assert_close(squares, (cosines.mT @ cosines).square().sum(dim=(1, 2)), rtol=1e-6, atol=0)
    monkeypatch.delattr(graphs, "squared_gram")
    known = {"teacher_is_pooled": True, "teacher_squares": squares}
    assert torch.equal(pairwise_distillation_loss(student, teacher, **known), expected)
    with pytest.raises(ValueError, match="`teacher_squares` must be 2 floating-point sums"):
        pairwise_distillation_loss(student, teacher, teacher_squares=squares[:1])
