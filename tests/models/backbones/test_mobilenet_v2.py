"""MobileNetV2 under the heads of Transformers, and torchvision's weights in it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, MobileNetV2ForImageClassification, PreTrainedModel

from hf_structkd.models.backbones import MobileNetV2Backbone, MobileNetV2BackboneConfig

ROOT = Path(__file__).parents[3]
STAGES = ("stage1", "stage2", "stage3", "stage4")
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
DETR = {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 10,
}


def _config(*out_features: str) -> MobileNetV2BackboneConfig:
    return MobileNetV2BackboneConfig(depth_multiplier=0.1, out_features=list(out_features or STAGES))


def _dpt() -> PreTrainedModel:
    """A hybrid: maps at strides 4 and 8 go to the neck as they are, that at stride 16 goes through a ViT."""
    config = transformers.DPTConfig(
        is_hybrid=True,
        backbone_config=_config(*STAGES[:3]),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_featmap_shape=[1, 16, 4, 4],
        neck_hidden_sizes=[8, 8, 8, 8],
        backbone_out_indices=[0, 1, 0, 1],
        fusion_hidden_size=8,
    )
    return transformers.DPTForDepthEstimation(config)


def _upernet() -> PreTrainedModel:
    config = transformers.UperNetConfig(backbone_config=_config(), hidden_size=12, use_auxiliary_head=False)
    return transformers.UperNetForSemanticSegmentation(config)


def _detr() -> PreTrainedModel:
    config = transformers.DetrConfig(backbone_config=_config("stage4"), d_model=16, **DETR)
    return transformers.DetrForObjectDetection(config)


def _deformable_detr() -> PreTrainedModel:
    config = transformers.DeformableDetrConfig(
        backbone_config=_config(*STAGES[1:]), d_model=32, num_feature_levels=4, **DETR
    )
    return transformers.DeformableDetrForObjectDetection(config)


def _rt_detr() -> PreTrainedModel:
    config = transformers.RTDetrConfig(
        **DETR,
        backbone_config=_config(*STAGES[1:]),
        d_model=16,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 32],
        decoder_in_channels=[16] * 3,
        decoder_n_points=2,
    )
    return transformers.RTDetrForObjectDetection(config)


# Each with the name of the backbone in it.
HEADS: dict[str, tuple[Callable[[], PreTrainedModel], str]] = {
    "dpt": (_dpt, "dpt.embeddings.backbone"),
    "upernet": (_upernet, "backbone"),
    "detr": (_detr, "model.backbone.model"),
    "deformable_detr": (_deformable_detr, "model.backbone.model"),
    "rt_detr": (_rt_detr, "model.backbone.model"),
}


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, nn.Module]:
    build, name = HEADS[request.param]
    model = build()
    return model, model.get_submodule(name)


def _tensors(output: Any) -> list[Tensor]:
    names = ("predicted_depth", "logits", "pred_boxes")
    return [output[name] for name in names if name in output]


def _randomised(module: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and weights other than 0 and 1."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.uniform_(0.5, 1.5)
    return module.eval()


# ---- the backbone alone ----


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 70)])
def test_the_maps_have_strides_4_to_32_and_the_declared_channels(height: int, width: int) -> None:
    backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig())
    assert backbone.channels == [24, 32, 96, 320]
    maps = backbone(torch.rand(1, 3, height, width)).feature_maps
    strides = (4, 8, 16, 32)
    expected = [
        (1, c, -(-height // s), -(-width // s)) for c, s in zip(backbone.channels, strides, strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == expected


def test_the_maps_are_the_hidden_states_of_transformers_own_model() -> None:
    """A stage taken one block too early has the right shape and not the stage's last word."""
    backbone = _randomised(MobileNetV2Backbone(_config("stem", *STAGES)))
    model = transformers.MobileNetV2Model(backbone.config).eval()
    model.load_state_dict(backbone.state_dict(), strict=False)
    stem: list[Tensor] = []
    model.conv_stem.register_forward_hook(lambda module, args, output: stem.append(output))
    hidden = model(IMAGES, output_hidden_states=True).hidden_states
    last_of_its_size = [a for a, b in pairwise(hidden) if a.shape[-1] != b.shape[-1]]
    for mine, theirs in zip(
        backbone(IMAGES).feature_maps, [*stem, *last_of_its_size, hidden[-1]], strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, STAGES),
        ({"out_features": ["stage2", "stage4"]}, ("stage2", "stage4")),
        ({"out_indices": [0, 3]}, ("stem", "stage3")),
        ({"out_indices": [-2, -1]}, ("stage3", "stage4")),
    ],
)
def test_the_stages_asked_for_are_put_out(options: dict[str, Any], names: tuple[str, ...]) -> None:
    backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig(depth_multiplier=0.1, **options)).eval()
    every = backbone(IMAGES, output_hidden_states=True)
    stages = dict(zip(("stem", *STAGES), every.hidden_states, strict=False))
    assert list(stages)[-1] == names[-1]
    assert len(every.feature_maps) == len(names) == len(backbone.channels)
    for name, feature, channels in zip(names, every.feature_maps, backbone.channels, strict=True):
        assert torch.equal(feature, stages[name])
        assert feature.shape[1] == channels


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="stage5"):
        MobileNetV2BackboneConfig(out_features=["stage5"])


def test_hidden_states_come_on_request_and_tuples_where_asked_for() -> None:
    backbone = MobileNetV2Backbone(_config("stage2")).eval()
    assert backbone(IMAGES).hidden_states is None
    (maps,) = backbone(IMAGES, return_dict=False)
    assert torch.equal(maps[0], backbone(IMAGES).feature_maps[0])
    backbone.config.output_hidden_states = True
    assert len(backbone(IMAGES).hidden_states) == 3


def test_a_smaller_output_stride_keeps_the_resolution() -> None:
    backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig(depth_multiplier=0.1, output_stride=8))
    assert [m.shape[-1] for m in backbone(IMAGES).feature_maps] == [16, 8, 8, 8]


def test_batch_norm_averages_over_many_batches() -> None:
    """With Transformers' momentum of 0.997 the statistics used in evaluation are those of the last batch."""
    backbone = MobileNetV2Backbone(_config()).train()
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    backbone(IMAGES)
    for norm in norms:
        assert norm.momentum == 0.1
    assert (norms[0].running_var > 0.8).all()  # 0.9 of the initial 1


@pytest.mark.parametrize("stages", [STAGES, ("stage1", "stage2"), ("stem",)])
def test_every_weight_gets_a_gradient(stages: tuple[str, ...]) -> None:
    """The last 1x1 convolution would get none, nor a stage that nobody asked for; a distributed run stops."""
    backbone = MobileNetV2Backbone(_config(*stages)).train()
    sum(m.square().mean() for m in backbone(IMAGES).feature_maps).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_a_checkpoint_of_transformers_own_models_is_read(tmp_path: Path) -> None:
    model = MobileNetV2ForImageClassification(transformers.MobileNetV2Config(depth_multiplier=0.1)).eval()
    _randomised(model).save_pretrained(tmp_path)
    backbone, info = MobileNetV2Backbone.from_pretrained(
        tmp_path, config=MobileNetV2BackboneConfig.from_pretrained(tmp_path), output_loading_info=True
    )
    assert not info["missing_keys"]
    assert backbone.config.tf_padding
    expected = model(IMAGES, output_hidden_states=True).hidden_states[-1]
    assert torch.equal(backbone.eval()(IMAGES).feature_maps[-1], expected)


def test_a_checkpoint_of_all_stages_is_read_by_fewer(tmp_path: Path) -> None:
    """Students that were saved with stages which no head reads must go on as they are."""
    whole = _randomised(MobileNetV2Backbone(_config()))
    whole.save_pretrained(tmp_path)
    part = MobileNetV2Backbone.from_pretrained(tmp_path, out_features=["stage2"]).eval()
    assert len(part.layer) < len(whole.layer)
    assert torch.equal(part(IMAGES).feature_maps[0], whole(IMAGES).feature_maps[1])


# ---- under a head ----


def test_a_head_runs_and_trains_the_backbone(head: tuple[PreTrainedModel, nn.Module]) -> None:
    model, backbone = head
    assert isinstance(backbone, MobileNetV2Backbone)
    output = model.train()(IMAGES)
    sum(tensor.square().mean() for tensor in _tensors(output)).backward()
    assert all(p.requires_grad for p in backbone.parameters())
    first = backbone.conv_stem.first_conv.convolution.weight
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def test_a_saved_model_comes_back_bit_for_bit(
    head: tuple[PreTrainedModel, nn.Module], tmp_path: Path
) -> None:
    model, backbone = head
    _randomised(model).save_pretrained(tmp_path)
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.config.backbone_config.out_features == backbone.config.out_features
    with torch.no_grad():
        pairs = zip(_tensors(model(IMAGES)), _tensors(loaded.eval()(IMAGES)), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("name", ["detr", "deformable_detr", "rt_detr"])
def test_frozen_batch_norm_computes_what_batch_norm_did(name: str) -> None:
    """It hard-codes its epsilon: with another default here, pretrained features would shift."""
    build, path = HEADS[name]
    frozen = build().get_submodule(path)
    backbone = _randomised(MobileNetV2Backbone(frozen.config))
    state = backbone.state_dict()
    frozen.load_state_dict({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    frozen.train()
    for mine, theirs in zip(backbone(IMAGES).feature_maps, frozen(IMAGES).feature_maps, strict=True):
        torch.testing.assert_close(theirs, mine)


def test_dpt_as_a_hybrid_takes_one_square_size() -> None:
    """The documented limit; if it falls, the documentation is to follow."""
    model = _dpt().eval()
    assert model(IMAGES).predicted_depth.shape == (2, 64, 64)
    with pytest.raises(ValueError, match="doesn't match model"):
        model(torch.rand(1, 3, 64, 96))


# ---- the auto classes ----


def test_the_auto_classes_know_it(tmp_path: Path) -> None:
    _config("stage2").save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, MobileNetV2BackboneConfig)
    assert config.out_features == ["stage2"]
    assert isinstance(AutoBackbone.from_config(config), MobileNetV2Backbone)


def test_transformers_own_model_type_is_left_alone() -> None:
    assert AutoConfig.for_model("mobilenet_v2").__class__ is transformers.MobileNetV2Config


# ---- torchvision's weights ----


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("convert", ROOT / "scripts" / "convert_mobilenet_v2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Block(nn.Module):
    """torchvision's inverted residual, with its names."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        expand = [_layer(inputs, width, 1)] if expansion > 1 else []
        depthwise = _layer(width, width, 3, stride=stride, groups=width)
        project = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv = nn.Sequential(*expand, depthwise, *project)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


def _layer(inputs: int, outputs: int, kernel: int, **options: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class TorchvisionMobileNetV2(nn.Module):
    """The network as the paper's table 2 and torchvision's state dict lay it out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_layer(3, 32, 3, stride=2)]
        inputs = 32
        table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
        table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
        for expansion, outputs, repeats, stride in table:
            for index in range(repeats):
                layers.append(Block(inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, _layer(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))


@pytest.fixture(scope="module")
def torchvision_model() -> nn.Module:
    torch.manual_seed(0)
    return _randomised(TorchvisionMobileNetV2())


def test_converted_weights_compute_the_same_features(torchvision_model: nn.Module, tmp_path: Path) -> None:
    _script().convert(torchvision_model.state_dict()).save_pretrained(tmp_path)
    backbone, info = MobileNetV2Backbone.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    with torch.no_grad():
        maps = backbone.eval()(IMAGES).feature_maps
        hidden, expected = IMAGES, []
        for index, layer in enumerate(torchvision_model.features):
            hidden = layer(hidden)
            if index in (3, 6, 13, 17):
                expected.append(hidden)
    for mine, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_weights_that_do_not_pair_are_refused(torchvision_model: nn.Module) -> None:
    """A tensor left out moves all that follow one place on."""
    convert, state = _script().convert, torchvision_model.state_dict()
    few = {name: tensor for name, tensor in state.items() if not name.startswith("features.17.")}
    with pytest.raises(ValueError, match=r"`weights` must hold 255 tensors of a MobileNetV2, got 240\."):
        convert(few)
    wide = state | {"features.2.conv.0.0.weight": torch.zeros(100, 16, 1, 1)}
    with pytest.raises(ValueError, match=r"features\.2\.conv\.0\.0\.weight \(100, 16, 1, 1\) is no layer\.0"):
        convert(wide)
    swapped = {name.replace("0.1.bias", "0.1.other"): tensor for name, tensor in state.items()}
    with pytest.raises(ValueError, match=r"features\.0\.1\.other \(32,\) is no conv_stem.*bias"):
        convert(swapped)


def test_the_script_reads_a_file_and_writes_a_folder(
    torchvision_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(torchvision_model.state_dict(), tmp_path / "weights.pth")
    options = ["--weights", str(tmp_path / "weights.pth"), "--output_dir", str(tmp_path / "backbone")]
    monkeypatch.setattr(sys, "argv", ["convert_mobilenet_v2.py", *options])
    _script().main()
    backbone = MobileNetV2Backbone.from_pretrained(tmp_path / "backbone")
    first = torchvision_model.state_dict()["features.0.0.weight"]
    assert torch.equal(backbone.conv_stem.first_conv.convolution.weight, first)
