"""Moving images between the normalisations of two models, and back to RGB for figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["ImageNormalization", "convert_normalization"]


@dataclass(frozen=True)
class ImageNormalization:
    """How an image processor turns 8-bit RGB into `pixel_values`.

    In the processors' order: `(255 * image * rescale_factor - mean) / std`, then the channels are flipped for
    "bgr". The defaults leave an image in [0, 1] as it is.

    Attributes:
        mean: Subtracted from each channel (R, G, B).
        std: Divides each channel (R, G, B).
        rescale_factor: Multiplies the 8-bit values; 1 if the processor does not rescale.
        channel_order: Order of the channels in `pixel_values`.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rescale_factor: float = 1 / 255
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        """Refuse what cannot be undone."""
        if self.rescale_factor == 0 or 0 in self.std:
            raise ValueError(
                f"`rescale_factor` and `std` must not be 0, got {self.rescale_factor} and {self.std}: "
                "every image would look the same."
            )
        if self.channel_order not in ("rgb", "bgr"):
            raise ValueError(f"`channel_order` must be 'rgb' or 'bgr', got {self.channel_order!r}.")

    @classmethod
    def from_image_processor(cls, processor: Any) -> ImageNormalization:
        """Read the normalisation of a Transformers image processor from its attributes.

        Args:
            processor: An image processor, of either backend; None, for a student that has none, is that of
                the processors that tasks make: ImageNet's mean and standard deviation.

        Raises:
            TypeError: If it is no image processor.
            ValueError: If it normalises without a mean and a std.
        """
        if processor is None:
            return cls(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        if not hasattr(processor, "do_rescale"):
            raise TypeError(f"`processor` must be an image processor, got {type(processor).__name__}.")
        # Not every processor has the other options: one that lacks an option does not do it.
        settings: dict[str, Any] = {}
        settings["rescale_factor"] = float(processor.rescale_factor) if processor.do_rescale else 1.0
        if getattr(processor, "do_normalize", False):
            settings["mean"] = _three(processor, "image_mean")
            settings["std"] = _three(processor, "image_std")
        if getattr(processor, "do_flip_channel_order", False):
            settings["channel_order"] = "bgr"
        return cls(**settings)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn RGB images in [0, 1] into `pixel_values`.

        Shape:
            - images, output: (B, 3, H, W) or (3, H, W), floating point
        """
        mean, std = self._statistics(images)
        pixel_values = (images * self._scale - mean) / std
        return pixel_values.flip(-3) if self.channel_order == "bgr" else pixel_values

    def denormalize(self, pixel_values: Tensor) -> Tensor:
        """Turn `pixel_values` back into RGB images in [0, 1]; nothing is clipped.

        Shape:
            - pixel_values, output: (B, 3, H, W) or (3, H, W), floating point
        """
        mean, std = self._statistics(pixel_values)
        rgb = pixel_values.flip(-3) if self.channel_order == "bgr" else pixel_values
        return (rgb * std + mean) / self._scale

    @property
    def _scale(self) -> float:
        return 255 * self.rescale_factor

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.dim() < 3 or images.shape[-3] != 3 or not images.is_floating_point():
            raise ValueError(
                "images must be floating point with 3 channels, (B, 3, H, W) or (3, H, W), got "
                f"{images.dtype} of shape {tuple(images.shape)}."
            )
        mean, std = (
            torch.tensor(values, dtype=images.dtype, device=images.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return mean, std


def convert_normalization(
    pixel_values: Tensor, source: ImageNormalization, target: ImageNormalization
) -> Tensor:
    """Turn images normalised for one model into what another model's processor would have made of them.

    Padding that was added after normalising is converted like any pixel: zeros are the source's mean colour.

    Args:
        pixel_values: Images normalised as `source` says.
        source: Normalisation of `pixel_values`.
        target: Normalisation of the result; if equal to `source`, the same tensor is returned.

    Shape:
        - pixel_values, output: (B, 3, H, W) or (3, H, W)
    """
    if source == target:
        return pixel_values
    return target.normalize(source.denormalize(pixel_values))


def _three(processor: Any, name: str) -> tuple[float, float, float]:
    """Read one number per channel: processors also store a single one for all three."""
    value = getattr(processor, name, None)
    values = [value] * 3 if isinstance(value, int | float) else list(value or [])
    if len(values) != 3:
        raise ValueError(
            f"{type(processor).__name__} normalises (`do_normalize`), so `{name}` must be one number or "
            f"three, got {value!r}."
        )
    return (float(values[0]), float(values[1]), float(values[2]))
