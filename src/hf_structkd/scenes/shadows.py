"""Shadows of the lamp and the sun, each cast only in the window of the image that can show it."""

from __future__ import annotations

import numpy as np

from .raycast import column
from .rooms import LABEL, Array, Bools, Decal, Names, Room, Vector
from .spans import Batch, solid_batches
from .windows import FREE_AXES, Window, Windows, not_empty


def sees_lamp(room: Room, windows: list[Window], points: Array, piece: Names) -> Bools:
    """Return which of the (3, H, W) points the lamp reaches, for points on pieces that face it.

    `windows` are the windows of the solids' shadows. A solid is convex and never shades its own points that
    face the light, so that no bias is needed.
    """
    lit = np.ones(piece.shape, np.bool_)
    origin = column(room.lamp)
    rays = points.reshape(3, -1) - origin
    for batch in solid_batches(room, windows, *piece.shape):
        near, far = batch.spans(origin, rays.take(batch.pixels, axis=1))
        _darken(lit, piece, batch, (near < far) & (near < 1) & (far > 0))
    return lit


def _darken(lit: Bools, piece: Names, batch: Batch, met: Bools) -> None:
    """Set points to unlit if their ray met the solid of the batch, except the points of this solid."""
    codes = np.repeat(np.array(batch.codes, np.uint8), batch.counts)
    shaded = batch.pixels[met & (piece.ravel()[batch.pixels] != codes)]
    lit.reshape(-1)[shaded] = False


def sees_sun(room: Room, sun: Vector, windows: Windows, points: Array, piece: Names) -> Bools:
    """Return which of the (3, H, W) points see the sun through a window, with no solid in between.

    The result holds for points on pieces that face the sun.
    """
    lit = _behind_windows(room, sun, windows.sunlit, points)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not rows.size:
        return lit
    rays, flat = column(sun), points.reshape(3, -1)
    bounds = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    shadows = [_overlap(window, bounds) for window in windows.sun_shadows]
    for batch in solid_batches(room, shadows, *piece.shape):
        near, far = batch.spans(flat.take(batch.pixels, axis=1), rays)
        _darken(lit, piece, batch, (near < far) & (far > 0))
    return lit


def _behind_windows(room: Room, sun: Vector, windows: list[Window], points: Array) -> Bools:
    """Return which points see the sun in the room without its solids."""
    lit = np.zeros(points.shape[1:], np.bool_)
    for decal, window in zip(room.decals, windows, strict=True):
        if decal.label == LABEL["window"] and _faces_out(decal, sun) and not_empty(window):
            axis, side = divmod(decal.face, 2)
            u_axis, v_axis = FREE_AXES[axis]
            there = points[(slice(None), *window)]
            distance = (side * room.size[axis] - there[axis]) * (1 / sun[axis])
            u, v = there[u_axis] + distance * sun[u_axis], there[v_axis] + distance * sun[v_axis]
            u0, v0, u1, v1 = decal.rect
            lit[window] |= (u > u0) & (u < u1) & (v > v0) & (v < v1)
    return lit


def _faces_out(decal: Decal, sun: Vector) -> bool:
    axis, side = divmod(decal.face, 2)
    return sun[axis] > 0 if side else sun[axis] < 0


def _overlap(one: Window, other: Window) -> Window:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return rows, columns
