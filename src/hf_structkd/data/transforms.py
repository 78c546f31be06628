"""Random crops, flips and colours for an image and what belongs to it, decided by one given generator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_yuv, yuv_to_rgb
from kornia.geometry.transform import hflip
from torch import Tensor

from ..matching.alignment import resize_ids

# Zero after the normalisation of most encoders: the ImageNet mean colour.
_FILL = (0.485, 0.456, 0.406)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W) to ``size``, height and width in pixels (bilinear, antialiased).

    Both sides are resized independently. An image that has the size already is returned itself.
    """
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def jitter_color(
    image: Tensor,
    *,
    brightness: float = 1.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: float = 0.0,
) -> Tensor:
    """Change the colours of an image; the result is clamped to [0, 1] once, at the end.

    In YUV (ITU-R BT.601), with m the mean of Y after brightness, Y becomes ``contrast * (brightness * Y -
    m) + m``, and the chroma vector (U, V) is multiplied by ``brightness * contrast * saturation`` and turned
    by ``hue``. So the four act one after the other, and a change of hue leaves the luma as it is.

    Args:
        image: colours in [0, 1], (3, H, W) float.
        brightness: factor of every channel; 1 changes nothing.
        contrast: factor of the distance to the mean luma; 1 changes nothing.
        saturation: factor of the distance to gray; 0 gives gray, 1 changes nothing.
        hue: turn of the chroma vector in full turns (0.5 gives complementary colours); 0 changes nothing.
    """
    if (brightness, contrast, saturation, hue) == (1.0, 1.0, 1.0, 0.0):
        return image
    luma, u, v = rgb_to_yuv(image).unbind(dim=0)
    luma = brightness * contrast * luma + brightness * (1 - contrast) * luma.mean()
    chroma = brightness * contrast * saturation
    cos, sin = chroma * math.cos(2 * math.pi * hue), chroma * math.sin(2 * math.pi * hue)
    jittered: Tensor = yuv_to_rgb(torch.stack([luma, cos * u - sin * v, sin * u + cos * v]))
    return jittered.clamp_(0, 1)


class Crop(NamedTuple):
    """What one draw of an augmentation does to an image and to its target.

    Args:
        source: rows and columns that are cut from the source.
        content: height and width of the cut in the result, pixels.
        corner: row and column of the result where the cut is placed; the rest is padding.
        size: height and width of the result, pixels.
        flipped: whether the cut is flipped left to right before it is placed.
        zoom: the drawn scale.
        colors: arguments of `jitter_color`.
    """

    source: tuple[slice, slice]
    content: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    flipped: bool
    zoom: float
    colors: Mapping[str, float]

    def resized(self, size: tuple[int, int]) -> Crop:
        """Return the crop that shows the same in a result of another size."""
        content, corner = [], []
        for start, length, old, new in zip(self.corner, self.content, self.size, size, strict=True):
            first = min(round(start * new / old), new - 1)
            content.append(max(1, round((start + length) * new / old) - first))
            corner.append(first)
        return self._replace(content=(content[0], content[1]), corner=(corner[0], corner[1]), size=size)

    def place(self, content: Tensor, fill: Tensor | float) -> Tensor:
        """Place the cut (..., *content) on a canvas (..., *size) that shows ``fill`` where it is padded."""
        if self.content == self.size:
            return content
        (top, left), (height, width) = self.corner, self.content
        canvas = content.new_empty(*content.shape[:-2], *self.size)
        canvas[:] = fill
        canvas[..., top : top + height, left : left + width] = content
        return canvas

    def mirror(self, content: Tensor) -> Tensor:
        """Place the cut (..., *content) on a canvas (..., *size), and mirror it where that is padded."""
        if self.content == self.size:
            return content
        rows, columns = (_mirrored(*side) for side in zip(self.corner, self.content, self.size, strict=True))
        return content[..., rows[:, None], columns]


@dataclass(frozen=True, eq=False)
class DenseAugmentation:
    """Random scale, crop, flip and colours; image and target map always get the same geometry.

    The image is scaled, with its aspect, so that it just covers ``base_size``; the random scale multiplies
    that. A box of ``size`` is then cut out at random. With the default ``base_size=size`` a scale of 1 shows
    as much of the image as fits; with ``base_size`` at the size of the image it crops at native resolution. A
    scaled image that is smaller than ``size`` is placed at random, and the rest is padded. Only the pixels
    inside the box are resized: its corners are rounded to whole pixels of the source, so that the true scale
    may differ from the drawn one by up to a pixel in the box.

    Every call draws the same number of values from the generator, so that the crops do not change when, say,
    the colours are switched off. There is no other source of randomness.

    Args:
        size: height and width of the result, pixels.
        scale: smallest and largest random scale, drawn uniformly.
        base_size: height and width that the image covers at scale 1, pixels; None takes ``size``.
        stretch: whether the image is scaled to exactly ``base_size``, as evaluation images are.
        flip_probability: probability of a left-right flip.
        color_jitter: strength c of brightness, contrast, saturation (factors in [1 - c, 1 + c]) and hue (-c
            to c turns), see `jitter_color`; zeros switch it off.
        nothing: value of padded pixels in the target map: the ignored label, or 0 for depth.
        mirror: whether padding shows the image mirrored, or the ImageNet mean colour, which keeps objects
            without a box out of it. On a constant, the LayerNorms of a transformer have no variance at the
            start of a training, and multiply gradients by hundreds, one after the other.

    Raises:
        ValueError: on an argument outside its range.
    """

    size: tuple[int, int]
    _: KW_ONLY
    scale: tuple[float, float] = (0.5, 2.0)
    base_size: tuple[int, int] | None = None
    stretch: bool = False
    flip_probability: float = 0.5
    color_jitter: Sequence[float] = (0.3, 0.3, 0.3, 0.05)
    nothing: float = 255
    mirror: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_size("size", self.size)
        check_size("base_size", self._base_size)
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(
                f"`scale` must be two positive numbers, the smaller first, got {self.scale}; (1, 1) turns it "
                "off."
            )
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(
                f"`flip_probability` must lie in [0, 1], got {self.flip_probability}; 0 turns flipping off."
            )
        jitter, limits = self.color_jitter, (1.0, 1.0, 1.0, 0.5)
        if len(jitter) != 4 or not all(0 <= c <= most for c, most in zip(jitter, limits, strict=True)):
            raise ValueError(
                "`color_jitter` must be four strengths (brightness, contrast, saturation in [0, 1], hue in "
                f"[0, 0.5]), got {tuple(jitter)}; (0, 0, 0, 0) switches it off."
            )

    @property
    def _base_size(self) -> tuple[int, int]:
        return self.base_size or self.size

    @property
    def can_pad(self) -> bool:
        """Whether some scale makes the image smaller than ``size``, so that padding can occur."""
        return any(self.scale[0] * base < side for base, side in zip(self._base_size, self.size, strict=True))

    def __call__(
        self,
        image: Tensor,
        label: Tensor,
        generator: torch.Generator,
        *,
        zoomed: Callable[[Tensor, float], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Augment one image and its target map of the same size.

        Args:
            image: colours in [0, 1], (3, H0, W0) float.
            label: class ids of any integer type, or depths, (H0, W0).
            generator: source of every random decision.
            zoomed: changes the map by the drawn scale, a target's `zoomed`; None changes nothing.

        Returns:
            The image (3, H, W), the label (H, W), int64 or the depths' type, and the mask (H, W) bool, True
            on the image and False on padding; H, W = ``size``.
        """
        crop = self.draw(image.shape[-2:], generator)
        return self.image(image, crop), self.label(label, crop, zoomed=zoomed), self.mask(crop)

    def draw(self, image_size: Sequence[int], generator: torch.Generator) -> Crop:
        """Draw all random decisions for an image of ``image_size``, height and width.

        `image`, `label` and `mask` carry them out, and `boxes.through_crop` does so for boxes.
        """
        draws = torch.rand(8, generator=generator, dtype=torch.float64).tolist()
        zoom = self.scale[0] + draws[0] * (self.scale[1] - self.scale[0])
        source, content, corner = self._cut(image_size, zoom, draws[1:3])
        flipped = draws[3] < self.flip_probability
        return Crop(source, content, corner, self.size, flipped, zoom, self._colors(draws[4:]))

    def image(self, image: Tensor, crop: Crop) -> Tensor:
        """Return the image (3, H0, W0) as seen in the crop, (3, H, W)."""
        image = resize_image(image[:, crop.source[0], crop.source[1]], crop.content)
        image = jitter_color(hflip(image) if crop.flipped else image, **crop.colors)
        return crop.mirror(image) if self.mirror else crop.place(image, torch.tensor(_FILL).view(3, 1, 1))

    def label(
        self, label: Tensor, crop: Crop, *, zoomed: Callable[[Tensor, float], Tensor] | None = None
    ) -> Tensor:
        """Return the map (H0, W0) as seen in the crop, (H, W); see `__call__` for ``zoomed``."""
        label = resize_ids(label[crop.source], crop.content)
        label = label.flip(-1) if crop.flipped else label
        if zoomed is not None:
            label = zoomed(label, crop.zoom)
        label = label if label.is_floating_point() else label.long()
        return crop.place(label, self.nothing)

    def mirrored(self, values: Tensor, crop: Crop) -> Tensor:
        """Return a map (H0, W0) without holes as seen in the crop, (H, W), mirrored where that is padded."""
        values = resize_ids(values[crop.source], crop.content)
        return crop.mirror(values.flip(-1) if crop.flipped else values)

    def mask(self, crop: Crop) -> Tensor:
        """Return a mask (H, W), True where the crop shows the image, False where it is padded."""
        return crop.place(torch.ones(crop.content, dtype=torch.bool), False)

    def _cut(
        self, image_size: Sequence[int], zoom: float, draws: list[float]
    ) -> tuple[tuple[slice, slice], tuple[int, int], tuple[int, int]]:
        """Return what to cut from the source, its size in the result, and its corner there."""
        covers = [base / side for base, side in zip(self._base_size, image_size, strict=True)]
        if not self.stretch:
            covers = [max(covers)] * 2
        slices, content, corner = [], [], []
        for side, wanted, cover, draw in zip(image_size, self.size, covers, draws, strict=True):
            ratio = cover * zoom
            filled = min(wanted, max(1, round(side * ratio)))
            taken = side if filled < wanted else min(side, max(1, round(wanted / ratio)))
            start = int(draw * (side - taken + 1))
            slices.append(slice(start, start + taken))
            content.append(filled)
            corner.append(int(draw * (wanted - filled + 1)))
        return (slices[0], slices[1]), (content[0], content[1]), (corner[0], corner[1])

    def _colors(self, draws: list[float]) -> dict[str, float]:
        """Turn four values in [0, 1) into arguments of `jitter_color`."""
        shifts = [(2 * draw - 1) * strength for draw, strength in zip(draws, self.color_jitter, strict=True)]
        names = ("brightness", "contrast", "saturation")
        return {**{name: 1 + shift for name, shift in zip(names, shifts[:3], strict=True)}, "hue": shifts[3]}


def _mirrored(start: int, length: int, size: int) -> Tensor:
    """Return which of ``length`` pixels each of ``size`` shows, if the first lies at ``start``."""
    places = (torch.arange(size) - start) % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)


LONGEST_SIDE = 2**14
"""Pixels of the longest side that an image may be resized to."""


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise `ValueError` if the size ``name`` is not two positive whole numbers."""
    if len(size) != 2 or any(not isinstance(side, int) or side < 1 for side in size):
        raise ValueError(
            f"`{name}` must be height and width in whole pixels, got {size}; for instance (180, 240)."
        )
    if max(size) > LONGEST_SIDE:
        raise ValueError(
            f"`{name}` must be at most {LONGEST_SIDE:,} pixels a side, got {size}; no memory holds the maps "
            "of such images."
        )
