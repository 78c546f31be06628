"""The pair-wise term of a detector compares every level of the pyramid that its decoder reads."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hf_structkd.features.pyramid import PyramidCapture, pair_levels, tokens_to_maps
from tests.tiny_detectors import (
    DETECTION_ARCHITECTURES,
    FROZEN_BACKBONE_ARCHITECTURES,
    TEACHER_ARCHITECTURES,
    WITHOUT_CLASSES,
    detector_images,
    detector_labels,
    shared,
    tiny_detector,
)

from .stand_ins import hooks_of

# Images are not square, so that rows and columns cannot be mistaken for each other.
IMAGES = detector_images(size=(64, 96))
STRIDES = {
    "conditional_detr": [32],
    "d_fine": [8, 16, 32],
    "dab-detr": [32],
    "deformable_detr": [8, 16, 32, 64],
    "deimv2": [8, 16, 32],
    "detr": [32],
    "lw_detr": [8],
    "pp_doclayout_v2": [8, 16, 32],
    "pp_doclayout_v3": [8, 16, 32],
    "pp_doclayout_v4": [8, 16, 32],
    "rf_detr": [8],
    "rt_detr": [8, 16, 32],
    "rt_detr_v2": [8, 16, 32],
    "table-transformer": [32],
    "yolos": [8],
}
DETR_LIKE = ("conditional_detr", "dab-detr", "detr", "table-transformer")


def captured(model: nn.Module, images: Tensor = IMAGES, **options: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """The model's output, and what is captured of its pyramid."""
    capture = PyramidCapture.of_detector(model, images)
    try:
        with capture.recording():
            output = model(pixel_values=images, **options)
        return output, capture.pop_maps()
    finally:
        capture.remove()


def _by_loops(tokens: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Lay tokens back one by one."""
    levels, rest = [], iter(range(tokens.shape[1]))
    for height, width in sizes:
        level = torch.zeros(tokens.shape[0], tokens.shape[2], height, width)
        for row, column in itertools.product(range(height), range(width)):
            level[:, :, row, column] = tokens[:, next(rest)]
        levels.append(level)
    assert next(rest, None) is None
    return levels


def _expected(arch: str, model: Any, output: Any, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """The pyramid as the model's own output, or a part of it called by hand, gives it."""
    if arch == "yolos":
        return _by_loops(output.last_hidden_state[:, 1:-10], sizes)
    if arch == "rf_detr":
        return [model.model(IMAGES).backbone_features]
    if arch == "lw_detr":
        backbone = model.model.backbone
        return backbone.projector(backbone.backbone(IMAGES).feature_maps)
    if arch == "dab-detr":
        return _by_loops(model(IMAGES, output_hidden_states=True).encoder_last_hidden_state, sizes)
    features = output.encoder_last_hidden_state
    return _by_loops(features, sizes) if isinstance(features, Tensor) else features


@pytest.mark.parametrize("arch", TEACHER_ARCHITECTURES)
@torch.no_grad()
def test_all_levels_of_every_architecture_are_captured(arch: str) -> None:
    """And are still what they were: a version above 0 would tell of a later layer that works in place."""
    output, maps = captured(shared(arch))
    sizes = [(-(-64 // stride), -(-96 // stride)) for stride in STRIDES[arch]]
    assert [(level.shape[2], level.shape[3]) for level in maps] == sizes
    expected = _expected(arch, shared(arch), output, sizes)
    for level, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(level, other)
        assert level.std(dim=(2, 3)).mean() > 1e-2
        assert level._version == 0


@pytest.mark.parametrize("arch", [*DETR_LIKE, "deformable_detr"])
@torch.no_grad()
def test_tokens_lie_where_the_projected_map_had_them(arch: str) -> None:
    """An encoder without layers hands its tokens on: a map laid back wrongly compares places with others."""
    model: Any = copy.deepcopy(shared(arch))
    model.model.encoder.layers = nn.ModuleList()
    if arch == "table-transformer":  # a norm of its own behind the layers
        model.model.encoder.layernorm = nn.Identity()
    projections = model.model.input_proj if arch == "deformable_detr" else [model.model.input_projection]
    projected: list[Tensor] = []
    for projection in projections:
        projection.register_forward_hook(lambda module, args, output: projected.append(output))
    capture = PyramidCapture.of_detector(model, IMAGES)
    projected.clear()
    with capture.recording():
        model(IMAGES)
    for level, other in zip(capture.pop_maps(), projected, strict=True):
        assert torch.equal(level, other)


@torch.no_grad()
def test_the_patches_of_a_vit_lie_where_they_are_in_the_image() -> None:
    """YOLOS without layers and positions: a token is the layer norm of its patch's embedding."""
    model: Any = copy.deepcopy(shared("yolos"))
    model.vit.encoder.layer = nn.ModuleList()
    model.vit.embeddings.position_embeddings.zero_()
    _, (level,) = captured(model)
    for row, column in ((0, 0), (2, 7), (7, 11)):
        patch = IMAGES[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        embedding = model.vit.embeddings.patch_embeddings.projection(patch).flatten(1)
        torch.testing.assert_close(level[:, :, row, column], model.vit.layernorm(embedding))


@pytest.mark.parametrize("arch", [*DETR_LIKE, "deformable_detr", "yolos"])
@torch.no_grad()
def test_sizes_that_no_stride_divides_make_the_grid_of_the_convolutions(arch: str) -> None:
    """A ResNet pads, 70 / 32 gives 3; a ViT cuts the rest off, 70 / 8 gives 8."""
    _, maps = captured(shared(arch), detector_images(size=(70, 101)))
    sizes = [(9, 13), (5, 7), (3, 4), (2, 2)] if arch == "deformable_detr" else [(3, 4)]
    assert [(level.shape[2], level.shape[3]) for level in maps] == ([(8, 12)] if arch == "yolos" else sizes)


@pytest.mark.parametrize("arch", DETECTION_ARCHITECTURES)
def test_gradient_flows_from_every_level_and_stops_before_the_decoder(arch: str) -> None:
    """A detached feature gives a pair-wise term that is logged and trains nothing."""
    model = copy.deepcopy(shared(arch)).train()
    output, maps = captured(model, labels=detector_labels(2, 1))
    assert output.loss.isfinite()
    for level in maps:
        model.zero_grad()
        level.square().mean().backward(retain_graph=True)
        trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert any(
            "backbone" in name or "embeddings" in name or "conv_encoder" in name for name in trained
        ) == (arch not in FROZEN_BACKBONE_ARCHITECTURES)
        assert trained
        assert not any("decoder" in name or "class" in name or "bbox" in name for name in trained)


@pytest.mark.parametrize("arch", ["detr", "deformable_detr", "rt_detr", "rf_detr", "yolos"])
def test_the_probe_leaves_the_model_as_it_was(arch: str) -> None:
    model = copy.deepcopy(shared(arch)).train()
    next(iter(model.children())).eval()
    state = copy.deepcopy(model.state_dict())
    modes, hooks, rng = [m.training for m in model.modules()], hooks_of(model), torch.random.get_rng_state()
    PyramidCapture.of_detector(model, IMAGES).remove()
    assert [m.training for m in model.modules()] == modes
    assert hooks_of(model) == hooks
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arch", "description"),
    [
        ("dab-detr", "output of model.encoder, 1 level"),
        ("rt_detr", "output of model.encoder, 3 levels"),
        ("lw_detr", "output of model.backbone.projector, 1 level"),
        ("yolos", "output of vit.layernorm, 1 level"),
    ],
)
def test_the_description_names_the_module(arch: str, description: str) -> None:
    capture = PyramidCapture.of_detector(shared(arch), IMAGES)
    capture.remove()
    assert capture.description == description


@pytest.mark.parametrize("scales", [[2.0, 0.5], [0.5, 2.0]])
def test_the_finest_level_comes_first_whatever_the_model_s_own_order(scales: list[float]) -> None:
    options = {"projector_scale_factors": scales, "num_feature_levels": 2}
    _, maps = captured(tiny_detector("lw_detr", **options))
    assert [tuple(level.shape) for level in maps] == [(2, 16, 16, 24), (2, 16, 4, 6)]


def test_a_two_stage_decoder_changes_nothing() -> None:
    """It reads the encoder's tokens before the decoder does."""
    options = {"two_stage": True, "with_box_refine": True, "two_stage_num_proposals": 10}
    output, maps = captured(tiny_detector("deformable_detr", **options))
    assert torch.equal(maps[0][:, :, 1, 2], output.encoder_last_hidden_state[:, 12 + 2])


def test_only_what_is_recorded_is_kept_and_of_several_forwards_the_last() -> None:
    model = shared("rt_detr")
    capture = PyramidCapture.of_detector(model, IMAGES)
    with torch.no_grad(), capture.recording():
        model(0 * IMAGES)
        last = model(IMAGES).encoder_last_hidden_state
    with torch.no_grad():
        model(-IMAGES)
    for level, other in zip(capture.pop_maps(), last, strict=True):
        assert torch.equal(level, other)
    capture.remove()


@pytest.mark.parametrize("arch", ["detr", "yolos"])
def test_gradient_checkpointing_does_not_overwrite_what_was_captured(arch: str) -> None:
    """It runs layers again during backward, when nothing is recorded."""
    model = copy.deepcopy(shared(arch)).train()
    capture = PyramidCapture.of_detector(model, IMAGES)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.zero_grad()
        with capture.recording():
            model(IMAGES)
        (level,) = capture.pop_maps()
        level.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        with pytest.raises(RuntimeError, match="nothing was captured"):
            capture.pop_maps()
    torch.testing.assert_close(gradients[0], gradients[1])


def test_maps_are_read_once_so_that_their_graph_can_be_freed() -> None:
    capture = PyramidCapture.of_detector(shared("detr"), IMAGES)
    with pytest.raises(RuntimeError, match=r"nothing was captured as output of model\.encoder, 1 level: run"):
        capture.pop_maps()
    with capture.recording():
        shared("detr")(IMAGES)
    capture.pop_maps()
    with pytest.raises(RuntimeError, match="nothing was captured"):
        capture.pop_maps()
    capture.remove()


def test_a_forward_that_fails_leaves_nothing() -> None:
    """Half of a batch's pyramid would be compared with the next batch's."""
    capture = PyramidCapture.of_detector(shared("detr"), IMAGES)

    def fail_later() -> None:
        with capture.recording():
            shared("detr")(IMAGES)
            raise KeyError

    with pytest.raises(KeyError):
        fail_later()
    with pytest.raises(RuntimeError, match="nothing was captured"):
        capture.pop_maps()
    capture.remove()


def test_removed_hooks_are_gone() -> None:
    model = copy.deepcopy(shared("detr"))
    hooks = hooks_of(model)
    capture = PyramidCapture.of_detector(model, IMAGES)
    assert hooks_of(model) == hooks + 2
    capture.remove()
    assert hooks_of(model) == hooks


def test_a_wrapped_model_is_captured_inside() -> None:
    wrapped = nn.DataParallel(shared("detr"))
    _, (level,) = captured(wrapped)
    assert torch.equal(level, captured(shared("detr"))[1][0])


@pytest.mark.parametrize("arch", WITHOUT_CLASSES)
def test_a_model_without_a_pyramid_is_refused(arch: str) -> None:
    with pytest.raises(
        ValueError, match=r"no feature pyramid in PPOCRV.* name the module .*`teacher_feature`"
    ):
        PyramidCapture.of_detector(shared(arch), IMAGES)


def test_tokens_of_no_known_grid_are_refused_and_leave_nohooks_of() -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(3, 4)

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.encoder(pixel_values.flatten(2).transpose(1, 2))

    model = Detector()
    with pytest.raises(ValueError, match=r"6144 tokens cannot be laid on grids of \[\], .* 0 places; name a"):
        PyramidCapture.of_detector(model, IMAGES)
    assert hooks_of(model) == 0


def test_tokens_are_laid_back_row_by_row_and_level_by_level() -> None:
    tokens = torch.randn(2, 6 + 2, 3, generator=torch.Generator().manual_seed(0))
    sizes = [(2, 3), (1, 2)]
    for level, other in zip(tokens_to_maps(tokens, sizes), _by_loops(tokens, sizes), strict=True):
        assert torch.equal(level, other)


def _levels(*sizes: tuple[int, int], channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(sizes))
    return [torch.randn(2, channels, *size, generator=generator) for size in sizes]


def _partners(pairs: list[tuple[Tensor, Tensor]], side: int, levels: list[Tensor]) -> list[int]:
    """Which level each pair's student or teacher is, where it kept its size."""
    return [next((i for i, m in enumerate(levels) if m is pair[side]), -1) for pair in pairs]


def test_pyramids_of_the_same_sizes_are_paired_level_by_level_and_stay_as_they_are() -> None:
    sizes = [(16, 24), (8, 12), (4, 6)]
    student, teacher = _levels(*sizes), _levels(*sizes, channels=5)
    pairs = pair_levels(student, teacher)
    assert _partners(pairs, 0, student) == [0, 1, 2]
    assert _partners(pairs, 1, teacher) == [0, 1, 2]


@pytest.mark.parametrize(
    ("few", "many", "chosen"),
    [
        ([(8, 8)], [(32, 32), (16, 16), (8, 8), (4, 4)], [2]),
        ([(3, 3)], [(32, 32), (16, 16), (8, 8), (4, 4)], [3]),
        # 23 is nearer to 16 than to 32: by ratio, by difference it would be a tie.
        ([(23, 23)], [(32, 32), (16, 16)], [0]),
        ([(22, 22)], [(32, 32), (16, 16)], [1]),
        # Both are nearest to the 8 x 8: one has to take another, and together they are best so.
        ([(8, 8), (7, 7)], [(32, 32), (8, 8), (4, 4)], [1, 2]),
        ([(10, 10), (8, 8)], [(16, 16), (8, 8), (2, 2)], [0, 1]),
        # Halfway, 16 x 16 and 4 x 4 are as near: the finer one loses nothing.
        ([(8, 8)], [(16, 16), (4, 4)], [0]),
        # By area, so that images of other shapes find their partners.
        ([(6, 10)], [(16, 16), (8, 8), (4, 4)], [1]),
    ],
)
@pytest.mark.parametrize("student_has_fewer", [True, False])
def test_each_level_of_the_smaller_pyramid_gets_the_nearest_that_is_free(
    few: list[tuple[int, int]], many: list[tuple[int, int]], chosen: list[int], student_has_fewer: bool
) -> None:
    fewer, more = _levels(*few), _levels(*many, channels=5)
    pairs = pair_levels(fewer, more) if student_has_fewer else pair_levels(more, fewer)
    assert len(pairs) == len(few)
    for index, (student, teacher) in enumerate(pairs):
        one, other = (student, teacher) if student_has_fewer else (teacher, student)
        size = [min(pair) for pair in zip(few[index], many[chosen[index]], strict=True)]
        pool: Callable[[Tensor], Tensor] = nn.AdaptiveAvgPool2d(size)  # type: ignore[arg-type]
        assert list(one.shape[2:]) == list(other.shape[2:]) == size
        torch.testing.assert_close(one, pool(fewer[index]))
        torch.testing.assert_close(other, pool(more[chosen[index]]))


@pytest.mark.parametrize(("student", "teacher"), [("detr", "rt_detr"), ("deformable_detr", "yolos")])
def test_any_two_detectors_pair_up(student: str, teacher: str) -> None:
    pairs = pair_levels(captured(shared(student))[1], captured(shared(teacher))[1])
    assert [tuple(one.shape[2:]) for one, _ in pairs] == [(2, 3) if student == "detr" else (8, 12)]
    assert all(one.shape[2:] == other.shape[2:] for one, other in pairs)
