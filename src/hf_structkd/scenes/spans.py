"""Closed-form intersections of rays with all solids of one kind at once.

The window of one solid is small, and a call of numpy on a small array costs more than its arithmetic.
For this reason the windows of all solids of one kind are concatenated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .rooms import Array, Indices, Room, SolidKind
from .windows import Window, not_empty, window_pixels

# This avoids 1 / 0 in the slab tests, and is too small to change a usual component of a ray.
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Batch:
    """Solids of one kind and the pixels of their windows, one window after the other.

    `shapes` are the solids' columns of `Room.shapes`, `codes` their pieces, `pixels` the numbers of the
    pixels, and `counts` the number of pixels of each solid.
    """

    kind: SolidKind
    shapes: Array
    codes: list[int]
    windows: list[Window]
    pixels: Indices
    counts: Indices

    def spans(self, origin: Array, rays: Array) -> tuple[Array, Array]:
        """Return where rays enter and leave the solid of their pixel; for a miss, entry < exit is false.

        `origin` and `rays` are (3, pixels) or (3, 1) float32.
        """
        shapes = np.repeat(self.shapes, self.counts, axis=1)
        start, half = origin - shapes[:3], shapes[3:6]
        if self.kind == "ball":
            return _round_span(start, rays, half[0])
        if self.kind == "box":
            return _slab_span(_turned(start, *shapes[6:]), _turned(rays, *shapes[6:]), half)
        near, far = _round_span(start[:2], rays[:2], half[0])
        cap_near, cap_far = _slab_span(start[2:], rays[2:], half[2:])
        return np.maximum(near, cap_near), np.minimum(far, cap_far)


def solid_batches(room: Room, windows: list[Window], height: int, width: int) -> Iterator[Batch]:
    """Yield the solids whose window has a pixel, in one batch for each kind."""
    kinds: tuple[SolidKind, ...] = ("box", "cylinder", "ball")
    for kind in kinds:
        chosen = [
            number
            for number, (solid, window) in enumerate(zip(room.solids, windows, strict=True))
            if solid.kind == kind and not_empty(window)
        ]
        if chosen:
            pixels, counts = window_pixels([windows[number] for number in chosen], height, width)
            yield Batch(
                kind=kind,
                shapes=room.shapes[:, chosen],
                codes=[room.first_solid_piece + number for number in chosen],
                windows=[windows[number] for number in chosen],
                pixels=pixels,
                counts=counts,
            )


def _turned(vectors: Array, cos: Array, sin: Array) -> Array:
    turned = np.empty((3, cos.size), np.float32)
    np.add(vectors[0] * cos, vectors[1] * sin, out=turned[0])
    np.subtract(vectors[1] * cos, vectors[0] * sin, out=turned[1])
    turned[2] = vectors[2]
    return turned


def _slab_span(start: Array, along: Array, half: Array) -> tuple[Array, Array]:
    """Return where rays enter and leave the space between the planes at -half and half on all axes."""
    inverse = 1 / (along + _TINY)
    middle, reach = start * inverse, half * np.abs(inverse)
    return -np.minimum.reduce(middle + reach), np.minimum.reduce(reach - middle)


def _round_span(start: Array, along: Array, radius: Array) -> tuple[Array, Array]:
    """Return where rays enter and leave a ball (three axes) or an endless cylinder (two axes).

    The lengths are measured from the point of closest approach, because b^2 - 4ac is inaccurate in float32
    for a small ball far away. A miss gives NaN, for which every comparison is false.
    """
    inverse = 1 / (np.add.reduce(along * along) + _TINY)
    middle = np.add.reduce(start * along) * -inverse
    closest = start + middle * along
    closest *= closest
    reach_squared = (radius * radius - np.add.reduce(closest)) * inverse
    with np.errstate(invalid="ignore"):
        reach = np.sqrt(reach_squared)
    return middle - reach, middle + reach
