"""Noticing numbers that are no longer finite before they reach weights or checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def non_finite_names(values: Mapping[str, Tensor], accelerator: Accelerator) -> list[str]:
    """Names of the scalars that are not finite on some process, the same list on all of them.

    Every process must learn of it: one that stops alone leaves the others waiting in a reduction.
    """
    finite = torch.stack([torch.isfinite(value).float() for value in values.values()])
    finite = accelerator.reduce(finite, reduction="mean")
    if bool((finite == 1).all()):
        return []
    return [name for name, share in zip(values, finite.tolist(), strict=True) if share < 1]


def snapshot_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers, which a forward in train mode moves (BatchNorm's statistics and its count)."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@torch.no_grad()
def restore_buffers(model: nn.Module, snapshot: Mapping[str, Tensor]) -> None:
    """Put back what `snapshot_buffers` copied."""
    for name, buffer in model.named_buffers():
        if name in snapshot:
            buffer.copy_(snapshot[name])


def are_finite(models: Iterable[nn.Module]) -> bool:
    """Whether every floating-point weight and buffer of the models is finite."""
    tensors = (tensor for model in models for tensor in model.state_dict().values())
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())
