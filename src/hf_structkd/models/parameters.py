"""How large a model is."""

from __future__ import annotations

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, frozen ones included, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
