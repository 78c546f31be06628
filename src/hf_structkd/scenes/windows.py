"""Which part of the image can show something: the bounds of a convex hull on the screen.

Work on a pixel window costs a fraction of work on the image, and needs no gathering of scattered pixels.
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

# A shadow of something as high as the lamp, less this, has no end on the floor.
_LAMP_MARGIN = 0.1


@dataclass(frozen=True)
class Windows:
    """Windows that can show each decal, each solid, and the shadows of each solid.

    `sunlit` is for decals: what the sun's rays that pass through each light up. Both lists of the sun's are
    empty in a room without it.
    """

    decals: list[Window]
    solids: list[Window]
    lamp_shadows: list[Window]
    sun_shadows: list[Window]
    sunlit: list[Window]


def focal_in_pixels(room: Room, height: int, width: int) -> float:
    """Focal length in pixels; the principal point is the image centre."""
    return room.focal * max(height, width) / 2


def find_windows(room: Room, height: int, width: int) -> Windows:
    """All windows of a room; in one go, as the arrays are so small that only the number of calls counts."""
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
    # What a light casts lies between the thing and its outline on the floor.
    hulls = np.concatenate([np.concatenate(starts, axis=1), np.concatenate(ends, axis=1)], axis=2)
    found = iter(screen_windows(room, hulls, height, width))
    parts = [list(islice(found, part.shape[1])) for part in ends] + [[]] * (5 - len(ends))
    for number in np.flatnonzero((drop < _LAMP_MARGIN).any(axis=1)):
        parts[2][number] = (slice(0, height), slice(0, width))
    return Windows(*parts)


def _solid_corners(room: Room) -> Array:
    """(3, n, 8) corners of a box around each solid."""
    *centre, half_x, half_y, half_z, cos, sin = room.shapes.astype(np.float64)[:, :, None]
    x, y, z = half_x * _CORNERS[0], half_y * _CORNERS[1], half_z * _CORNERS[2]
    # A ball or cylinder may be turned with its bounding box: the box holds it at any yaw.
    return np.stack([cos * x - sin * y + centre[0], sin * x + cos * y + centre[1], z + centre[2]])


def _decal_corners(room: Room) -> Array:
    """(3, n, 8) corners of each decal, each twice, to go with the eight of a solid."""
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
    """Rows and columns that can show any part of each of the (3, n, k) hulls; empty for one out of sight."""
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
    limit = 2 * centre * ahead.any(axis=1)  # nothing ahead: an empty window
    low = np.minimum(np.maximum(low * focal + centre, 0), limit).astype(int)
    high = np.minimum(np.maximum(high * focal + centre + 1, 0), limit).astype(int)
    spans = zip(*low.tolist(), *high.tolist(), strict=True)
    return [(slice(top, bottom), slice(left, right)) for left, top, right, bottom in spans]


def _cut_spans(view: Array, ahead: Bools) -> tuple[Array, Array]:
    """Bounds on the screen of hulls that reach behind the camera: of corners ahead and where they are cut.

    `view` is (3, n, k) corners to the right, down and ahead, of which `ahead` are in front of the camera.
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
    """Whether a window has any pixel."""
    rows, columns = window
    return bool(rows.stop > rows.start and columns.stop > columns.start)


@lru_cache(maxsize=8)
def pixel_numbers(height: int, width: int) -> tuple[Indices, NDArray[np.int32]]:
    """(height, width) numbers of the pixels, and (height * width,) column of each."""
    numbers = np.arange(height * width).reshape(height, width)
    columns = np.tile(np.arange(width, dtype=np.int32), height)
    numbers.flags.writeable = columns.flags.writeable = False  # the arrays are shared
    return numbers, columns


def window_pixels(windows: list[Window], height: int, width: int) -> tuple[Indices, Indices]:
    """Numbers of the pixels of all windows, one window after the other, and how many each has."""
    numbers, _ = pixel_numbers(height, width)
    parts = [numbers[window].ravel() for window in windows]
    return np.concatenate(parts), np.array([part.size for part in parts])
