"""Windows, the parts of the image that can show a thing: the bounds of a convex hull on the screen.

Work on a window is much cheaper than work on the image, and needs no gathering of scattered pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from .rooms import Array, Bools, Indices, Room

Window = tuple[slice, slice]

FREE_AXES = ((1, 2), (0, 2), (0, 1))

_CORNERS = np.array(list(product((-1, 1), repeat=3))).T  # (3, 8)
_NEAR = 0.02

# The shadow of a thing that reaches the lamp's height, minus this margin, has no end on the floor.
_LAMP_MARGIN = 0.1


@dataclass(frozen=True)
class Windows:
    """The windows that can show each decal, each solid, and the shadows of each solid.

    `sunlit` are the windows of the areas that the sun lights up through each decal. `sun_shadows` and
    `sunlit` are empty in a room without sun.
    """

    decals: list[Window]
    solids: list[Window]
    lamp_shadows: list[Window]
    sun_shadows: list[Window]
    sunlit: list[Window]


def focal_in_pixels(room: Room, height: int, width: int) -> float:
    """Return the focal length in pixels; the principal point is the image centre."""
    return room.focal * max(height, width) / 2


def find_windows(room: Room, height: int, width: int) -> Windows:
    """Return all windows of a room, computed at once because calls on small arrays are slow."""
    solids, decals = _solid_corners(room), _decal_corners(room)
    lamp = np.array(room.lamp)[:, None, None]
    drop = lamp[2] - solids[2]
    shadows = lamp + (solids - lamp) * (lamp[2] / np.maximum(drop, _LAMP_MARGIN))
    ends = [decals, solids, shadows]
    starts = [decals, solids, solids]
    if room.sun is not None:
        slope = np.array(room.sun)[:, None, None] / room.sun[2]
        starts += [solids, decals]
        ends += [solids - slope * solids[2], decals - slope * decals[2]]
    # A shadow or a beam lies between the thing and its projection onto the floor.
    hulls = np.concatenate([np.concatenate(starts, axis=1), np.concatenate(ends, axis=1)], axis=2)
    found = iter(screen_windows(room, hulls, height, width))
    parts = [list(islice(found, part.shape[1])) for part in ends] + [[]] * (5 - len(ends))
    for number in np.flatnonzero((drop < _LAMP_MARGIN).any(axis=1)):
        parts[2][number] = (slice(0, height), slice(0, width))
    return Windows(*parts)


def _solid_corners(room: Room) -> Array:
    """Return the corners of a box around each solid, (3, n, 8)."""
    *centre, half_x, half_y, half_z, cos, sin = room.shapes.astype(np.float64)[:, :, None]
    x, y, z = half_x * _CORNERS[0], half_y * _CORNERS[1], half_z * _CORNERS[2]
    # The bounding box of a ball or cylinder may be turned, because it holds the solid at any yaw.
    return np.stack([cos * x - sin * y + centre[0], sin * x + cos * y + centre[1], z + centre[2]])


def _decal_corners(room: Room) -> Array:
    """Return the corners of each decal, (3, n, 8); each comes twice, because a solid has eight corners."""
    corners = []
    for decal in room.decals:
        axis, side = divmod(decal.face, 2)
        u_axis, v_axis = FREE_AXES[axis]
        u0, v0, u1, v1 = decal.rect
        rows = [(side * room.size[axis],) * 8] * 3
        rows[u_axis], rows[v_axis] = (u0, u1) * 4, (v0, v0, v1, v1) * 2
        corners.append(rows)
    return np.array(corners).reshape(-1, 3, 8).swapaxes(0, 1)


def screen_windows(room: Room, hulls: Array, height: int, width: int) -> list[Window]:
    """Return the rows and columns that can show a part of each (3, n, k) hull; empty if out of sight."""
    offset = hulls - np.array(room.camera)[:, None, None]
    axes = np.array(room.camera_axes)[:, :, None, None]
    view = axes[:, 0] * offset[0] + axes[:, 1] * offset[1] + axes[:, 2] * offset[2]
    ahead = view[2] > _NEAR
    on_screen = view[:2] / np.maximum(view[2], _NEAR)
    low, high = on_screen.min(axis=2), on_screen.max(axis=2)
    cut = np.flatnonzero(ahead.any(axis=1) & ~ahead.all(axis=1))
    if cut.size:
        low[:, cut], high[:, cut] = _cut_spans(view[:, cut], ahead[cut])
    centre, focal = np.array([[width / 2], [height / 2]]), focal_in_pixels(room, height, width)
    limit = 2 * centre * ahead.any(axis=1)  # a hull behind the camera has an empty window
    low = np.minimum(np.maximum(low * focal + centre, 0), limit).astype(int)
    high = np.minimum(np.maximum(high * focal + centre + 1, 0), limit).astype(int)
    spans = zip(*low.tolist(), *high.tolist(), strict=True)
    return [(slice(top, bottom), slice(left, right)) for left, top, right, bottom in spans]


def _cut_spans(view: Array, ahead: Bools) -> tuple[Array, Array]:
    """Return the bounds on the screen of hulls that reach behind the camera.

    The bounds are those of the corners ahead and of the points where edges cross the near plane. `view` are
    the (3, n, k) corners in camera axes, and `ahead` tells which of them are in front of the camera.
    """
    front, back = view[:, :, :, None], view[:, :, None, :]
    crosses = ahead[:, :, None] & ~ahead[:, None, :]
    share = (_NEAR - back[2]) / np.where(crosses, front[2] - back[2], 1)
    cut = (back[:2] + share * (front[:2] - back[:2])) / _NEAR
    points = np.concatenate([cut, view[:2, :, :, None] / np.where(ahead, view[2], 1)[:, :, None]], axis=3)
    seen = np.concatenate([crosses, ahead[:, :, None]], axis=2)
    low = np.where(seen, points, np.inf).min(axis=(2, 3))
    return low, np.where(seen, points, -np.inf).max(axis=(2, 3))


def not_empty(window: Window) -> bool:
    """Tell whether a window has any pixel."""
    rows, columns = window
    return bool(rows.stop > rows.start and columns.stop > columns.start)


@lru_cache(maxsize=8)
def pixel_numbers(height: int, width: int) -> tuple[Indices, NDArray[np.int32]]:
    """Return the numbers of the pixels, (height, width), and the column of each, (height * width,)."""
    numbers = np.arange(height * width).reshape(height, width)
    columns = np.tile(np.arange(width, dtype=np.int32), height)
    numbers.flags.writeable = columns.flags.writeable = False  # the arrays are shared
    return numbers, columns


def window_pixels(windows: list[Window], height: int, width: int) -> tuple[Indices, Indices]:
    """Return the pixel numbers of all windows, one window after the other, and the count of each."""
    numbers, _ = pixel_numbers(height, width)
    parts = [numbers[window].ravel() for window in windows]
    return np.concatenate(parts), np.array([part.size for part in parts])
