"""Unweighted values of the terms, averaged over a logging window."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


class TermLog:
    """Adds up detached values and gives their means; nothing waits for the device before that."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one value, a detached scalar, to each name."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def pop(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the means over the window and the processes, in alphabetical order, and start anew."""
        if not self._sums:
            return {}
        names = sorted(self._sums)
        means = torch.stack([self._sums[name] / self._counts[name] for name in names])
        self._sums.clear()
        self._counts.clear()
        averaged: Tensor = accelerator.reduce(means, reduction="mean")
        return dict(zip(names, averaged.tolist(), strict=True))
