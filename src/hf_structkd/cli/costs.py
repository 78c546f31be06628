"""What a model costs: parameters, operations, memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..features.probe import probing
from ..models.parameters import count_parameters

_STATUS = Path("/proc/self/status")


def operations(model: nn.Module, inputs: Mapping[str, Any]) -> int:
    """Return the FLOPs of one image: matrix products and convolutions, two a multiply-add.

    Args:
        model: The model; its mode stays as it is.
        inputs: A batch, of which the first image is shown.
    """
    one = {name: value[:1] for name, value in inputs.items()}
    with probing(model), FlopCounterMode(display=False) as counter:
        model(**one)
    total: int = counter.get_total_flops()
    return total


def size_of(model: nn.Module, inputs: Mapping[str, Any]) -> str:
    """Say how large a model is and what an image costs, for people."""
    return (
        f"{count_parameters(model) / 1e6:.2f} M parameters, {operations(model, inputs) / 1e9:.3g} GFLOPs an "
        "image (matrix products and convolutions, two a multiply-add)"
    )


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that was taken so far: of the device, or on a CPU of the process.

    Without an accelerator Linux alone tells it; elsewhere it is 0.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    found = (
        re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8")) if _STATUS.is_file() else None
    )
    return int(found[1]) * 1024 if found else 0
