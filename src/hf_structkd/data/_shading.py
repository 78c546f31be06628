"""Colour of a cast image: where each hit lies on its surface, the light on it, and the camera."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_structkd.data._raycast import Array, Hits, Ints, inside_decal, sees_lamp, sees_sun
from hf_structkd.data._rooms import LABEL, Decal, Room, Solid
from hf_structkd.data._textures import albedo

_FACE_NORMALS = np.array(
    [[1, -1, 0, 0, 0, 0], [0, 0, 1, -1, 0, 0], [0, 0, 0, 0, 1, -1]], np.float32
)  # (3, 6), into the room
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
    for number in sorted({decal.face for decal in room.decals}):
        chosen = np.flatnonzero(on_face == number)
        u_there, v_there = u[chosen], v[chosen]
        for decal in room.decals:
            if decal.face == number:
                _hang_decal(surface, decal, chosen, u_there, v_there)
    order = np.argsort(hits.solid, kind="stable")
    stops = np.searchsorted(hits.solid[order], np.arange(len(room.solids) + 1))
    for index, solid in enumerate(room.solids):
        chosen = order[stops[index] : stops[index + 1]]
        if chosen.size:
            _place_solid(surface, solid, chosen)
    return surface


def _hang_decal(surface: Surface, decal: Decal, candidates: NDArray[np.intp], u: Array, v: Array) -> None:
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
    light *= albedo(room.materials, surface.material, (surface.u, surface.v), footprint)
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
