"""The critic: sizes, conditioning, second derivatives, spectral norms, precision and errors."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from hf_structkd.adversary.critic import Critic, _SelfAttention
from hf_structkd.adversary.spectral_norm import SpectralNorm
from hf_structkd.losses import gradient_penalty

WIDTHS = (4, 8, 16, 16)


@pytest.fixture
def critic() -> Critic:
    return Critic(5, widths=WIDTHS).eval()


def open_gates(critic: Critic) -> None:
    """Switch attention on: the gates start at 0, where half of the network has no effect."""
    for attention in critic.attentions:
        assert isinstance(attention, _SelfAttention)
        nn.init.constant_(attention.gate, 0.5)


def inputs(height: int = 16, width: int = 16, batch: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 5, height, width).softmax(dim=1), torch.randn(batch, 3, 40, 56)


def normalised_weights(critic: Critic) -> list[Tensor]:
    return [
        module.weight.flatten(1)
        for module in critic.modules()
        if parametrize.is_parametrized(module, "weight")
    ]


def snapshot(critic: Critic) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in critic.state_dict().items()}


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (45, 60), (65, 65), (128, 8)])
def test_scores_maps_of_any_size(critic: Critic, size: tuple[int, int]) -> None:
    """The paper's repository works for 65x65 alone."""
    open_gates(critic)
    maps, images = inputs(*size)
    maps.requires_grad_()
    scores = critic(maps, images)
    assert scores.shape == (2,)
    (gradient,) = torch.autograd.grad(scores.sum(), maps)
    used = gradient.abs().amax(dim=(0, 1)) > 0
    assert used.all(), "some cells of the map cannot influence the score"


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (45, 60), (65, 65)])
def test_gradient_penalty_trains_every_parameter(critic: Critic, size: tuple[int, int]) -> None:
    """Fused attention, or an operation without a second derivative, would raise or train nothing."""
    open_gates(critic)
    maps, images = inputs(*size)
    gradient_penalty(critic, maps, maps.flip(1), images).backward()
    for name, parameter in critic.named_parameters():
        if name == "score.bias":
            continue  # a constant added to the score has no slope
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.ndim > 1 and "query" not in name and "key" not in name:
            assert parameter.grad.any(), name


def test_attention_has_correct_first_and_second_derivatives() -> None:
    attention = _SelfAttention(3).double()
    nn.init.constant_(attention.gate, 0.7)
    hidden = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(attention, hidden)
    assert torch.autograd.gradgradcheck(attention, hidden)


def test_attention_equals_the_loop_over_cells() -> None:
    """A transposed attention matrix normalises over the wrong cells and still trains."""
    attention = _SelfAttention(8).double()
    nn.init.constant_(attention.gate, 0.7)
    hidden = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    query, key, value = (
        layer(hidden)[0].flatten(1) for layer in (attention.query, attention.key, attention.value)
    )
    cells = hidden[0].flatten(1)
    expected = torch.stack(
        [
            cells[:, i]
            + 0.7 * (torch.stack([query[:, i] @ key[:, j] for j in range(6)]).softmax(0) * value).sum(dim=1)
            for i in range(6)
        ],
        dim=1,
    )
    torch.testing.assert_close(attention(hidden)[0].flatten(1), expected)


def test_attention_starts_as_the_identity() -> None:
    """The gate lets the critic begin with local evidence."""
    attention = _SelfAttention(8)
    hidden = torch.randn(2, 8, 3, 3)
    assert torch.equal(attention(hidden), hidden)


def test_scores_of_a_sample_do_not_depend_on_the_batch(critic: Critic) -> None:
    """The penalty is per sample: anything like BatchNorm would make it a penalty on something else."""
    open_gates(critic)
    maps, images = inputs(batch=3)
    together = critic(maps, images)
    apart = torch.cat([critic(maps[i : i + 1], images[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart)


def test_depends_on_the_image_only_when_conditional(critic: Critic) -> None:
    maps, images = inputs()
    assert not torch.allclose(critic(maps, images), critic(maps, images.flip(3)))
    alone = Critic(5, image_channels=0, widths=WIDTHS).eval()
    assert alone(maps).shape == (2,)


def test_images_get_no_gradient(critic: Critic) -> None:
    maps, images = inputs()
    images.requires_grad_()
    critic(maps.requires_grad_(), images).sum().backward()
    assert images.grad is None
    assert maps.grad is not None


def test_scores_are_unbounded(critic: Critic) -> None:
    """Behind a sigmoid both objectives would saturate."""
    maps, images = inputs()
    assert critic(1e6 * maps, images).abs().max() > 10


def test_has_no_layer_that_mixes_samples_or_draws_at_random(critic: Critic) -> None:
    kinds = {type(module).__name__ for module in critic.modules()}
    assert not any("Norm" in kind or "Dropout" in kind for kind in kinds - {"SpectralNorm"})


def test_default_widths_hold_the_documented_layers() -> None:
    critic = Critic(19).eval()
    assert [convolution.out_channels for convolution in critic.convolutions] == [64, 128, 256, 512]
    assert critic(torch.rand(1, 19, 33, 32), torch.rand(1, 3, 64, 64)).shape == (1,)


def test_eval_forward_changes_no_buffer(critic: Critic) -> None:
    """Else the result would depend on accumulation, and processes would drift apart."""
    before = snapshot(critic)
    maps, images = inputs()
    gradient_penalty(critic, maps, maps.flip(1), images).backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in critic.state_dict().items())


def test_update_is_exactly_one_power_iteration(critic: Critic) -> None:
    """Two would be harmless alone, but a resumed run would no longer repeat the uninterrupted one."""
    convolution = critic.convolutions[1]
    matrix = convolution.parametrizations.weight.original.detach().flatten(1)
    v = nn.functional.normalize(torch.randn(matrix.shape[1]), dim=0)
    convolution.parametrizations.weight[0]._v.copy_(v)
    critic.update_spectral_norms()
    u = nn.functional.normalize(matrix @ v, dim=0)
    torch.testing.assert_close(convolution.parametrizations.weight[0]._u, u)
    torch.testing.assert_close(
        convolution.parametrizations.weight[0]._v, nn.functional.normalize(matrix.T @ u, dim=0)
    )


def test_updates_bring_largest_singular_values_to_one(critic: Critic) -> None:
    with torch.no_grad():
        for parameter in critic.parameters():
            if parameter.ndim > 1:
                parameter.copy_(3 * torch.randn_like(parameter))
    for _ in range(200):
        critic.update_spectral_norms()
    weights = normalised_weights(critic)
    assert len(weights) == 11
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, ord=2).item() == pytest.approx(1, abs=1e-2)


def test_update_leaves_parameters_alone(critic: Critic) -> None:
    before = {name: parameter.clone() for name, parameter in critic.named_parameters()}
    critic.update_spectral_norms()
    assert all(torch.equal(before[name], parameter) for name, parameter in critic.named_parameters())
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_train_mode_is_eval_mode(critic: Critic) -> None:
    """A forward that advanced the iteration would give each micro-batch another critic."""
    before, (maps, images) = snapshot(critic), inputs()
    assert torch.equal(copy.deepcopy(critic).train()(maps, images), critic(maps, images))
    critic.train()(maps, images)
    assert all(torch.equal(before[name], tensor) for name, tensor in critic.state_dict().items())


def test_normalised_weights_have_the_values_and_gradients_of_torchs_own() -> None:
    """The gradient is written by hand: a wrong one trains a critic that is only almost a critic."""
    ours, theirs = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
    theirs.load_state_dict(ours.state_dict())
    for layer, normalise in ((theirs, parametrizations.spectral_norm), (ours, normalised_by_us)):
        torch.manual_seed(1)
        normalise(layer)
        layer.eval()
    images, found = torch.randn(2, 3, 6, 6, requires_grad=True), []
    for layer in (ours, theirs):
        scores = layer(images).tanh().square().sum()
        (slope,) = torch.autograd.grad(scores, images, create_graph=True)
        layer.zero_grad()
        (scores + slope.square().sum()).backward()
        found.append((layer.weight, layer.parametrizations.weight.original.grad))
    torch.testing.assert_close(*found)


def normalised_by_us(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))


def test_without_spectral_norm_update_does_nothing() -> None:
    critic = Critic(5, widths=WIDTHS, spectral_norm=False)
    before = snapshot(critic)
    critic.update_spectral_norms()
    assert normalised_weights(critic) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in critic.state_dict().items())


@pytest.mark.parametrize("how", ["deepcopy", "load_state_dict"])
def test_copies_score_alike_and_update_on_their_own(critic: Critic, how: str) -> None:
    """A checkpoint without the iteration vectors would resume with another critic."""
    for _ in range(3):
        critic.update_spectral_norms()
    if how == "deepcopy":
        twin = copy.deepcopy(critic)
    else:
        twin = Critic(5, widths=WIDTHS).eval()
        twin.load_state_dict(critic.state_dict())
    maps, images = inputs()
    assert torch.equal(twin(maps, images), critic(maps, images))
    before = snapshot(critic)
    with torch.no_grad():
        twin.score.parametrizations.weight.original.mul_(2)
    twin.update_spectral_norms()
    assert all(torch.equal(before[name], tensor) for name, tensor in critic.state_dict().items())
    critic.update_spectral_norms()
    torch.testing.assert_close(twin(maps, images), critic(maps, images))


def test_computes_in_float32_under_autocast_and_for_half_inputs(critic: Critic) -> None:
    """The penalty squares a gradient: half precision turns it into noise."""
    maps, images = inputs()
    expected = critic(maps, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(critic(maps, images), expected)
        assert critic(maps.bfloat16(), images.half()).dtype == torch.float32


@pytest.mark.parametrize("size", [(7, 8), (8, 7), (1, 64)])
def test_rejects_maps_that_are_too_small(critic: Critic, size: tuple[int, int]) -> None:
    maps, images = inputs(*size)
    with pytest.raises(ValueError, match="`maps` must be at least 8 high and wide"):
        critic(maps, images)


def test_rejects_missing_and_unexpected_images(critic: Critic) -> None:
    maps, images = inputs()
    with pytest.raises(ValueError, match=r"`images` must be given .* got none with image_channels=3"):
        critic(maps)
    with pytest.raises(ValueError, match=r"`images` must be given .* with image_channels=0"):
        Critic(5, 0, widths=WIDTHS)(maps, images)


def test_rejects_shapes_that_do_not_fit(critic: Critic) -> None:
    maps, images = inputs()
    with pytest.raises(
        ValueError, match=re.escape("`maps` must have shape (B, 5, h, w), got (2, 4, 16, 16)")
    ):
        critic(maps[:, :4], images)
    with pytest.raises(ValueError, match=re.escape("`maps` must have shape (B, 5, h, w), got (5, 16, 16)")):
        critic(maps[0], images)
    for wrong in (images[:1], images[:, :1], images[0]):
        with pytest.raises(ValueError, match=re.escape("`images` must have shape (2, 3, H, W)")):
            critic(maps, wrong)


def test_rejects_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="`map_channels` must be at least 1, got 0"):
        Critic(0)
    with pytest.raises(ValueError, match="`image_channels` must not be negative, got -1"):
        Critic(5, -1)
    for widths in ((8, 8, 8), (8, 8, 8, 0)):
        with pytest.raises(ValueError, match="`widths` must hold four channel counts"):
            Critic(5, widths=widths)
