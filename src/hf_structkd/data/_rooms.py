"""A room as data: size, solids, decals, materials, camera and lights, before any pixel exists.

World axes are metres: x to the right, y away from the camera's wall, z up; the room is the box from the
origin to `Room.size`. Its six faces are numbered ``2 * axis + side``, so 4 is the floor and 5 the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CLASS_NAMES = (
    "floor",
    "wall",
    "ceiling",
    "rug",
    "window",
    "door",
    "picture",
    "table",
    "lamp",
    "box",
    "ball",
    "cylinder",
)
LABEL = {name: index for index, name in enumerate(CLASS_NAMES)}
FLOOR_FACE, CEILING_FACE = 4, 5

Vector = tuple[float, float, float]
TextureKind = Literal["plain", "marble", "stripes", "checker", "planks", "bricks", "dots", "view"]
SolidKind = Literal["box", "ball", "cylinder"]


@dataclass(frozen=True)
class Material:
    """A texture of two linear RGB colours; `scale` is its period in metres, `angle` turns it in its plane."""

    kind: TextureKind
    scale: float
    colour_a: Vector
    colour_b: Vector
    angle: float
    offset: float
    emission: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A convex solid: a box turned by `yaw`, a ball of radius ``half[0]``, or an upright capped cylinder."""

    kind: SolidKind
    centre: Vector
    half: Vector
    yaw: float
    label: int
    instance: int
    material: int


@dataclass(frozen=True)
class Decal:
    """A framed rectangle flush with a face: `rect` is (u0, v0, u1, v1) metres in the face's two free axes.

    Inside a border `frame` wide lie `panes` (columns, rows) of `pane_material`, parted by bars `bar` wide.
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
    """One scene. `camera_axes` are right, down, forward; `focal` is in halves of the longer image side."""

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
