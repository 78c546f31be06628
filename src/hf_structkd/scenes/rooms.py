"""A room as data: size, solids, decals, materials, camera and lights.

World axes are in metres: x points right, y away from the camera's wall, and z up. The room is the box from
the origin to `Room.size`. Its six faces are numbered ``2 * axis + side``; 4 is the floor and 5 the ceiling.

A scene has about fifty parts. They are named tuples, because a frozen dataclass takes four times as long to
create.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("floor", "wall", "ceiling", "window", "door", "picture", "table", "lamp", "solid")
LABEL = {name: index for index, name in enumerate(CLASS_NAMES)}
FLOOR_FACE = 4

Array = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Names = NDArray[np.uint8]
Indices = NDArray[np.intp]
Vector = tuple[float, float, float]
TextureKind = Literal["plain", "marble", "stripes", "checker", "planks", "bricks", "dots", "view"]
SolidKind = Literal["box", "ball", "cylinder"]


class Material(NamedTuple):
    """A texture of two linear RGB colours, with period `scale` in metres, turned by `angle` in its plane."""

    kind: TextureKind
    scale: float
    colour_a: Vector
    colour_b: Vector
    angle: float
    offset: float
    emission: float = 0.0


class Solid(NamedTuple):
    """A convex solid: a box turned by `yaw`, a ball of radius ``half[0]``, or an upright cylinder."""

    kind: SolidKind
    centre: Vector
    half: Vector
    yaw: float
    label: int
    instance: int
    material: int


class Decal(NamedTuple):
    """A framed rectangle on a face; `rect` is (u0, v0, u1, v1) in metres along the face's two free axes.

    The border is `frame` wide. Inside it are `panes` (columns, rows) of `pane_material`, between bars that
    are `bar` wide.
    """

    face: int
    rect: tuple[float, float, float, float]
    label: int
    instance: int
    frame: float
    bar: float
    panes: tuple[int, int]
    frame_material: int
    pane_material: int


@dataclass
class Room:
    """One scene. `camera_axes` are right, down, forward; the unit of `focal` is half the longer image side.

    The things that a pixel can see are numbered as pieces: first the six faces, then the frame and the panes
    of each decal, then the solids. Do not add to a room after a cached property has been read.
    """

    size: Vector
    camera: Vector
    camera_axes: tuple[Vector, Vector, Vector]
    focal: float
    lamp: Vector
    lamp_colour: Vector
    ambient: Vector
    brightness: float
    sun: Vector | None = None
    solids: list[Solid] = field(default_factory=list)
    decals: list[Decal] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    face_materials: list[int] = field(default_factory=list)
    instance_labels: list[int] = field(default_factory=list)

    @property
    def first_solid_piece(self) -> int:
        """Return the number of the first solid's piece; the faces and the decals have lower numbers."""
        return 6 + 2 * len(self.decals)

    @cached_property
    def shapes(self) -> Array:
        """Return each solid's centre, half sizes, and cosine and sine of the yaw, (8, solids) float32."""
        rows = [(*s.centre, *s.half, math.cos(s.yaw), math.sin(s.yaw)) for s in self.solids]
        return np.array(rows, np.float32).reshape(-1, 8).T.copy()

    def piece_materials(self) -> list[int]:
        """Return the index into `materials` of each piece."""
        hung = [material for decal in self.decals for material in (decal.frame_material, decal.pane_material)]
        return [*self.face_materials, *hung, *(solid.material for solid in self.solids)]

    @cached_property
    def piece_names(self) -> Names:
        """Return the class and the instance of each piece, (2, pieces)."""
        things: list[Decal | Solid] = [*(decal for decal in self.decals for _ in range(2)), *self.solids]
        faces = [LABEL["wall"]] * 4 + [LABEL["floor"], LABEL["ceiling"]]
        labels = faces + [thing.label for thing in things]
        return np.array([labels, [0] * 6 + [thing.instance for thing in things]], np.uint8)
