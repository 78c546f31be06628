"""Conversion of images between the normalisations of two models, and back to RGB for figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["ImageNormalization", "convert_normalization"]


@dataclass(frozen=True)
class ImageNormalization:
    """The way in which an image processor turns 8-bit RGB into `pixel_values`.

    A processor computes `(255 * image * rescale_factor - mean) / std`, and then flips the channels for "bgr".
    The defaults leave an image in [0, 1] as it is.

    Attributes:
        mean: The number that is subtracted from each channel (R, G, B).
        std: The number that divides each channel (R, G, B).
        rescale_factor: The factor of the 8-bit values; 1 if the processor does not rescale.
        channel_order: The order of the channels in `pixel_values`.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rescale_factor: float = 1 / 255
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        """Refuse a normalisation that cannot be undone."""
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
            TypeError: If the argument is no image processor.
            ValueError: If the processor normalises without a mean and a std.
        """
        if processor is None:
            return cls(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        if not hasattr(processor, "do_rescale"):
            raise TypeError(f"`processor` must be an image processor, got {type(processor).__name__}.")
        # Not every processor has the other options. A processor without an option does not do that step.
        settings: dict[str, Any] = {}
        settings["rescale_factor"] = float(processor.rescale_factor) if processor.do_rescale else 1.0
        if getattr(processor, "do_normalize", False):
            settings["mean"] = _three(processor, "image_mean")
            settings["std"] = _three(processor, "image_std")
        if getattr(processor, "do_flip_channel_order", False):
            settings["channel_order"] = "bgr"
        return cls(**settings)

    def normalize(self, images: Tensor) -> Tensor:
        """Turn RGB images in [0, 1], (B, 3, H, W) or (3, H, W), into `pixel_values` of the same shape."""
        mean, std = self._statistics(images)
        pixel_values = (images * self._scale - mean) / std
        return pixel_values.flip(-3) if self.channel_order == "bgr" else pixel_values

    def denormalize(self, pixel_values: Tensor) -> Tensor:
        """Turn `pixel_values` back into RGB images in [0, 1] of the same shape; no value is clipped."""
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
    """Turn images that are normalised for one model into images that are normalised for another.

    Padding that was added after the normalisation is converted like any pixel; zeros are the source's mean
    colour.

    Args:
        pixel_values: Images with the normalisation `source`, (B, 3, H, W) or (3, H, W).
        source: The normalisation of `pixel_values`.
        target: The normalisation of the result. If it equals `source`, the same tensor is returned.
    """
    if source == target:
        return pixel_values
    return target.normalize(source.denormalize(pixel_values))


def _three(processor: Any, name: str) -> tuple[float, float, float]:
    """Read one number per channel; a processor may also store a single number for all three."""
    value = getattr(processor, name, None)
    values = [value] * 3 if isinstance(value, int | float) else list(value or [])
    if len(values) != 3:
        raise ValueError(
            f"{type(processor).__name__} normalises (`do_normalize`), so `{name}` must be one number or "
            f"three, got {value!r}."
        )
    return (float(values[0]), float(values[1]), float(values[2]))
