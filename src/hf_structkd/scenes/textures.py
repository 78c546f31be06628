"""Procedural textures, as functions of (u, v) in metres.

Edges are softened over the footprint of one pixel, so that distant fine patterns fade to their mean and do
not alias.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import accumulate, groupby

import numpy as np
from numpy.typing import NDArray

from .rooms import Array, Material

_NOISE_CELLS = 128


def albedo(
    materials: list[Material], counts: list[int], coordinates: tuple[Array, Array], footprint: Array
) -> Array:
    """Return the share of light that each of N points reflects, (3, N).

    The first ``counts[0]`` points have ``materials[0]``, and so on; materials of one kind are neighbours.
    `coordinates` are (u, v) on the surface, and `footprint` is the side in metres of the area that a pixel
    covers.
    """
    rows = [(1 / m.scale, m.offset, *m.colour_a, *m.colour_b) for m in materials]
    table = np.array(rows, np.float32).T
    table[5:] -= table[2:5]
    per_scale, offset, colour_a, difference = np.split(np.repeat(table, counts, axis=1), (1, 2, 5))
    per_scale, offset = per_scale[0], offset[0]
    u, v = coordinates[0] * per_scale, coordinates[1] * per_scale
    stops = list(accumulate(counts))
    turned = np.repeat([material.angle > 0 for material in materials], counts)
    u, v = np.where(turned, v, u), np.where(turned, u, v)
    soft = np.maximum(footprint * per_scale, np.float32(1e-4))
    grain = _noise(u * 6 + offset, v * 6 + offset)
    mix = np.empty_like(u)
    start = 0
    for kind, group in groupby(zip(materials, stops, strict=True), key=lambda pair: pair[0].kind):
        *_, (_, stop) = group
        part = slice(start, stop)
        mix[part] = _PATTERNS[kind](u[part], v[part], soft[part], grain[part])
        start = stop
    colour: Array = difference * mix
    colour += colour_a
    colour *= np.float32(0.93) + np.float32(0.14) * grain
    return colour


def _edge(distance: Array, soft: Array) -> Array:
    """Return 1 where `distance` is above 0 and 0 below, with a ramp as wide as a pixel in between."""
    ramp: Array = np.clip(distance / soft + np.float32(0.5), 0, 1)
    return ramp


def _wave(x: Array) -> Array:
    """Return a triangle wave of period 1: the signed distance to the nearest edge of stripes 1/2 wide."""
    wave: Array = np.abs(x - np.floor(x) - 0.5) - 0.25
    return wave


def _stripes(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    return _edge(_wave(u), soft)


def _checker(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    across, down = 2 * _edge(_wave(u), soft) - 1, 2 * _edge(_wave(v), soft) - 1
    return 0.5 - 0.5 * across * down


def _marble(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    return _edge(_wave(u + 0.6 * v + 0.9 * grain), soft + 0.35)


def _tile_tone(column: Array, row: Array) -> Array:
    """Return a fixed random number in 0..1 for each tile."""
    value = np.sin(column * np.float32(12.9898) + row * np.float32(78.233)) * np.float32(437.5)
    return value - np.floor(value)


def _gap(x: Array, half_width: float, soft: Array) -> Array:
    """Return 1 on the joint at each whole number, and 0 beside it."""
    joint: Array = _edge(half_width - np.abs(x - np.rint(x)), soft) * np.minimum(1, 2 * half_width / soft)
    return joint


def _planks(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    u = u * 3
    plank = np.floor(u)
    length = v * 0.6 + _tile_tone(plank, plank)
    tone = 0.55 * _tile_tone(plank, np.floor(length)) + 0.25 * grain
    return np.maximum(tone, np.maximum(_gap(u, 0.04, soft * 3), _gap(length, 0.008, soft * 0.6)))


def _bricks(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    row = np.floor(v * 3)
    shift = row * 0.5
    along = u * 1.5 + (shift - np.floor(shift))
    tone = 0.35 * _tile_tone(np.floor(along), row)
    mix: Array = np.maximum(tone, np.maximum(_gap(v * 3, 0.05, soft * 3), _gap(along, 0.03, soft * 1.5)))
    return mix


def _dots(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    x, y = u * 2 - np.floor(u * 2) - 0.5, v * 2 - np.floor(v * 2) - 0.5
    fade = np.minimum(1, 0.5 / (soft * 2))
    mix: Array = fade * _edge(0.3 - np.sqrt(x * x + y * y), soft * 2) + (1 - fade) * 0.28
    return mix


def _plain(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    return 0.25 * grain


def _view(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    skyline = 0.3 + 0.2 * _noise(u * 3 + 7, np.zeros_like(u))
    haze = 0.25 * np.clip(1 - v, 0, 1)
    mix: Array = np.maximum(haze, _edge(skyline - v, soft))
    return mix


_PATTERNS = {
    "plain": _plain, "marble": _marble, "stripes": _stripes, "checker": _checker,
    "planks": _planks, "bricks": _bricks, "dots": _dots, "view": _view,
}  # fmt: skip


@lru_cache(maxsize=1)
def _noise_table() -> NDArray[np.complex64]:
    """Return a flattened (cells + 1, cells + 1) table, which tiles, of two octaves of noise in 0..1.

    The real part is a value, and the imaginary part is the difference to its right neighbour, so that one
    look-up returns both.
    """
    rng = random.Random("hf_structkd noise")
    size = _NOISE_CELLS
    fine = np.array([rng.random() for _ in range(size * size)], np.float32).reshape(size, size)
    coarse = np.kron(fine[: size // 4, : size // 4], np.ones((4, 4), np.float32))
    for axis in (0, 1):
        for shift in (1, 2):
            coarse = (coarse + np.roll(coarse, shift, axis)) / 2
    table = 0.4 * fine + 0.6 * coarse
    table = (table - table.min()) / (table.max() - table.min())
    wrapped = np.pad(table, ((0, 1), (0, 1)), mode="wrap").astype(np.float32)
    pairs = np.zeros(wrapped.shape, np.complex64)
    pairs.real = wrapped
    pairs.imag[:, :-1] = np.diff(wrapped, axis=1)
    return pairs.ravel()


def _noise(x: Array, y: Array) -> Array:
    """Return smooth noise in 0..1 with cells of side 1."""
    table = _noise_table()
    column, row = np.floor(x), np.floor(y)
    right, down = x - column, y - row
    mask = _NOISE_CELLS - 1
    corner = (row.astype(np.int32) & mask) * (_NOISE_CELLS + 1) + (column.astype(np.int32) & mask)
    left_top, left_bottom = table[corner], table[corner + (_NOISE_CELLS + 1)]
    top = left_top.real + left_top.imag * right
    bottom = left_bottom.real + left_bottom.imag * right
    noise: Array = top + (bottom - top) * down
    return noise
