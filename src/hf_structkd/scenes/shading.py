"""The colours of a cast image: texture coordinates, light and exposure."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .raycast import Hits
from .rooms import Array, Bools, Indices, Room
from .shadows import sees_lamp, sees_sun
from .textures import albedo
from .windows import FREE_AXES, Windows

_FACE_NORMALS = np.array(
    [[1, -1, 0, 0, 0, 0], [0, 0, 1, -1, 0, 0], [0, 0, 0, 0, 1, -1]], np.float32
)  # (3, 6); the normals point into the room
_SUN_COLOUR = np.array([[2.6], [2.3], [1.8]], np.float32)


@dataclass(frozen=True)
class Surface:
    """The N visible points, sorted by piece, so that the points of one piece are one slice.

    Pieces whose textures are of one kind are neighbours.
    """

    order: Indices  # the pixel of each point, (N,), ascending within a piece
    pieces: list[int]  # the visible pieces in the order of their points
    counts: list[int]  # the number of points on each of `pieces`
    parts: list[slice]  # the slice of the points of each of `pieces`
    points: Array  # positions, (3, N)
    normals: Array  # unit normals, (3, N)
    u: Array  # the first texture coordinate in metres, (N,)
    v: Array  # the second texture coordinate in metres, (N,)


def locate(room: Room, hits: Hits, points: Array) -> Surface:
    """Sort the (3, H, W) points of first hits by piece, and find their normals and texture coordinates."""
    kinds = [room.materials[index].kind for index in room.piece_materials()]
    ranked = np.array(sorted(range(len(kinds)), key=kinds.__getitem__))
    rank = np.empty(ranked.size, np.uint8)
    rank[ranked] = np.arange(ranked.size)
    ranks = rank[hits.piece.ravel()]
    order = np.argsort(ranks, kind="stable")
    counts = np.bincount(ranks, minlength=ranked.size)
    visible = np.flatnonzero(counts)
    counts, stops = counts[visible], counts.cumsum()[visible]
    flat = points.reshape(3, -1)
    surface = Surface(
        order=order,
        pieces=ranked[visible].tolist(),
        counts=counts.tolist(),
        parts=list(map(slice, (stops - counts).tolist(), stops.tolist())),
        points=flat[:, order],
        normals=np.empty_like(flat),
        u=np.empty(order.size, np.float32),
        v=np.empty(order.size, np.float32),
    )
    _place_flat(surface, room)
    _place_solids(surface, room)
    return surface


def _place_flat(surface: Surface, room: Room) -> None:
    """Write the normals and texture coordinates of the faces and of the decals on them."""
    faces = [*range(6), *(decal.face for decal in room.decals for _ in range(2)), *(0 for _ in room.solids)]
    normals = _FACE_NORMALS[:, [faces[piece] for piece in surface.pieces]]
    surface.normals[:] = np.repeat(normals, surface.counts, axis=1)
    for piece, part in zip(surface.pieces, surface.parts, strict=True):
        if piece < room.first_solid_piece:
            decal = None if piece < 6 else room.decals[(piece - 6) // 2]
            u0, v0 = (0.0, 0.0) if decal is None else decal.rect[:2]
            u_axis, v_axis = FREE_AXES[faces[piece] // 2]
            np.subtract(surface.points[u_axis, part], np.float32(u0), out=surface.u[part])
            np.subtract(surface.points[v_axis, part], np.float32(v0), out=surface.v[part])


def _place_solids(surface: Surface, room: Room) -> None:
    """Write the normals and texture coordinates of the solids, one kind of solids after the other."""
    first = room.first_solid_piece
    numbers = np.arange(surface.order.size)
    for kind, place in _PLACERS.items():
        seen = [
            (piece - first, part)
            for piece, part in zip(surface.pieces, surface.parts, strict=True)
            if piece >= first and room.solids[piece - first].kind == kind
        ]
        if not seen:
            continue
        chosen = np.concatenate([numbers[part] for _, part in seen])
        counts = [part.stop - part.start for _, part in seen]
        shapes = np.repeat(room.shapes[:, [number for number, _ in seen]], counts, axis=1)
        half, cos, sin = shapes[3:6], shapes[6], shapes[7]
        x, y, z = surface.points.take(chosen, axis=1) - shapes[:3]
        normal, surface.u[chosen], surface.v[chosen] = place(cos * x + sin * y, cos * y - sin * x, z, half)
        surface.normals[0, chosen] = cos * normal[0] - sin * normal[1]
        surface.normals[1, chosen] = sin * normal[0] + cos * normal[1]
        surface.normals[2, chosen] = normal[2]


_Placed = tuple[tuple[Array, Array, Array], Array, Array]


def _on_ball(x: Array, y: Array, z: Array, half: Array) -> _Placed:
    radius = half[0]
    normal = (x / radius, y / radius, z / radius)
    return normal, np.arctan2(y, x) * radius, np.arcsin(np.clip(normal[2], -1, 1)) * radius


def _on_box(x: Array, y: Array, z: Array, half: Array) -> _Placed:
    # A point lies on the side to which it is nearest, relative to the half sizes.
    across, along, up = np.abs(x) / half[0], np.abs(y) / half[1], np.abs(z) / half[2]
    on_x = (across >= along) & (across >= up)
    on_y = (along >= up) & ~on_x
    on_z = ~(on_x | on_y)
    normal = (np.sign(x) * on_x, np.sign(y) * on_y, np.sign(z) * on_z)
    return normal, np.where(on_x, y, x), np.where(on_z, y, z)


def _on_cylinder(x: Array, y: Array, z: Array, half: Array) -> _Placed:
    radius = half[0]
    side = np.sqrt(x * x + y * y) / radius >= np.abs(z) / half[2]
    normal = (x / radius * side, y / radius * side, np.sign(z) * ~side)
    return normal, np.where(side, np.arctan2(y, x) * radius, x), np.where(side, z, y)


_PLACERS = {"ball": _on_ball, "box": _on_box, "cylinder": _on_cylinder}


def shade(room: Room, windows: Windows, hits: Hits, points: Array, surface: Surface, pixel: float) -> Array:
    """Return the linear light of each pixel, (3, N); `pixel` is a pixel's side in metres at unit depth."""
    order, normals = surface.order, surface.normals
    depth = hits.depth.ravel()[order]
    sight = surface.points - np.array(room.camera, np.float32)[:, None]
    facing = np.abs(_dot(sight, normals)) / np.sqrt(_dot(sight, sight))
    footprint = depth * np.float32(pixel) / np.sqrt(np.maximum(facing, np.float32(0.05)))
    light = _ambient(room, surface)
    light += _lamp(room, surface, sees_lamp(room, windows.lamp_shadows, points, hits.piece).ravel()[order])
    if room.sun is not None:
        facing = np.maximum(_dot(np.array(room.sun, np.float32), normals), 0)
        lit = sees_sun(room, room.sun, windows, points, hits.piece)
        light += _SUN_COLOUR * (facing * lit.ravel()[order])
    of_pieces = room.piece_materials()
    materials = [room.materials[of_pieces[piece]] for piece in surface.pieces]
    emission = np.array([material.emission for material in materials], np.float32)
    light += np.repeat(emission, surface.counts)
    light *= albedo(materials, surface.counts, (surface.u, surface.v), footprint)
    picture = np.empty_like(light)
    picture[:, order] = light
    return picture


def _dot(one: Array, other: Array) -> Array:
    product: Array = one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
    return product


def _ambient(room: Room, surface: Surface) -> Array:
    """Return the ambient light, which is darker in corners."""
    points, normals = surface.points, surface.normals
    size = np.array(room.size, np.float32)[:, None]
    near = np.exp(np.minimum(points, size - points) * np.float32(-4))
    dark = 1 - near * (0.4 - np.float32(0.4) * np.abs(normals))
    open_share = dark[0] * dark[1] * dark[2] * (0.85 + np.float32(0.15) * normals[2] * normals[2])
    light: Array = np.array(room.ambient, np.float32)[:, None] * open_share
    return light


def _lamp(room: Room, surface: Surface, lit: Bools) -> Array:
    to_lamp = np.array(room.lamp, np.float32)[:, None] - surface.points
    squared = _dot(to_lamp, to_lamp)
    direct = np.maximum(_dot(to_lamp, surface.normals), 0)
    direct /= np.sqrt(squared) * (0.6 + np.float32(0.4) * squared)
    direct *= lit
    light: Array = np.array(room.lamp_colour, np.float32)[:, None] * direct
    return light


def expose(room: Room, light: Array, height: int, width: int, rng: random.Random) -> NDArray[np.uint8]:
    """Apply exposure, highlight roll-off, gamma 2, lens blur and noise; return (height, width, 3) uint8."""
    light = light * np.float32(room.brightness / max(float(light.mean()), 1e-3))
    picture: Array = (1 + light * np.float32(1 / 6)) * light / (light + 1)
    picture = (np.minimum(np.sqrt(picture), 1) * np.float32(255)).reshape(3, height, width)
    blur, keep = np.float32(0.12), np.float32(0.76)
    beside = picture[:, :, :-2] + picture[:, :, 2:]
    picture[:, :, 1:-1] *= keep
    picture[:, :, 1:-1] += blur * beside
    above = picture[:, :-2] + picture[:, 2:]
    picture[:, 1:-1] *= keep
    picture[:, 1:-1] += blur * above
    words = np.random.SFC64(rng.getrandbits(64)).random_raw(-(-picture.size // 8))
    grain = words.astype("<u8").view(np.uint8)[: picture.size].reshape(picture.shape)
    picture += grain * np.float32(8 / 255) - np.float32(3.5)
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))
