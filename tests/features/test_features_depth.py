"""The pair-wise term of a depth model compares the coarsest map of its decoder, and finds it by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import DepthEstimatorOutput

from hf_structkd.features import FeatureCapture, find_decoder, find_regressor
from hf_structkd.tasks import DepthTask
from tests.tiny_models import DEPTH_MODELS, random_images, tiny_depth_model

from .stand_ins import IMAGES, Twice, hooks_of, unchanged

# Name of the regressor, and shape (C, h, w) of what it reads in the tiny model.
REGRESSORS = {
    "chmv2": ("head.conv_depth.head.4", (6, 128, 128)),
    "depth_anything": ("head.conv3", (6, 64, 64)),
    "depth_pro": ("head.layers.4", (32, 64, 64)),
    "dpt": ("head.head.4", (32, 128, 128)),
    "dpt_hierarchical": ("head.head.4", (32, 64, 64)),
    "glpn": ("head.head.2", (8, 64, 64)),
    "prompt_depth_anything": ("head.conv3", (6, 64, 64)),
    "tipsv2_dpt": ("decoder.head", (8, 64, 64)),
}
# Every module of ZoeDepth leaves something else that varies: its bins move for every pixel.
WITH_REGRESSOR = sorted(REGRESSORS)
# Name of the decoder's first stage, and shape (C, h, w) of what it puts out in the tiny model.
DECODERS = {
    "chmv2": ("head.fusion_layers.0", (8, 8, 8)),
    "depth_anything": ("neck.fusion_stage.layers.0", (8, 8, 8)),
    "depth_pro": ("fusion_stage.intermediate.0", (16, 8, 8)),
    "dpt": ("neck.fusion_stage.layers.0", (8, 8, 8)),
    "dpt_hierarchical": ("neck.fusion_stage.layers.0", (8, 4, 4)),
    "glpn": ("decoder.stages.0", (8, 4, 4)),
    "prompt_depth_anything": ("neck.fusion_stage.layers.0", (8, 8, 8)),
    "tipsv2_dpt": ("neck.fusion_stage.layers.0", (8, 8, 8)),
    "zoedepth": ("neck.fusion_stage.layers.0", (8, 8, 8)),
}


def predicted_depth(output: Any) -> Tensor:
    return output.predicted_depth


class Head(nn.Module):
    """Conv, ReLU, regressor, ReLU, with replaceable parts: a stand-in for any user's model."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.between: nn.Module = nn.ReLU()
        self.regressor: nn.Module = nn.Conv2d(6, 1, 1)
        self.after: nn.Module = nn.ReLU()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, pixel_values: Tensor) -> DepthEstimatorOutput:
        depth = self.after(self.regressor(self.between(self.stem(pixel_values))))
        return DepthEstimatorOutput(predicted_depth=depth.squeeze(1))


class Applies(nn.Module):
    """Applies a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, value: Tensor) -> Tensor:
        return self.function(value)


def _find(model: nn.Module, images: Tensor = IMAGES) -> str:
    return find_regressor(model, images, get_map=predicted_depth)


def test_the_table_covers_every_model() -> None:
    assert set(DECODERS) == set(DEPTH_MODELS) == {*REGRESSORS, "zoedepth"}


def test_a_model_without_a_regressor_is_told_so() -> None:
    with pytest.raises(ValueError, match="no regressor in ZoeDepthForDepthEstimation"):
        _find(tiny_depth_model("zoedepth"), random_images("zoedepth"))


@pytest.mark.parametrize("arch", WITH_REGRESSOR)
def test_the_regressor_is_found_in_bfloat16(arch: str) -> None:
    """A tolerance for float32 would reject every module of a half-precision teacher."""
    model = tiny_depth_model(arch).bfloat16()
    assert _find(model, random_images(arch, dtype=torch.bfloat16)) == REGRESSORS[arch][0]


@pytest.mark.parametrize("arch", WITH_REGRESSOR)
def test_the_probe_finds_the_regressor_and_leaves_the_model_as_it_was(arch: str) -> None:
    """A shifted BatchNorm statistic or a teacher left in train mode changes a run without a word."""
    model = tiny_depth_model(arch)
    with unchanged(model):
        capture = FeatureCapture.before_regressor(model, random_images(arch), get_map=predicted_depth)
        capture.remove()
    assert capture.description.partition(",")[0] == f"input of {REGRESSORS[arch][0]}"


def test_the_probe_cleans_up_when_the_model_fails() -> None:
    model = Head().train()
    with pytest.raises(RuntimeError):
        _find(model, torch.zeros(1, 4, 8, 8))
    with pytest.raises(AttributeError):
        find_regressor(model, IMAGES, get_map=lambda output: output.depth_map)
    assert hooks_of(model) == 0
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("arch", DEPTH_MODELS)
def test_the_feature_is_the_coarsest_map_of_the_decoder(arch: str) -> None:
    """In finer maps all cosines are near 1 in teacher and student: a term that is 0 and trains nothing."""
    model = tiny_depth_model(arch).train()
    images, (name, shape) = random_images(arch), DECODERS[arch]
    assert find_decoder(nn.DataParallel(model)) == name
    capture = DepthTask.find_features(model, images)
    assert capture.description == f"output of {name}"
    with capture.recording():
        model(images)
    feature = capture.pop()
    assert feature.shape == (2, *shape)
    feature.square().mean().backward()
    first = next(p for key, p in model.named_parameters() if "patch_embed" in key and p.dim() == 4)
    assert first.grad is not None
    assert first.grad.abs().max() > 0


@pytest.mark.parametrize("arch", WITH_REGRESSOR)
def test_what_the_regressor_reads_is_a_map_through_which_the_gradient_reaches_the_encoder(arch: str) -> None:
    """A detached feature gives a pair-wise term that is logged and trains nothing."""
    model = tiny_depth_model(arch).train()
    images = random_images(arch)
    capture = FeatureCapture.before_regressor(model, images, get_map=predicted_depth)
    with capture.recording():
        depth = model(images).predicted_depth
    feature = capture.pop()
    assert feature.shape == (2, *REGRESSORS[arch][1])
    assert feature.shape[-2:] == depth.shape[-2:]
    assert capture.description == f"input of {REGRESSORS[arch][0]}"
    feature.square().mean().backward()
    first = next(p for name, p in model.named_parameters() if "patch_embed" in name and p.dim() == 4)
    assert first.grad is not None
    assert first.grad.abs().max() > 0
    assert all(p.grad is None for p in model.get_submodule(REGRESSORS[arch][0]).parameters())


def test_a_model_of_another_build_is_compared_where_its_last_layer_reads() -> None:
    model = Head()
    assert find_decoder(model) is None
    capture = DepthTask.find_features(model, IMAGES)
    assert capture.description == "input of regressor"
    with capture.recording():
        model(IMAGES)
    feature = capture.pop()
    feature.square().mean().backward()
    assert feature.shape == (2, 6, 8, 12)
    assert model.stem.weight.grad is not None
    assert model.regressor.weight.grad is None


def test_a_linear_regressor_s_channels_last_input_is_permuted() -> None:
    """Compared as it is, the width would pass for the channels: affinities of columns."""
    model = tiny_depth_model("tipsv2_dpt")
    read = []
    model.decoder.head.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    capture = FeatureCapture.before_regressor(model, random_images("tipsv2_dpt"), get_map=predicted_depth)
    with capture.recording():
        model(random_images("tipsv2_dpt"))
    assert torch.equal(capture.pop(), read[-1].permute(0, 3, 1, 2))


def test_the_feature_is_taken_before_dropout() -> None:
    """Dropped features would make the affinities noise."""
    model = Head(between=nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))
    capture = FeatureCapture.before_regressor(model, IMAGES, get_map=predicted_depth)
    assert capture.description == "input of regressor, before between.1"
    model.train()
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), model.stem(IMAGES).relu())


@pytest.mark.parametrize("arch", ["dpt", "zoedepth"])
def test_a_transformer_layer_s_tokens_become_a_map(arch: str) -> None:
    model = tiny_depth_model(arch)
    name = {"dpt": "dpt.encoder.layer.3", "zoedepth": "backbone.beit.layers.3"}[arch]
    capture = FeatureCapture.of_module(model, name)
    tokens: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, args, output: tokens.append(output))
    with capture.recording():
        model(random_images(arch))
    feature = capture.pop()
    assert feature.shape == (2, 16, 8, 8)
    assert torch.equal(feature[:, :, 1, 2], tokens[0][:, 1 + 8 + 2])


def test_of_a_chain_of_pointwise_layers_the_last_is_taken() -> None:
    """Every 1x1 layer before it passes too; the first of them reads the least of what the model learned."""
    chain = nn.Sequential(nn.Conv2d(6, 4, 1), nn.GELU(), nn.Conv2d(4, 4, 1), nn.GELU(), nn.Conv2d(4, 1, 1))
    assert _find(Head(stem=nn.Conv2d(3, 6, 1), regressor=chain)) == "regressor.4"


def test_a_side_branch_that_runs_last_is_no_regressor() -> None:
    """What does not move the map leaves it as constant as it was: of a flat map, constant."""

    class WithSideBranch(Head):
        def forward(self, pixel_values: Tensor) -> DepthEstimatorOutput:
            output = super().forward(0 * pixel_values)
            output["side"] = self.side(pixel_values)
            return output

    model = WithSideBranch(stem=nn.Conv2d(3, 6, 1), side=nn.Conv2d(3, 1, 1))
    assert _find(model) == "regressor"


def test_a_gate_that_runs_last_is_no_regressor() -> None:
    """It moves the map, which still varies: the other factor does."""

    class Gated(Head):
        def forward(self, pixel_values: Tensor) -> DepthEstimatorOutput:
            depth = self.regressor(self.stem(pixel_values)).exp() * self.gate(pixel_values).exp()
            return DepthEstimatorOutput(predicted_depth=depth.squeeze(1))

    with pytest.raises(ValueError, match=r"no regressor in Gated: .* none of its 3 convolutions.*feature`"):
        _find(Gated(gate=nn.Conv2d(3, 1, 1)))


def test_a_shared_regressor_is_judged_by_its_last_call() -> None:
    assert _find(Head(regressor=Twice(nn.Conv2d(6, 1, 1)))) == "regressor.layer"


@pytest.mark.parametrize("bias", [-100.0, 0.0])
def test_a_relu_that_cuts_everything_off_does_not_hide_the_regressor(bias: float) -> None:
    """A model from scratch may put out zeros only: no constant of its own would move them."""
    model = Head()
    nn.init.constant_(model.regressor.bias, bias)
    assert _find(model) == "regressor"


@pytest.mark.parametrize(
    "after",
    [
        lambda raw: 10 * raw.sigmoid(),
        lambda raw: 1 / (1 + raw.exp()),
        lambda raw: nn.functional.interpolate(raw, scale_factor=3.7, mode="bicubic", align_corners=False),
    ],
)
def test_what_works_on_every_place_alone_or_resizes_does_not_hide_the_regressor(after: Any) -> None:
    assert _find(Head(after=Applies(after))) == "regressor"


def test_bins_are_summed_up_after_the_regressor() -> None:
    centres = torch.linspace(0.1, 10, 16).view(1, -1, 1, 1)
    after = Applies(lambda raw: (raw.softmax(1) * centres).sum(1, keepdim=True))
    assert _find(Head(regressor=nn.Conv2d(6, 16, 1), after=after)) == "regressor"


def test_an_in_place_layer_behind_the_regressor_does_no_harm() -> None:
    """Constants that share their memory over space cannot be written to."""
    assert _find(Head(after=nn.ReLU(inplace=True))) == "regressor"


def test_a_wrapped_model_is_probed_inside() -> None:
    assert _find(nn.DataParallel(Head())) == "regressor"


def test_a_map_that_is_not_a_number_finds_nothing() -> None:
    """NaN compares as neither constant nor varying: here it comes of the largest constants only."""
    nan_above = Applies(lambda raw: (0.5 - raw).sqrt())
    model = Head(after=nan_above)
    with torch.no_grad():
        raw = model.regressor(model.stem(IMAGES[:1]).relu())
        model.regressor.bias -= raw.max()
    assert predicted_depth(model(IMAGES[:1])).isfinite().all()
    with pytest.raises(ValueError, match="no regressor in Head"):
        _find(model)
