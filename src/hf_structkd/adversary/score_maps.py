"""The maps that a critic compares."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from .critic import SMALLEST_MAP


class ScoreMaps(NamedTuple):
    """Teacher maps ("real", (B, M, h, w)), student maps ("fake", the same shape) and images (B, 3, H, W)."""

    real: Tensor
    fake: Tensor
    images: Tensor

    def detach(self) -> ScoreMaps:
        """Return the same maps without their graphs, for the critic's own step."""
        return ScoreMaps(self.real.detach(), self.fake.detach(), self.images)

    def at_most(self, side: int) -> ScoreMaps:
        """Average maps whose longer side is above `side` over the cells of a coarser grid."""
        height, width = self.fake.shape[-2:]
        longest = max(height, width)
        if longest <= side:
            return self
        rows, columns = (max(-(-one * side // longest), min(one, SMALLEST_MAP)) for one in (height, width))
        real, fake = (F.adaptive_avg_pool2d(maps, (rows, columns)) for maps in (self.real, self.fake))
        return ScoreMaps(real, fake, self.images)
