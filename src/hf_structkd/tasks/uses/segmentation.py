"""What a trained model of semantic segmentation is used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...features.forward import Batch
from ...matching.alignment import resize_map
from ...models.query_segmentation import ScoreMapOutput
from ...report.overlays import Overlay, label_overlay
from .base import Use


class SegmentationUse(Use):
    """A class for each pixel."""

    axes: ClassVar[Mapping[str, Sequence[str]]] = {
        "logits": ("batch", "classes", "logits_height", "logits_width")
    }
    post_processing: ClassVar[Sequence[str]] = (
        "Resize the logits to the size of the original image: bilinear, with half-pixel centres "
        "(align_corners false).",
        "The class of a pixel is the index of the largest logit along the axis 1.",
    )

    def overlays(
        self, output: Any, batch: Batch, images: Sequence[NDArray[np.uint8]], *, score_threshold: float
    ) -> list[Overlay]:
        """Paint each pixel's class; every class is drawn, whatever its score."""
        maps = output.logits.float()
        # Of such a map the scores are interpolated, see `ScoreMapOutput`.
        maps = maps.exp() if isinstance(output, ScoreMapOutput) else maps
        names = [self.config.id2label[index] for index in sorted(self.config.id2label)]
        painted = []
        for one, image in zip(maps, images, strict=True):
            ids = resize_map(one[None], (image.shape[0], image.shape[1]))[0].argmax(0)
            painted.append(label_overlay(image, ids.cpu().numpy(), names))
        return painted

    def exported(self, output: Any) -> dict[str, Tensor]:
        """Return the logits."""
        return {"logits": output.logits}
