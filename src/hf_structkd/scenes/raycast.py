"""Closed-form ray casting of a `Room`: which surface each pixel sees and how far away the surface is.

The code works in float32 numpy on one image at a time, and tries each thing only in the window of the image
that can show it. This is faster than many images in one large array, because the arrays of one image of usual
size stay in the processor's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .rooms import Array, Bools, Decal, Indices, Names, Room, Vector
from .spans import Batch, solid_batches
from .windows import FREE_AXES, Window, Windows, focal_in_pixels, not_empty, window_pixels


@dataclass(frozen=True)
class Hits:
    """The first hit of each pixel's ray: (H, W) depth in metres and `piece`, numbered as in `Room`."""

    depth: Array
    piece: Names


def look_at(camera: Vector, target: Vector, roll: float) -> tuple[Vector, Vector, Vector]:
    """Return the unit right, down and forward vectors of a camera at `camera` that looks at `target`."""
    x, y, z = (end - start for end, start in zip(target, camera, strict=True))
    length, flat = math.sqrt(x * x + y * y + z * z), math.hypot(x, y)
    forward = (x / length, y / length, z / length)
    right = (y / flat, -x / flat, 0.0)
    down = (forward[0] * forward[2] * length / flat, forward[1] * forward[2] * length / flat, -flat / length)
    cos, sin = math.cos(roll), math.sin(roll)
    turned_right = tuple(cos * r + sin * d for r, d in zip(right, down, strict=True))
    turned_down = tuple(cos * d - sin * r for r, d in zip(right, down, strict=True))
    return turned_right, turned_down, forward  # type: ignore[return-value]


def camera_rays(room: Room, height: int, width: int) -> Array:
    """Return (3, height, width) rays through the pixel centres; their forward part is 1, so t is z-depth."""
    focal = focal_in_pixels(room, height, width)
    x, y = ((np.arange(n, dtype=np.float32) + 0.5 - n / 2) / np.float32(focal) for n in (width, height))
    right, down, forward = np.array(room.camera_axes, np.float32)[:, :, None, None]
    rays: Array = right * x + (down * y[:, None] + forward)
    return rays


def cast_camera_rays(room: Room, rays: Array, windows: Windows) -> Hits:
    """Return the first hit of every camera ray."""
    depth, piece = _room_exit(room, rays)
    _paint_decals(room, windows.decals, hit_points(room, rays, depth), piece)
    origin, flat_rays = column(room.camera), rays.reshape(3, -1)
    for batch in solid_batches(room, windows.solids, *depth.shape):
        near, far = batch.spans(origin, flat_rays.take(batch.pixels, axis=1))
        near[~((near < far) & (near > 0))] = np.inf
        _paint_nearer(batch, near, depth, piece)
    return Hits(depth, piece)


def _paint_nearer(batch: Batch, near: Array, depth: Array, piece: Names) -> None:
    stops = np.cumsum(batch.counts).tolist()
    for code, window, start, stop in zip(batch.codes, batch.windows, [0, *stops], stops, strict=False):
        there = depth[window]
        candidate = near[start:stop].reshape(there.shape)
        seen = candidate < there
        np.copyto(there, candidate, where=seen)
        np.copyto(piece[window], np.uint8(code), where=seen)


def column(vector: Vector) -> Array:
    """Return a vector as (3, 1) float32, which broadcasts with (3, N) points and rays."""
    return np.array(vector, np.float32)[:, None]


def hit_points(room: Room, rays: Array, depth: Array) -> Array:
    """Return the (3, H, W) positions at `depth` along the camera's rays."""
    points: Array = rays * depth
    points += column(room.camera)[:, :, None]
    return points


def _room_exit(room: Room, rays: Array) -> tuple[Array, Names]:
    """Return the depth at which rays from the camera leave the room, and the face that they meet."""
    # The inverse depths of an axis' two faces are linear in the ray, and positive for the face ahead.
    best = np.zeros(rays.shape[1:], np.float32)
    face = np.zeros(rays.shape[1:], np.uint8)
    for axis, (along, size, start) in enumerate(zip(rays, room.size, room.camera, strict=True)):
        inverse = np.maximum(along * np.float32(1 / (size - start)), along * np.float32(-1 / start))
        ahead = (along > 0).view(np.uint8) + np.uint8(2 * axis)
        np.copyto(face, ahead, where=inverse > best)
        np.maximum(best, inverse, out=best)
    return 1 / best, face


def _paint_decals(room: Room, windows: list[Window], points: Array, piece: Names) -> None:
    """Write the decals' pieces where a ray leaves the room through a decal."""
    seen = [number for number, window in enumerate(windows) if not_empty(window)]
    if not seen:
        return
    decals = [room.decals[number] for number in seen]
    pixels, counts = window_pixels([windows[number] for number in seen], *piece.shape)
    names = np.array([[decal.face, 6 + 2 * n, 7 + 2 * n] for decal, n in zip(decals, seen, strict=True)])
    face, frame, pane = np.repeat(names.astype(np.uint8).T, counts, axis=1)
    # In the flattened (3, H, W) points, the values of an axis start at `axis` times the number of pixels.
    shifts = np.array([FREE_AXES[decal.face // 2] for decal in decals]).T * piece.size
    u_pixel, v_pixel = np.repeat(shifts, counts, axis=1) + pixels
    flat_points = points.ravel()
    on_u, open_u = _decal_parts(flat_points[u_pixel], [_stretch(decal, 0) for decal in decals], counts)
    on_v, open_v = _decal_parts(flat_points[v_pixel], [_stretch(decal, 1) for decal in decals], counts)
    flat = piece.reshape(-1)
    inside = np.flatnonzero(on_u & on_v & (flat[pixels] == face))
    name = np.where((open_u & open_v)[inside], pane[inside], frame[inside])
    flat[pixels[inside]] = name


def _stretch(decal: Decal, axis: int) -> tuple[float, ...]:
    """Return, in one direction, the outer and inner ends, panes per metre, and a pane's part of a period."""
    low, high, count = decal.rect[axis], decal.rect[axis + 2], decal.panes[axis]
    pane_low, pane_high = low + decal.frame, high - decal.frame
    # Panes and bars repeat; each period is a pane and then a bar.
    period = (pane_high - pane_low + decal.bar) / count
    return low, high, pane_low, pane_high, 1 / period, 1 - decal.bar / period


def _decal_parts(along: Array, stretches: list[tuple[float, ...]], counts: Indices) -> tuple[Bools, Bools]:
    """Return which points lie on their decal, and which on its panes, along one direction."""
    rows = np.repeat(np.array(stretches, np.float32).T, counts, axis=1)
    low, high, pane_low, pane_high, per_metre, share = rows
    turns = (along - pane_low) * per_metre
    open_here: Bools = (along >= pane_low) & (along <= pane_high) & (turns - np.floor(turns) <= share)
    return (along > low) & (along < high), open_here
