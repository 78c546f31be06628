"""What the tests of several captures need: images, a layer that is called twice, and a watch over a model."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

IMAGES = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


class Twice(nn.Module):
    """Calls one layer twice, the second time on the negative."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, feature: Tensor) -> Tensor:
        self.layer(feature)
        return self.layer(-feature)


def hooks_of(model: nn.Module) -> int:
    """Count the hooks that a forward runs."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Assert that weights, statistics, modes, hooks, gradients and the random state are what they were.

    Modes are mixed before: what sets all of them to one would go unseen.
    """
    model.train()
    next(iter(model.children())).eval()
    state = copy.deepcopy(model.state_dict())
    modes, hooks, rng = [m.training for m in model.modules()], hooks_of(model), torch.random.get_rng_state()
    yield
    assert [m.training for m in model.modules()] == modes
    assert hooks_of(model) == hooks
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
