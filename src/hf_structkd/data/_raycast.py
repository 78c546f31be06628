"""Closed-form ray casting of a `Room`: which surface each pixel sees, how far it is, and what lies in shadow.

Everything is float32 numpy on one image at a time: at usual sizes one image's arrays stay in the processor's
cache, and each solid is tried only where it can be seen, which beats casting many images in one large array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_structkd.data._rooms import LABEL, Decal, Room, Solid, Vector

Array = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int16]

# Keeps 1 / 0 out of the slab tests; it vanishes against any component a ray is likely to have.
_TINY = np.float32(1e-12)
_CORNERS = np.array(list(product((-1, 1), repeat=3))).T  # (3, 8)
FREE_AXES = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Hits:
    """What each of N rays meets first; `solid` is an index into ``room.solids``, or -1 for a face."""

    depth: Array
    face: Ints
    solid: Ints


def look_at(camera: Vector, target: Vector, roll: float) -> tuple[Vector, Vector, Vector]:
    """Unit right, down and forward vectors of a camera at `camera` that looks at `target`."""
    x, y, z = (end - start for end, start in zip(target, camera, strict=True))
    length, flat = math.sqrt(x * x + y * y + z * z), math.hypot(x, y)
    forward = (x / length, y / length, z / length)
    right = (y / flat, -x / flat, 0.0)
    down = (forward[0] * forward[2] * length / flat, forward[1] * forward[2] * length / flat, -flat / length)
    cos, sin = math.cos(roll), math.sin(roll)
    turned_right = tuple(cos * r + sin * d for r, d in zip(right, down, strict=True))
    turned_down = tuple(cos * d - sin * r for r, d in zip(right, down, strict=True))
    return turned_right, turned_down, forward  # type: ignore[return-value]


def focal_in_pixels(room: Room, height: int, width: int) -> float:
    """Focal length in pixels; the principal point is the image centre."""
    return room.focal * max(height, width) / 2


def camera_rays(room: Room, height: int, width: int) -> Array:
    """(3, height, width) rays through the pixel centres; their forward part is 1, so that t is z-depth."""
    focal = focal_in_pixels(room, height, width)
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal).astype(np.float32)
    y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / focal).astype(np.float32)
    right, down, forward = (np.array(axis, np.float32)[:, None, None] for axis in room.camera_axes)
    return right * x[None, None, :] + (down * y[None, :, None] + forward)


def cast_camera_rays(room: Room, rays: Array) -> Hits:
    """First hit of every camera ray, flattened to N = height * width."""
    _, height, width = rays.shape
    depth, face = room_exit(room.size, room.camera, rays)
    solid = np.full((height, width), -1, np.int16)
    for index, window in enumerate(_screen_windows(room, height, width)):
        candidate = room.solids[index]
        near, far = solid_span(candidate, room.camera, rays[(slice(None), *window)])
        seen = (near < far) & (near > 0) & (near < depth[window])
        np.copyto(depth[window], near, where=seen)
        np.copyto(solid[window], np.int16(index), where=seen)
    return Hits(depth.ravel(), face.ravel(), solid.ravel())


def room_exit(size: Vector, origin: Sequence[float] | Array, rays: Array) -> tuple[Array, Ints]:
    """Distance (in lengths of the ray) at which rays from inside leave the room, and through which face."""
    for axis in range(3):
        outward = rays[axis] > 0
        bound = np.where(outward, np.float32(size[axis]), np.float32(0))
        distance = (bound - origin[axis]) / (rays[axis] + _TINY)
        code = np.int16(2 * axis) + outward
        if axis == 0:
            best, face = distance, np.broadcast_to(code, distance.shape).astype(np.int16)
        else:
            closer = distance < best
            np.copyto(best, distance, where=closer)
            np.copyto(face, code, where=closer, casting="unsafe")
    return best, face


def solid_span(solid: Solid, origin: Vector | Array, rays: Array) -> tuple[Array, Array]:
    """Where rays enter and leave a solid; entry lies after exit for a ray that misses."""
    x, y, z = (origin[axis] - solid.centre[axis] for axis in range(3))
    if solid.kind == "ball":
        return _round_span((x, y, z), (rays[0], rays[1], rays[2]), solid.half[0])
    if solid.kind == "cylinder":
        near, far = _round_span((x, y), (rays[0], rays[1]), solid.half[0])
    else:
        cos, sin = math.cos(solid.yaw), math.sin(solid.yaw)
        near, far = _slab_span(cos * x + sin * y, cos * rays[0] + sin * rays[1], solid.half[0])
        side_near, side_far = _slab_span(cos * y - sin * x, cos * rays[1] - sin * rays[0], solid.half[1])
        near, far = np.maximum(near, side_near), np.minimum(far, side_far)
    cap_near, cap_far = _slab_span(z, rays[2], solid.half[2])
    return np.maximum(near, cap_near), np.minimum(far, cap_far)


def _slab_span(start: float | Array, along: Array, half: float) -> tuple[Array, Array]:
    inverse = 1 / (along + _TINY)
    middle, reach = start * inverse, half * np.abs(inverse)
    return -middle - reach, reach - middle


def _round_span(
    start: tuple[float | Array, ...], along: tuple[Array, ...], radius: float
) -> tuple[Array, Array]:
    """Sphere (three parts) or endless cylinder (two): measured from the point of closest approach.

    Textbook b^2 - 4ac loses its digits in float32 when a small ball is far away; this form does not.
    """
    length = sum((part * part for part in along), start=_TINY)
    middle = -sum((s * d for s, d in zip(start, along, strict=True)), start=np.float32(0)) / length
    gap = sum(((s + middle * d) ** 2 for s, d in zip(start, along, strict=True)), start=np.float32(0))
    reach_squared = (radius * radius - gap) / length
    reach = np.sqrt(np.maximum(reach_squared, 0))
    np.copyto(reach, np.float32(-np.inf), where=reach_squared < 0)  # a miss: the exit comes before the entry
    return middle - reach, middle + reach


def _screen_windows(room: Room, height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns that can see each solid; the whole image when part of it is beside the camera."""
    turns = [(math.cos(solid.yaw), math.sin(solid.yaw), *solid.half, *solid.centre) for solid in room.solids]
    cos, sin, half_x, half_y, half_z, *centre = np.array(turns).reshape(-1, 8).T[:, :, None]
    x, y, z = half_x * _CORNERS[0], half_y * _CORNERS[1], half_z * _CORNERS[2]
    # A ball or cylinder may be turned with its bounding box: the box holds it at any yaw.
    corners = np.stack([cos * x - sin * y, sin * x + cos * y, z]) + np.stack(centre)
    corners -= np.array(room.camera)[:, None, None]
    right, down, forward = np.einsum("ac,csk->ask", np.array(room.camera_axes), corners)
    beside = (forward < 0.05).any(axis=1)
    scale = focal_in_pixels(room, height, width) / np.maximum(forward, 0.05)
    columns, rows = right * scale + width / 2, down * scale + height / 2
    spans = np.stack([rows.min(1), rows.max(1) + 1, columns.min(1), columns.max(1) + 1], axis=1)
    spans = np.clip(spans, 0, [height, height, width, width]).astype(int)
    spans[beside] = 0, height, 0, width
    return [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in spans.tolist()]


def inside_decal(decal: Decal, u: Array, v: Array) -> Bools:
    """Which points, given in the free axes of the decal's face, lie on the decal."""
    u0, v0, u1, v1 = decal.rect
    inside: Bools = (u > u0) & (u < u1) & (v > v0) & (v < v1)
    return inside


def sees_lamp(room: Room, lamp: Vector, points: Array, owner: Ints) -> Bools:
    """Which of the (3, N) points see the point light at `lamp`; `owner` is the solid each point lies on.

    Solids are convex, so a point that faces the light is never shaded by its own solid: no bias is needed.
    """
    rays = np.array(lamp, np.float32)[:, None] - points
    lit = np.ones(points.shape[1], np.bool_)
    if not room.solids:
        return lit
    # Only points inside the cone from the lamp around a solid's bounding ball can be in its shadow.
    axes = np.array([solid.centre for solid in room.solids], np.float32) - np.array(lamp, np.float32)
    distances = np.linalg.norm(axes, axis=1)
    radii = np.array([_bounding_radius(solid) for solid in room.solids], np.float32)
    cosines = np.sqrt(np.maximum(0, 1 - np.minimum(1, radii / distances) ** 2)) * distances
    lengths = np.sqrt(np.einsum("cn,cn->n", rays, rays))
    in_cone = -(axes @ rays) >= cosines[:, None] * lengths
    for index, solid in enumerate(room.solids):
        chosen = np.flatnonzero(in_cone[index])
        if chosen.size:
            near, far = solid_span(solid, points.take(chosen, axis=1), rays.take(chosen, axis=1))
            lit[chosen[(near < far) & (far > 0) & (near < 1) & (owner[chosen] != index)]] = False
    return lit


def sees_sun(room: Room, sun: Vector, points: Array, owner: Ints) -> Bools:
    """Which of the (3, N) points see the sun, that is, look out through a window with nothing in between."""
    rays = np.array(sun, np.float32)[:, None]
    distance, face = room_exit(room.size, points, rays)
    lit = np.zeros(points.shape[1], np.bool_)
    for decal in room.decals:
        if decal.label == LABEL["window"]:
            u_axis, v_axis = FREE_AXES[decal.face // 2]
            chosen = np.flatnonzero(face == decal.face)
            u = points[u_axis, chosen] + distance[chosen] * sun[u_axis]
            v = points[v_axis, chosen] + distance[chosen] * sun[v_axis]
            lit[chosen[inside_decal(decal, u, v)]] = True
    chosen = np.flatnonzero(lit)
    shaded = np.zeros(chosen.size, np.bool_)
    points = points.take(chosen, axis=1)
    for index, solid in enumerate(room.solids):
        near, far = solid_span(solid, points, rays)
        shaded |= (near < far) & (far > 0) & (owner[chosen] != index)
    lit[chosen[shaded]] = False
    return lit


def _bounding_radius(solid: Solid) -> float:
    if solid.kind == "ball":
        return solid.half[0]
    across = solid.half[0] if solid.kind == "cylinder" else math.hypot(solid.half[0], solid.half[1])
    return math.hypot(across, solid.half[2])
