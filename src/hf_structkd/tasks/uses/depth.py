"""What a trained model of monocular depth is used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...features.forward import Batch
from ...report.overlays import Overlay, depth_overlay
from .._depth_kinds import kind_of
from .._depth_maps import read_depth, resized
from .base import Use


class DepthUse(Use):
    """A depth for each pixel."""

    axes: ClassVar[Mapping[str, Sequence[str]]] = {
        "predicted_depth": ("batch", "depth_height", "depth_width")
    }
    post_processing: ClassVar[Sequence[str]] = (
        "Resize the depth to the size of the original image: bilinear, with half-pixel centres "
        "(align_corners false).",
    )

    def overlays(
        self, output: Any, batch: Batch, images: Sequence[NDArray[np.uint8]], *, score_threshold: float
    ) -> list[Overlay]:
        """Put the depth beside each picture, as the model predicts it."""
        inverse = kind_of(self.config)[0] == "inverse"
        unit = " (inverse depth, without unit)" if inverse else " m"
        painted = []
        for one, image in zip(read_depth(output).float(), images, strict=True):
            depth = resized(one[None], (image.shape[0], image.shape[1]))[0].cpu().numpy()
            painted.append(depth_overlay(image, depth, near_is_low=not inverse, unit=unit))
        return painted

    def exported(self, output: Any) -> dict[str, Tensor]:
        """Return the depth."""
        return {"predicted_depth": read_depth(output)}

    def facts(self) -> dict[str, Any]:
        """Return the kind of depth, and where that is known from."""
        kind, how = kind_of(self.config)
        return {"depth": f"{kind}, {how}" if kind else "metric, assumed: its configuration does not say"}
