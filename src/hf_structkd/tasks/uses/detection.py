"""What a trained detector is used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...features.forward import Batch
from ...report import Boxes
from ...report.overlays import Overlay, box_overlay
from .._detected import detected_boxes
from ..detectors import final_queries
from .base import Use


class DetectionUse(Use):
    """Boxes with classes and scores."""

    axes: ClassVar[Mapping[str, Sequence[str]]] = {
        "logits": ("batch", "queries", "classes"),
        "pred_boxes": ("batch", "queries", "box"),
    }
    post_processing: ClassVar[Sequence[str]] = (
        "If the logits have one channel more than there are classes, take their softmax over the last axis "
        "and drop the last channel, which means that there is no object; otherwise take their sigmoid.",
        "The score of a query is its largest value over the classes, its class the index of that value; keep "
        "the queries of a score above a threshold of yours, for example 0.3.",
        "A box is centre x, centre y, width and height in shares of the image: multiply it by the width and "
        "the height of the original image.",
    )

    def overlays(
        self, output: Any, batch: Batch, images: Sequence[NDArray[np.uint8]], *, score_threshold: float
    ) -> list[Overlay]:
        """Draw each picture's boxes."""
        sizes = [{"orig_size": torch.tensor(image.shape[:2])} for image in images]
        found = detected_boxes(output, self.config, {**batch, "labels": sizes})
        return [
            box_overlay(
                image,
                Boxes(one["boxes"], one["labels"], one["scores"]),
                self.config.id2label,
                score_threshold=score_threshold,
            )
            for image, one in zip(images, found, strict=True)
        ]

    def exported(self, output: Any) -> dict[str, Tensor]:
        """Return class logits and boxes of the last layer's queries."""
        logits, boxes = final_queries(output, self.config)
        return {"logits": logits, "pred_boxes": boxes}
