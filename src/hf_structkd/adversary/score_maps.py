"""What a critic compares."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ScoreMaps(NamedTuple):
    """What the critic compares: teacher maps ("real"), student maps ("fake") and the images they belong to.

    Shapes (B, M, h, w), (B, M, h, w) and (B, 3, H, W).
    """

    real: Tensor
    fake: Tensor
    images: Tensor

    def detach(self) -> ScoreMaps:
        """Return the same maps without their graphs, for the critic's own step."""
        return ScoreMaps(self.real.detach(), self.fake.detach(), self.images)
