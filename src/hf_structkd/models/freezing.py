"""Keep parts of a student as they are while the rest is trained."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import partial

from torch import nn


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze parameters by their names.

    A module of which every parameter is frozen stays in eval mode, so that the statistics of its BatchNorms
    stay too and its dropout is off.

    Args:
        model: The model; its frozen parameters need no gradient afterwards.
        patterns: Patterns of parameter names, in which ``*`` matches dots too: "backbone.*", for instance.

    Raises:
        ValueError: If a pattern matches no parameter, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        chosen = [parameter for name, parameter in parameters.items() if fnmatch(name, pattern)]
        if not chosen:
            close = difflib.get_close_matches(pattern, parameters, n=1, cutoff=0.0)
            raise ValueError(
                f"`freeze` must match names of parameters, got {pattern!r}; one is {close[0]!r}."
            )
        for parameter in chosen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(f"`freeze` must leave parameters to train, got {list(patterns)}; narrow a pattern.")
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
            # `Trainer` puts the whole model into train mode before every step.
            module.train = partial(_unchanged, module)  # type: ignore[method-assign]


def _unchanged(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
