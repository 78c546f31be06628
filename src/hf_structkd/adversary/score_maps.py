"""The maps that a critic compares."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ScoreMaps(NamedTuple):
    """Teacher maps ("real", (B, M, h, w)), student maps ("fake", the same shape) and images (B, 3, H, W)."""

    real: Tensor
    fake: Tensor
    images: Tensor

    def detach(self) -> ScoreMaps:
        """Return the same maps without their graphs, for the critic's own step."""
        return ScoreMaps(self.real.detach(), self.fake.detach(), self.images)
