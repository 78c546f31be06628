"""Colour of a cast image: where each hit lies on its surface, its texture, the light on it, and the camera.

Textures are functions of (u, v) in metres with their edges softened over one pixel's footprint, so that fine
patterns fade to their mean in the distance and do not alias.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hf_structkd.data._raycast import Array, Hits, Ints, inside_decal, sees_lamp, sees_sun
from hf_structkd.data._rooms import LABEL, Decal, Material, Room, Solid

_FACE_NORMALS = np.array(
    [[1, -1, 0, 0, 0, 0], [0, 0, 1, -1, 0, 0], [0, 0, 0, 0, 1, -1]], np.float32
)  # (3, 6), into the room
_NOISE_CELLS = 128
_SUN_COLOUR = np.array([[2.6], [2.3], [1.8]], np.float32)


@dataclass(frozen=True)
class Surface:
    """What is known of N visible points: (3, N) positions and normals, and per point texture and names."""

    points: Array
    normals: Array
    u: Array
    v: Array
    material: Ints
    label: NDArray[np.uint8]
    instance: NDArray[np.uint8]


def locate(room: Room, rays: Array, hits: Hits) -> Surface:
    """Turn first hits into points with normal, texture coordinates, class and instance."""
    points = rays.reshape(3, -1) * hits.depth
    points += np.array(room.camera, np.float32)[:, None]
    face = hits.face
    u, v = np.where(face < 2, points[1], points[0]), np.where(face < 4, points[2], points[1])
    surface = Surface(
        points=points,
        normals=np.take(_FACE_NORMALS, face, axis=1),
        u=u,
        v=v,
        material=np.array(room.face_materials, np.int16)[face],
        label=np.array([LABEL["wall"]] * 4 + [LABEL["floor"], LABEL["ceiling"]], np.uint8)[face],
        instance=np.zeros(face.shape, np.uint8),
    )
    on_face = np.where(hits.solid < 0, face, np.int16(-1))
    of_face = [np.flatnonzero(on_face == number) for number in range(6)]
    for decal in room.decals:
        _hang_decal(surface, decal, of_face[decal.face])
    order = np.argsort(hits.solid, kind="stable")
    stops = np.searchsorted(hits.solid[order], np.arange(len(room.solids) + 1))
    for index, solid in enumerate(room.solids):
        chosen = order[stops[index] : stops[index + 1]]
        if chosen.size:
            _place_solid(surface, solid, chosen)
    return surface


def _hang_decal(surface: Surface, decal: Decal, candidates: NDArray[np.intp]) -> None:
    u, v = surface.u[candidates], surface.v[candidates]
    inside = inside_decal(decal, u, v)
    chosen = candidates[inside]
    if not chosen.size:
        return
    u0, v0, u1, v1 = decal.rect
    u, v = u[inside] - u0, v[inside] - v0
    framed = np.zeros(u.shape, np.bool_)
    for along, length, count in ((u, u1 - u0, decal.panes[0]), (v, v1 - v0, decal.panes[1])):
        # Panes and bars repeat: the pane comes first in each period, the bar after it.
        pane = (length - 2 * decal.frame - (count - 1) * decal.bar) / count
        within = along - decal.frame
        framed |= (within < 0) | (within > length - 2 * decal.frame)
        framed |= np.mod(within, pane + decal.bar) > pane
    surface.u[chosen], surface.v[chosen] = u, v
    surface.label[chosen] = decal.label
    surface.instance[chosen] = decal.instance
    surface.material[chosen] = np.where(framed, decal.frame_material, decal.pane_material)


def _place_solid(surface: Surface, solid: Solid, chosen: NDArray[np.intp]) -> None:
    offset = surface.points.take(chosen, axis=1) - np.array(solid.centre, np.float32)[:, None]
    cos, sin = math.cos(solid.yaw), math.sin(solid.yaw)
    local = np.stack([cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0], offset[2]])
    normal = np.zeros_like(local)
    radius = solid.half[0]
    if solid.kind == "ball":
        normal = local / radius
        u = np.arctan2(local[1], local[0]) * radius
        v = np.arcsin(np.clip(normal[2], -1, 1)) * radius
    else:
        relative = np.abs(local) / np.array(solid.half, np.float32)[:, None]
        if solid.kind == "cylinder":
            relative[0], relative[1] = np.hypot(local[0], local[1]) / radius, 0
        axis = relative.argmax(axis=0)
        rows = np.arange(chosen.size)
        normal[axis, rows] = np.sign(local[axis, rows])
        u, v = np.where(axis == 0, local[1], local[0]), np.where(axis == 2, local[1], local[2])
        if solid.kind == "cylinder":
            side = axis == 0
            normal[:2, side] = local[:2, side] / radius
            u[side] = np.arctan2(local[1, side], local[0, side]) * radius
    surface.normals[0, chosen] = cos * normal[0] - sin * normal[1]
    surface.normals[1, chosen] = sin * normal[0] + cos * normal[1]
    surface.normals[2, chosen] = normal[2]
    surface.u[chosen], surface.v[chosen] = u, v
    surface.material[chosen] = solid.material
    surface.label[chosen] = solid.label
    surface.instance[chosen] = solid.instance


def shade(room: Room, hits: Hits, surface: Surface, rays: Array, pixel: float) -> Array:
    """(3, N) linear light; `pixel` is the side of a pixel at unit depth, in metres."""
    flat_rays = rays.reshape(3, -1)
    facing = np.abs(np.einsum("cn,cn->n", flat_rays, surface.normals))
    facing /= np.sqrt(np.einsum("cn,cn->n", flat_rays, flat_rays))
    footprint = hits.depth * np.float32(pixel) / np.sqrt(np.maximum(facing, 0.05))
    light = _light(room, surface, hits.solid)
    emission = np.array([material.emission for material in room.materials], np.float32)
    light += emission[surface.material]
    light *= _albedo(room.materials, surface, footprint)
    return light


def _light(room: Room, surface: Surface, owner: Ints) -> Array:
    """Sky-like ambient light, darker in corners, plus the lamp and the sun with their cast shadows."""
    points, normals = surface.points, surface.normals
    open_share = 0.85 + 0.15 * normals[2] ** 2
    for axis in range(3):
        wall_near = np.minimum(points[axis], room.size[axis] - points[axis])
        open_share *= 1 - 0.4 * (1 - np.abs(normals[axis])) * np.exp(wall_near * np.float32(-4))
    light: Array = np.array(room.ambient, np.float32)[:, None] * open_share
    to_lamp = np.array(room.lamp, np.float32)[:, None] - points
    slant = np.einsum("cn,cn->n", to_lamp, normals)
    squared = np.einsum("cn,cn->n", to_lamp, to_lamp)
    direct = np.maximum(slant, 0) / (np.sqrt(squared) * (0.6 + 0.4 * squared))
    chosen = np.flatnonzero(slant > 0)
    direct[chosen] *= sees_lamp(room, room.lamp, points.take(chosen, axis=1), owner[chosen])
    light += np.array(room.lamp_colour, np.float32)[:, None] * direct
    if room.sun is not None:
        direct = np.maximum(np.array(room.sun, np.float32) @ normals, 0)
        chosen = np.flatnonzero(direct)
        direct[chosen] *= sees_sun(room, room.sun, points.take(chosen, axis=1), owner[chosen])
        light += _SUN_COLOUR * direct
    return light


# -- textures --------------------------------------------------------------------------------


def _albedo(materials: list[Material], surface: Surface, footprint: Array) -> Array:
    """(3, N) share of light given back, from each point's material."""
    index = surface.material
    scale = np.array([material.scale for material in materials], np.float32)[index]
    turned = np.array([material.angle > 0 for material in materials])[index]
    offset = np.array([material.offset for material in materials], np.float32)[index]
    u = np.where(turned, surface.v, surface.u) / scale
    v = np.where(turned, surface.u, surface.v) / scale
    soft = np.maximum(footprint / scale, 1e-4)
    grain = _noise(u * 6 + offset, v * 6 + offset)
    mix = _mix(np.array([material.kind for material in materials]), index, (u, v, soft, grain))
    colour_a = np.array([material.colour_a for material in materials], np.float32).T
    colour_b = np.array([material.colour_b for material in materials], np.float32).T
    albedo = np.take(colour_a, index, axis=1)
    albedo += mix * np.take(colour_b - colour_a, index, axis=1)
    albedo *= 0.93 + 0.14 * grain
    return albedo


def _mix(kinds: NDArray[np.str_], index: Ints, coordinates: tuple[Array, Array, Array, Array]) -> Array:
    """Weight of a material's second colour at each point, 0 to 1."""
    mix = np.zeros(index.shape, np.float32)
    for kind, pattern in _PATTERNS.items():
        chosen = np.flatnonzero((kinds == kind)[index])
        if chosen.size:
            mix[chosen] = pattern(*(part[chosen] for part in coordinates))
    return mix


def _edge(distance: Array, soft: Array) -> Array:
    """1 where `distance` is above 0, 0 below, with a ramp as wide as a pixel."""
    ramp: Array = np.clip(distance / soft + 0.5, 0, 1)
    return ramp


def _wave(x: Array) -> Array:
    """Triangle wave of period 1 between -1/4 and 1/4: the distance to the nearest edge of a 50 % stripe."""
    wave: Array = np.abs(x - np.floor(x) - 0.5) - 0.25
    return wave


def _stripes(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    return _edge(_wave(u), soft)


def _checker(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    across, down = 2 * _edge(_wave(u), soft) - 1, 2 * _edge(_wave(v), soft) - 1
    return 0.5 - 0.5 * across * down


def _marble(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    warped = u + 0.6 * v + 0.9 * grain
    return _edge(_wave(warped), soft + 0.35)


def _tile_tone(column: Array, row: Array) -> Array:
    """A fixed random number in 0..1 per tile."""
    value = np.sin(column * np.float32(12.9898) + row * np.float32(78.233)) * np.float32(437.5)
    return value - np.floor(value)


def _gap(x: Array, half_width: float, soft: Array) -> Array:
    """1 on the joint at each whole number."""
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
    along = u * 1.5 + 0.5 * np.mod(row, 2)
    tone = 0.35 * _tile_tone(np.floor(along), row)
    mix: Array = np.maximum(tone, np.maximum(_gap(v * 3, 0.05, soft * 3), _gap(along, 0.03, soft * 1.5)))
    return mix


def _dots(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    x, y = u * 2 - np.floor(u * 2) - 0.5, v * 2 - np.floor(v * 2) - 0.5
    fade = np.minimum(1, 0.5 / (soft * 2))
    mix: Array = fade * _edge(0.3 - np.hypot(x, y), soft * 2) + (1 - fade) * 0.28
    return mix


def _plain(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    return 0.25 * grain


def _view(u: Array, v: Array, soft: Array, grain: Array) -> Array:
    skyline = 0.3 + 0.2 * _noise(u * 3 + 7, np.zeros_like(u))
    haze = 0.25 * np.clip(1 - v, 0, 1)
    mix: Array = np.maximum(haze, _edge(skyline - v, soft))
    return mix


_PATTERNS = {
    "plain": _plain,
    "marble": _marble,
    "stripes": _stripes,
    "checker": _checker,
    "planks": _planks,
    "bricks": _bricks,
    "dots": _dots,
    "view": _view,
}


@lru_cache(maxsize=1)
def _noise_table() -> Array:
    """(cells + 1, cells + 1) tiling table of two octaves of random values in 0..1."""
    rng = random.Random("hf_structkd noise")
    size = _NOISE_CELLS
    fine = np.array([rng.random() for _ in range(size * size)], np.float32).reshape(size, size)
    coarse = np.kron(fine[: size // 4, : size // 4], np.ones((4, 4), np.float32))
    for axis in (0, 1):
        for shift in (1, 2):
            coarse = (coarse + np.roll(coarse, shift, axis)) / 2
    table = 0.4 * fine + 0.6 * coarse
    table = (table - table.min()) / (table.max() - table.min())
    wrapped: Array = np.pad(table, ((0, 1), (0, 1)), mode="wrap").astype(np.float32)
    return wrapped


def _noise(x: Array, y: Array) -> Array:
    """Smooth noise in 0..1 with cells of side 1."""
    table = _noise_table()
    column, row = np.floor(x), np.floor(y)
    right, down = x - column, y - row
    mask = _NOISE_CELLS - 1
    corner = (row.astype(np.int32) & mask) * (_NOISE_CELLS + 1) + (column.astype(np.int32) & mask)
    flat = table.ravel()
    top = flat[corner] * (1 - right) + flat[corner + 1] * right
    below = corner + _NOISE_CELLS + 1
    bottom = flat[below] * (1 - right) + flat[below + 1] * right
    value: Array = top + down * (bottom - top)
    return value


# -- camera --------------------------------------------------------------------------------


def expose(room: Room, light: Array, height: int, width: int, rng: random.Random) -> NDArray[np.uint8]:
    """(height, width, 3) picture: exposure, highlight roll-off, gamma 2, a slight lens blur, sensor noise."""
    exposure = room.brightness / max(float(light.mean()), 1e-3)
    light = light * np.float32(exposure)
    light = np.sqrt(light * (1 + light / 6) / (1 + light))
    picture = np.minimum(light, 1).reshape(3, height, width) * np.float32(255)
    blur = np.float32(0.12)
    picture[:, :, 1:-1] += blur * (picture[:, :, :-2] + picture[:, :, 2:] - 2 * picture[:, :, 1:-1])
    picture[:, 1:-1] += blur * (picture[:, :-2] + picture[:, 2:] - 2 * picture[:, 1:-1])
    grain = np.frombuffer(rng.randbytes(picture.size), np.uint8).reshape(picture.shape)
    picture += grain * np.float32(8 / 255)
    picture -= np.float32(3.5)
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))
