"""Show a trained model one picture at a time, as its own image processor prepares it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import Tensor

from .loading import Trained

# What would put a part of the canvas where the picture is not, or cut the picture.
_OTHER_CANVAS = ("do_pad", "do_center_crop")


class Shown(NamedTuple):
    """What a model was shown and what it answered."""

    batch: dict[str, Tensor]
    output: Any


class Eye:
    """Prepares pictures for a model and runs it.

    Args:
        trained: The model.
        size: Height and width for a model without an image processor; None takes that of the processor.
    """

    def __init__(self, trained: Trained, size: tuple[int, int] | None = None) -> None:
        """Load the processor, or let the task make one of a given size."""
        self.trained = trained
        self.processor = trained.processor
        if size is not None or self.processor is None:
            if size is None:
                raise ValueError(
                    f"{trained.name} has no image processor, which says how large its images are; set "
                    "`--image_size` to the height and the width that it was trained with."
                )
            self.processor = trained.sized_processor(size)
        self._plain = {name: False for name in _OTHER_CANVAS if getattr(self.processor, name, False)}

    def prepare(self, image: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Return a batch of one picture (H, W, 3), on the device of the model."""
        made = self.processor(images=PIL.Image.fromarray(image), return_tensors="pt", **self._plain)
        known = {name: made[name] for name in ("pixel_values", "pixel_mask") if name in made}
        batch: dict[str, Tensor] = send_to_device(known, self.trained.device)
        return batch

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8]) -> Shown:
        """Show a picture to the model."""
        batch = self.prepare(image)
        return Shown(batch, self.trained.model(**batch))
