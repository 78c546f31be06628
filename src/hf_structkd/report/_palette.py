"""Class colours that a reader can tell apart.

The palettes of other libraries have colours that are closer together: among 50 colours, the two most similar
ones have a distance of 0.10 in Oklab here, and of at most 0.08 in colorcet's Glasbey lists. None of those
lists starts with colours for colour-blind readers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# The seven colours of Okabe and Ito come first; the others are chosen far from them and from each other.
_FIRST_COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
)
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of the runs in a figure, without yellow (too faint for a line) and black (used for references)."""
_MAX_COLOURS = 256
_LIGHTNESS_RANGE = (0.42, 0.93)
# Björn Ottosson defines Oklab by these two matrices.
_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def class_palette(n: int) -> NDArray[np.uint8]:
    """Return the first `n` of 256 fixed colours, each far from those before it, none close to black or white.

    Args:
        n: Number of classes, 1 to 256.

    Returns:
        (n, 3), uint8. A longer palette starts with the colours of a shorter one.

    Raises:
        ValueError: If `n` is out of range.
    """
    if not 1 <= n <= _MAX_COLOURS:
        raise ValueError(f"`n` must lie between 1 and {_MAX_COLOURS}, got {n}; draw fewer classes.")
    return _all_colours()[:n].copy()


@cache
def _all_colours() -> NDArray[np.uint8]:
    """Choose each next colour as the one that looks most different from all colours chosen before."""
    levels = np.arange(0, 256, 15)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness = _oklab(candidates)[:, 0]
    candidates = candidates[(lightness > _LIGHTNESS_RANGE[0]) & (lightness < _LIGHTNESS_RANGE[1])]
    positions = _oklab(candidates)
    chosen = [np.array(rgb) for rgb in _FIRST_COLOURS]
    nearest = np.min([_distance(positions, rgb) for rgb in chosen], axis=0)
    while len(chosen) < _MAX_COLOURS:
        chosen.append(candidates[int(nearest.argmax())])
        nearest = np.minimum(nearest, _distance(positions, chosen[-1]))
    return np.array(chosen, dtype=np.uint8)


def _distance(positions: NDArray[np.float64], rgb: NDArray[np.int64]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.linalg.norm(positions - _oklab(rgb), axis=-1)
    return distance


def linear_rgb(rgb: NDArray[np.int64]) -> NDArray[np.float64]:
    """Convert sRGB values from 0 to 255 to linear amounts of light from 0 to 1."""
    srgb = np.asarray(rgb) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _oklab(rgb: NDArray[np.int64]) -> NDArray[np.float64]:
    """Convert sRGB values from 0 to 255 to Oklab, where equal distances look about equally different."""
    lab: NDArray[np.float64] = np.cbrt(linear_rgb(rgb) @ np.transpose(_TO_CONES)) @ np.transpose(_TO_LAB)
    return lab
