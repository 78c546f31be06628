"""The pair-wise term compares the feature map before the classifier, undropped, found without tables."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SemanticSegmenterOutput

from hf_structkd.features import FeatureCapture, find_classifier
from hf_structkd.features.probe import unwrap
from hf_structkd.features.tokens import tokens_to_map
from tests.tiny_models import SEGMENTATION_ARCHITECTURES, random_images, tiny_segmentation_model

from .stand_ins import IMAGES, Twice, hooks_of, unchanged

# Name of the classifier, and shape (C, h, w) of what it reads in the tiny model.
CLASSIFIERS = {
    "beit": ("decode_head.classifier", (16, 32, 32)),
    "data2vec-vision": ("decode_head.classifier", (16, 16, 16)),
    "dpt": ("head.head.4", (8, 64, 64)),
    "mobilenet_v2": ("segmentation_head.classifier.convolution", (256, 8, 8)),
    "mobilevit": ("segmentation_head.classifier.convolution", (12, 8, 8)),
    "mobilevitv2": ("segmentation_head.classifier.convolution", (12, 8, 8)),
    "sapiens2": ("decode_head.predictor", (10, 16, 16)),
    "segformer": ("decode_head.classifier", (12, 16, 16)),
    "tipsv2_dpt": ("decoder.head", (8, 64, 64)),
    "upernet": ("decode_head.classifier", (12, 16, 16)),
}
# The module whose output the first dropout in front of the classifier reads.
UNDROPPED = {
    "dpt": "head.head.2",
    "mobilenet_v2": "segmentation_head.conv_projection",
    "mobilevit": "segmentation_head.aspp.project",
    "mobilevitv2": "segmentation_head.aspp.project",
    "segformer": "decode_head.activation",
}
BY_HAND = "`student_feature` or `teacher_feature`"


class Head(nn.Module):
    """Conv, ReLU, classifier (3 classes), with replaceable parts: a stand-in for any user's model."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.between: nn.Module = nn.ReLU()
        self.classifier: nn.Module = nn.Conv2d(6, 3, 1)
        self.after: nn.Module = nn.Identity()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, pixel_values: Tensor) -> SemanticSegmenterOutput:
        return SemanticSegmenterOutput(
            logits=self.after(self.classifier(self.between(self.stem(pixel_values))))
        )


class ChannelsLast(nn.Module):
    """A linear layer over the channels of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, feature: Tensor) -> Tensor:
        return self.linear(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Puts(nn.Module):
    """Puts out whatever a function makes of the feature, and hands the feature itself on."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = nn.Identity()
        self.make.forward = make  # type: ignore[method-assign]

    def forward(self, feature: Tensor) -> Tensor:
        self.make(feature)
        return feature


def _output_of(model: nn.Module, name: str) -> list[Tensor]:
    outputs: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, args, output: outputs.append(output))
    return outputs


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_the_classifier_is_found_in_bfloat16(arch: str) -> None:
    """A tolerance for float32 would reject every module of a half-precision teacher."""
    model = tiny_segmentation_model(arch).bfloat16()
    assert find_classifier(model, random_images(arch, dtype=torch.bfloat16)) == CLASSIFIERS[arch][0]


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_the_probe_finds_the_classifier_and_leaves_the_model_as_it_was(arch: str) -> None:
    """Auxiliary heads run last in four of them: taking the last layer called would distil the wrong one.

    A shifted BatchNorm statistic or a teacher left in train mode changes a run without a word.
    """
    model = tiny_segmentation_model(arch, dropout=None)
    with unchanged(model):
        capture = FeatureCapture.before_classifier(model, random_images(arch))
        capture.remove()
    assert capture.description.partition(",")[0] == f"input of {CLASSIFIERS[arch][0]}"


def test_the_probe_cleans_up_when_the_model_fails() -> None:
    model = Head().train()
    with pytest.raises(RuntimeError):
        find_classifier(model, torch.zeros(1, 4, 8, 8))
    assert hooks_of(model) == 0
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("arch", SEGMENTATION_ARCHITECTURES)
def test_the_feature_is_a_map_through_which_the_gradient_reaches_the_backbone(arch: str) -> None:
    """A detached feature gives a pair-wise term that is logged and trains nothing."""
    model = tiny_segmentation_model(arch).train()
    capture = FeatureCapture.before_classifier(model, random_images(arch))
    with capture.recording():
        model(random_images(arch))
    feature = capture.pop()
    assert feature.shape == (2, *CLASSIFIERS[arch][1])
    assert capture.description.startswith(f"input of {CLASSIFIERS[arch][0]}")
    feature.square().mean().backward()
    first = next(p for name, p in model.named_parameters() if "patch" in name or "conv" in name)
    assert first.grad is not None
    assert first.grad.abs().max() > 0
    assert all(p.grad is None for p in model.get_submodule(CLASSIFIERS[arch][0]).parameters())


@pytest.mark.parametrize("arch", UNDROPPED)
def test_the_feature_is_taken_before_dropout(arch: str) -> None:
    """With the 0.8 of one architecture's head four of five channels are zero, and affinities are noise."""
    model = tiny_segmentation_model(arch, dropout=0.5)
    capture = FeatureCapture.before_classifier(model, random_images(arch))
    model.train()
    by_hand = _output_of(model, UNDROPPED[arch])
    read = []
    model.get_submodule(CLASSIFIERS[arch][0]).register_forward_pre_hook(lambda m, args: read.append(args[0]))
    with capture.recording():
        model(random_images(arch))
    feature = capture.pop()
    assert torch.equal(feature, by_hand[0])
    assert not torch.equal(feature, read[0])
    assert ", before " in capture.description


def test_the_feature_is_the_classifier_s_input_where_no_dropout_precedes() -> None:
    model = Head(between=nn.Sequential(nn.Dropout(0.5), nn.ReLU()))
    capture = FeatureCapture.before_classifier(model, IMAGES)
    model.train()
    after_relu = _output_of(model, "between.1")
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), after_relu[0])
    assert capture.description == "input of classifier"


def test_a_dropout_followed_by_an_in_place_layer_is_not_skipped() -> None:
    """The in-place layer keeps the address: what the dropout read is not what the classifier reads."""
    model = Head(between=nn.Sequential(nn.Dropout(0.5), nn.ReLU(inplace=True)))
    assert FeatureCapture.before_classifier(model, IMAGES).description == "input of classifier"


def test_an_in_place_dropout_does_not_overwrite_the_feature() -> None:
    model = Head(between=nn.Dropout(0.5, inplace=True))
    capture = FeatureCapture.before_classifier(model, IMAGES)
    assert capture.description == "input of classifier, before between"
    model.train()
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), model.stem(IMAGES))


def test_a_feature_overwritten_in_place_is_refused() -> None:
    """Captured before an in-place ReLU, the name says one layer and the values are another's."""
    model = Head(between=nn.ReLU(inplace=True))
    capture = FeatureCapture.of_module(model, "stem")
    with capture.recording():
        model(IMAGES)
    with pytest.raises(RuntimeError, match="output of stem was overwritten in place"):
        capture.pop()


def test_a_hidden_layer_as_wide_as_the_classes_is_no_classifier() -> None:
    model = Head(stem=nn.Conv2d(3, 3, 1), classifier=nn.Conv2d(3, 3, 1))
    assert find_classifier(model, IMAGES) == "classifier"


def test_an_auxiliary_head_that_runs_last_is_no_classifier() -> None:
    class WithAuxiliary(Head):
        def forward(self, pixel_values: Tensor) -> SemanticSegmenterOutput:
            output = super().forward(pixel_values)
            output.auxiliary = self.auxiliary(self.stem(pixel_values))
            return output

    assert find_classifier(WithAuxiliary(auxiliary=nn.Conv2d(6, 3, 1)), IMAGES) == "classifier"


def test_a_shared_classifier_is_judged_by_its_last_call() -> None:
    model = Head(classifier=Twice(nn.Conv2d(6, 3, 1)))
    assert find_classifier(model, IMAGES) == "classifier.layer"


def test_of_two_layers_that_add_up_to_the_logits_the_last_called_is_taken() -> None:
    class Refined(Head):
        def forward(self, pixel_values: Tensor) -> SemanticSegmenterOutput:
            feature = self.stem(pixel_values)
            return SemanticSegmenterOutput(logits=self.coarse(feature) + self.classifier(feature))

    assert find_classifier(Refined(coarse=nn.Conv2d(6, 3, 1)), IMAGES) == "classifier"


def test_resized_logits_do_not_hide_the_classifier() -> None:
    assert find_classifier(Head(after=nn.UpsamplingBilinear2d(scale_factor=4)), IMAGES) == "classifier"


def test_a_model_without_a_linear_end_is_refused_with_what_was_tried() -> None:
    with pytest.raises(
        ValueError, match=rf"no classifier in Head: 1 of its layers .* 3 .*\(classifier\).*{BY_HAND}"
    ):
        find_classifier(Head(after=nn.Softmax(dim=1)), IMAGES)
    with pytest.raises(ValueError, match=r"0 of its layers put out 6 channels .*\(none\)"):
        find_classifier(
            Head(stem=nn.Identity(), classifier=nn.Identity(), after=nn.ZeroPad3d((0, 0, 0, 0, 0, 3))), IMAGES
        )


def test_a_linear_classifier_s_channels_last_input_is_permuted() -> None:
    """Compared as it is, the width would pass for the channels: affinities of columns."""
    model = Head(classifier=ChannelsLast())
    capture = FeatureCapture.before_classifier(model, IMAGES)
    assert capture.description == "input of classifier.linear"
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), model.between(model.stem(IMAGES)))


def test_nothing_is_captured_outside_recording() -> None:
    """Evaluation would otherwise keep the last batch's feature map alive."""
    model = Head()
    capture = FeatureCapture.of_module(model, "stem")
    model(IMAGES)
    with pytest.raises(RuntimeError, match="nothing was captured as output of stem"):
        capture.pop()


def test_recording_starts_empty() -> None:
    """A stale feature from the step before would be compared with the new images."""
    model = Head()
    capture = FeatureCapture.of_module(model, "stem")
    with capture.recording():
        model(IMAGES)
    with capture.recording():
        pass
    with pytest.raises(RuntimeError, match="nothing was captured"):
        capture.pop()


def test_a_forward_that_fails_leaves_nothing_captured() -> None:
    """A run that catches an out-of-memory error would keep the graph, and later compare it."""
    model = Head(classifier=nn.Conv2d(5, 3, 1))
    capture = FeatureCapture.of_module(model, "stem")
    with pytest.raises(RuntimeError, match="channels"), capture.recording():
        model(IMAGES)
    with pytest.raises(RuntimeError, match="nothing was captured"):
        capture.pop()


# Its successor does not exist in the oldest supported transformers.
@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated:FutureWarning")
@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("segformer", "segformer.stages.1.blocks.0.layernorm_after"),
        ("dpt", "dpt.encoder.layer.2.layernorm_after"),
    ],
)
def test_gradient_checkpointing_does_not_overwrite_the_feature(
    arch: str, name: str, use_reentrant: bool
) -> None:
    """The backward runs forwards again: what they put out belongs to no step."""
    model = tiny_segmentation_model(arch).train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    capture = FeatureCapture.of_module(model, name)
    images = random_images(arch).requires_grad_()
    calls = _output_of(model, name)
    with capture.recording() as recording:
        logits = model(images).logits
    kept = recording._tensor
    logits.mean().backward()
    assert len(calls) == 2
    assert capture._tensor is kept
    assert kept is calls[0]


def test_the_last_call_of_a_module_counts() -> None:
    model = Head(between=Twice(nn.ReLU()))
    capture = FeatureCapture.of_module(model, "between.layer")
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), (-model.stem(IMAGES)).relu())


def test_pop_keeps_no_graph_alive() -> None:
    """A graph kept over the step doubles the memory of training."""
    model = Head()
    capture = FeatureCapture.of_module(model, "stem")
    with capture.recording():
        model(IMAGES)
    reference = weakref.ref(capture.pop())
    gc.collect()
    assert reference() is None


def test_remove_takes_the_hooks_off() -> None:
    model = Head()
    capture = FeatureCapture.of_module(model, "stem")
    assert hooks_of(model) == 2
    capture.remove()
    assert hooks_of(model) == 0


def test_under_no_grad_and_inference_mode_the_feature_is_captured_too() -> None:
    model = Head()
    capture = FeatureCapture.of_module(model, "stem")
    for context in (torch.no_grad(), torch.inference_mode()):
        with context, capture.recording():
            model(IMAGES)
        assert torch.equal(capture.pop(), model.stem(IMAGES))


def test_an_unknown_module_is_refused_with_close_matches() -> None:
    with pytest.raises(ValueError, match="Head has no module named 'clasifier'; did you mean 'classifier'"):
        FeatureCapture.of_module(Head(), "clasifier")
    with pytest.raises(ValueError, match=r"no module named '12345'\.$"):
        FeatureCapture.of_module(Head(), "12345")


@pytest.mark.parametrize("name", ["stem", "module.stem", "_orig_mod.stem", "module._orig_mod.stem"])
def test_the_wrappers_parts_of_a_name_do_not_matter(name: str) -> None:
    """A user copies names from the wrapped model, and a checkpoint is resumed without the wrapper."""
    assert FeatureCapture.of_module(Head(), name).description == "output of stem"


def test_a_module_that_is_really_called_module_keeps_its_name() -> None:
    model = nn.ModuleDict({"module": nn.ModuleDict({"stem": nn.Identity()}), "stem": nn.Identity()})
    assert FeatureCapture.of_module(model, "module.stem").description == "output of module.stem"


def test_the_wrappers_are_taken_off() -> None:
    model = Head()
    assert unwrap(model) is model
    assert unwrap(nn.DataParallel(model)) is model
    assert unwrap(torch.compile(model, backend="eager")) is model
    assert unwrap(nn.DataParallel(torch.compile(model, backend="eager"))) is model


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_s_feature_is_captured_with_its_gradient(backend: str) -> None:
    """Hooks on the wrapper's copy of a name never fire: a known tool's loss was always zero for this."""
    model = Head(between=nn.Dropout(0.0))
    compiled = torch.compile(model, backend=backend)
    capture = FeatureCapture.before_classifier(compiled, IMAGES)
    model.train()
    for _ in range(2):
        with capture.recording():
            compiled(IMAGES)
        feature = capture.pop()
        torch.testing.assert_close(feature, model.stem(IMAGES))
        compiled(IMAGES)
        with pytest.raises(RuntimeError, match="nothing was captured"):
            capture.pop()
    feature.sum().backward()
    assert model.stem.weight.grad is not None


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(("height", "width", "patch"), [(64, 64, 16), (50, 70, 8), (32, 96, 8)])
def test_tokens_are_laid_back_row_by_row_behind_the_prefix(
    prefix: int, height: int, width: int, patch: int
) -> None:
    """A grid read by columns, or shifted by the class token, pairs the wrong places with each other."""
    rows, columns = height // patch, width // patch
    grid = torch.arange(rows * columns * 2.0).view(1, 2, rows, columns)
    tokens = torch.cat([torch.full((1, prefix, 2), -1.0), grid.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(tokens_to_map(tokens, height, width), grid)


def test_of_two_dividing_patches_the_shorter_prefix_is_taken() -> None:
    """Five tokens on 32x32 are a class token and 2x2 patches, not four registers and one patch."""
    assert tokens_to_map(torch.zeros(1, 5, 2), 32, 32).shape == (1, 2, 2, 2)


def test_a_grid_rounded_up_is_recognised() -> None:
    assert tokens_to_map(torch.zeros(1, 13 * 13, 2), 50, 50).shape == (1, 2, 13, 13)


def test_tokens_that_fit_no_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"60 tokens .* 64x64 image: no grid .*{BY_HAND}"):
        tokens_to_map(torch.zeros(1, 60, 2), 64, 64)


def test_tokens_that_fit_two_grids_are_refused() -> None:
    """65 tokens on 50x20: 13x5 rounded up, or five registers before 12x5. A guess could be wrong."""
    with pytest.raises(ValueError, match=r"65 tokens .*\[\(12, 5\), \(13, 5\)\] all fit"):
        tokens_to_map(torch.zeros(1, 65, 2), 50, 20)


def test_a_transformer_layer_s_tokens_become_a_map() -> None:
    model = tiny_segmentation_model("beit")
    capture = FeatureCapture.of_module(model, "beit.layers.3")
    tokens = _output_of(model, "beit.layers.3")
    with capture.recording():
        model(labels=None, pixel_values=random_images("beit"))
    feature = capture.pop()
    assert feature.shape == (2, 16, 8, 8)
    assert torch.equal(feature[:, :, 1, 2], tokens[0][:, 1 + 8 + 2])


def test_of_a_sequence_of_maps_the_last_is_taken() -> None:
    model = Head(between=Puts(lambda x: [x, 2 * x]))
    capture = FeatureCapture.of_module(model, "between.make")
    with capture.recording():
        model(IMAGES)
    assert torch.equal(capture.pop(), 2 * model.stem(IMAGES))


@pytest.mark.parametrize(
    "make", [lambda x: {"map": x}, lambda x: (x.flatten(2), x), lambda x: (), lambda x: None]
)
def test_an_output_that_is_no_map_is_refused(make: Callable[[Tensor], Any]) -> None:
    """Attention weights (B, heads, N, N) beside hidden states look like a map and are none."""
    capture = FeatureCapture.of_module(model := Head(between=Puts(make)), "between.make")
    with (
        pytest.raises(ValueError, match=rf"must be a tensor or a sequence of maps.*{BY_HAND}"),
        capture.recording(),
    ):
        model(IMAGES)


def test_a_vector_is_refused() -> None:
    capture = FeatureCapture.of_module(
        model := Head(between=Puts(lambda x: x.mean(dim=(2, 3)))), "between.make"
    )
    with capture.recording():
        model(IMAGES)
    with pytest.raises(ValueError, match=rf"got shape \(2, 6\).*{BY_HAND}"):
        capture.pop()
