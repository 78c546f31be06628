"""What a trained model of a task is used for, by itself: pictures of what it predicts, and its export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig

from ...features.forward import Batch
from ...report.overlays import Overlay


class Use(ABC):
    """The use of a trained model.

    Args:
        config: The configuration of the model.

    Attributes:
        axes: Names of the axes of each tensor that `exported` returns.
        post_processing: What a program does with the exported outputs, step by step, in words.
    """

    axes: ClassVar[Mapping[str, Sequence[str]]]
    post_processing: ClassVar[Sequence[str]]

    def __init__(self, config: PretrainedConfig) -> None:
        """Keep the configuration."""
        self.config = config

    @abstractmethod
    def overlays(
        self, output: Any, batch: Batch, images: Sequence[NDArray[np.uint8]], *, score_threshold: float
    ) -> list[Overlay]:
        """Paint what is predicted over the pictures.

        Args:
            output: The output of the model.
            batch: What the model was shown; it has no labels.
            images: The pictures (H, W, 3) in their own sizes.
            score_threshold: Lowest score that is drawn, where predictions have scores.
        """

    @abstractmethod
    def exported(self, output: Any) -> dict[str, Tensor]:
        """Return the tensors (B, ...) of an output that a program needs, by the name of their attribute."""

    def facts(self) -> dict[str, Any]:
        """Return what a program must know of the outputs, as JSON values."""
        return {"classes": {str(index): name for index, name in self.config.id2label.items()}}
