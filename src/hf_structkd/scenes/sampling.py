"""Drawing random rooms: objects, materials, camera and lights."""

from __future__ import annotations

import math
import random
from itertools import product

from .raycast import look_at
from .rooms import FLOOR_FACE, LABEL, Decal, Material, Room, Solid, SolidKind, TextureKind, Vector

# Every class uses the same palette (sRGB) and textures, so that a colour alone does not reveal a class.
_PALETTE = (
    (236, 231, 220), (214, 205, 190), (189, 194, 198), (120, 124, 130), (62, 64, 70), (244, 242, 238),
    (181, 136, 92), (140, 94, 58), (98, 64, 42), (206, 172, 128), (158, 66, 52), (196, 98, 66),
    (222, 176, 84), (128, 146, 92), (74, 104, 80), (92, 138, 150), (66, 92, 134), (128, 164, 200),
    (142, 108, 148), (206, 150, 152),
)  # fmt: skip
_TEXTURES: tuple[TextureKind, ...] = ("plain", "marble", "stripes", "checker", "planks", "bricks", "dots")
_SKIES = ((150, 190, 235), (210, 222, 235), (240, 190, 140), (110, 150, 215))
_GROUNDS = ((84, 116, 60), (120, 112, 96), (70, 90, 100), (150, 130, 90))


def sample_room(rng: random.Random) -> Room:
    """Draw one room with `rng.random()` alone, whose numbers Python promises to keep the same."""
    return _Builder(rng).build()


class _Builder:
    """Drawing of a room's parts in a fixed order, so that a seed always gives the same room."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        size = (self._between(3.4, 6.0), self._between(3.8, 6.5), self._between(2.4, 3.0))
        self.room = self._empty_room(size)
        # Discs (x, y, radius) of floor that are occupied; the first keeps furniture away from the camera.
        self._taken = [(self.room.camera[0], self.room.camera[1], 0.9)]

    def build(self) -> Room:
        paint = self._material(pale=0.6)
        self.room.face_materials = [
            *(paint if self._chance(0.75) else self._material() for _ in range(4)),
            self._material(pale=0.2),
            self._material(pale=0.8),
        ]
        for face in range(4):
            self._furnish_wall(face)
        if self._chance(0.65):
            self._add_rug()
        for _ in range(self._count(0, 2)):
            self._add_table()
        if self._chance(0.6):
            self._add_lamp()
        for _ in range(self._count(2, 6)):
            self._add_loose_solid()
        windows = [decal for decal in self.room.decals if decal.label == LABEL["window"]]
        if windows and self._chance(0.7):
            self._add_sun(windows[int(self._random() * len(windows))].face)
        return self.room

    # -- draws ------------------------------------------------------------------------------------------

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def _chance(self, probability: float) -> bool:
        return self._random() < probability

    def _count(self, low: int, high: int) -> int:
        return low + int((high - low + 1) * self._random())

    def _colour(self, palette: tuple[tuple[int, int, int], ...] = _PALETTE, pale: float = 0.0) -> Vector:
        colour = palette[int(self._random() * len(palette))]
        gain = self._between(0.8, 1.1) / 255
        white = self._between(0.4, 0.8) if self._chance(pale) else 0.0
        lift, gain = white * 0.93, (1 - white) * gain
        rgb = (min(1.0, c * gain * (0.93 + 0.14 * self._random()) + lift) for c in colour)
        red, green, blue = (c * c for c in rgb)  # linear light, because the renderer's gamma is 2
        return red, green, blue

    def _material(self, pale: float = 0.0, fine: float = 1.0, emission: float = 0.0) -> int:
        kind = _TEXTURES[int(self._random() * len(_TEXTURES))]
        colour_a, colour_b = self._colour(pale=pale), self._colour(pale=pale)
        # Neighbouring colours in a room seldom differ much, so the second is moved towards the first.
        pull = self._between(0.0, 0.75)
        red, green, blue = (b + pull * (a - b) for a, b in zip(colour_a, colour_b, strict=True))
        angle = 0.0 if self._chance(0.5) else math.pi / 2
        scale = self._between(0.25, 0.7) * fine
        offset = self._between(0, 50)
        return self._keep(Material(kind, scale, colour_a, (red, green, blue), angle, offset, emission))

    def _view(self, height: float, emission: float) -> int:
        """Draw a view of sky above ground, for windows and some pictures."""
        sky, ground = self._colour(_SKIES), self._colour(_GROUNDS)
        return self._keep(Material("view", height, sky, ground, 0.0, self._between(0, 50), emission))

    def _keep(self, material: Material) -> int:
        self.room.materials.append(material)
        return len(self.room.materials) - 1

    def _instance(self, name: str) -> tuple[int, int]:
        """Return the class and the number of a new object; a part of the room has the number 0."""
        if LABEL[name] <= LABEL["ceiling"]:
            return LABEL[name], 0
        self.room.instance_labels.append(LABEL[name])
        return LABEL[name], len(self.room.instance_labels)

    # -- the empty room ---------------------------------------------------------------------------------

    def _empty_room(self, size: Vector) -> Room:
        width, depth, height = size
        draw = self._between
        camera = (width * draw(0.15, 0.85), depth * draw(0.05, 0.22), draw(1.1, 1.9))
        target = (width * draw(0.2, 0.8), depth * draw(0.65, 0.95), draw(0.3, 1.35))
        warm, power, shade = draw(-0.12, 0.25), draw(1.8, 4.5), draw(0.25, 0.5)
        return Room(
            size=size,
            camera=camera,
            camera_axes=look_at(camera, target, roll=draw(-0.06, 0.06)),
            focal=1 / math.tan(math.radians(draw(62, 84)) / 2),
            lamp=(width * draw(0.2, 0.8), depth * draw(0.2, 0.8), height - draw(0.12, 0.4)),
            lamp_colour=(power * (1 + warm), power, power * (1 - warm)),
            ambient=(shade * (1 - warm / 2), shade, shade * (1 + warm / 2)),
            brightness=draw(0.26, 0.45),
        )

    def _furnish_wall(self, face: int) -> None:
        """Place things along the wall with gaps between them, so that they do not overlap."""
        length = self.room.size[1] if face < 2 else self.room.size[0]
        along = self._between(0.15, 0.9)
        while along < length - 0.5:
            room_left = length - along - 0.1
            choice = self._random()
            if choice < 0.36:
                along += self._add_window(face, along, room_left)
            elif choice < 0.52:
                along += self._add_door(face, along, room_left)
            elif choice < 0.9:
                along += self._add_picture(face, along, room_left)
            along += self._between(0.2, 1.0)

    def _add_window(self, face: int, along: float, space: float) -> float:
        width = min(self._between(0.7, 1.7), space)
        low, high = self._between(0.7, 1.1), self._between(1.85, 2.2)
        rect = (along, low, along + width, high)
        frame, view = self._material(pale=0.5), self._view(high - low, emission=self._between(0.8, 1.8))
        panes = (1 + int(width > 0.9) + int(width > 1.4), self._count(1, 2))
        self._hang("window", face, rect, (self._between(0.04, 0.08), 0.04), panes, frame, view)
        return width

    def _add_door(self, face: int, along: float, space: float) -> float:
        width = self._between(0.75, 0.95)
        if width > space:
            return 0.0
        rect = (along, 0.0, along + width, self._between(1.95, 2.1))
        frame, pane = self._material(fine=0.4), self._material(fine=0.4)
        self._hang("door", face, rect, (0.11, 0.1), (self._count(1, 2), self._count(1, 3)), frame, pane)
        return width

    def _add_picture(self, face: int, along: float, space: float) -> float:
        width, height = min(self._between(0.35, 1.1), space), self._between(0.35, 0.9)
        low = self._between(1.45, 1.7) - height / 2
        art = self._view(height, emission=0.0) if self._chance(0.4) else self._material(fine=0.5)
        rect = (along, low, along + width, low + height)
        self._hang("picture", face, rect, (self._between(0.03, 0.07), 0.0), (1, 1), self._material(), art)
        return width

    def _add_rug(self) -> None:
        width, depth, _ = self.room.size
        half_x, half_y = self._between(0.6, width * 0.3), self._between(0.5, depth * 0.22)
        x, y = self._between(half_x + 0.1, width - half_x - 0.1), depth * self._between(0.4, 0.75)
        rect = (x - half_x, y - half_y, x + half_x, min(y + half_y, depth - 0.1))
        border = self._between(0.03, 0.15)
        edge, middle = self._material(), self._material(fine=0.7)
        self._hang("floor", FLOOR_FACE, rect, (border, 0.0), (1, 1), edge, middle)

    def _hang(
        self,
        name: str,
        face: int,
        rect: tuple[float, float, float, float],
        border: tuple[float, float],
        panes: tuple[int, int],
        frame_material: int,
        pane_material: int,
    ) -> None:
        label, instance = self._instance(name)
        self.room.decals.append(
            Decal(face, rect, label, instance, *border, panes, frame_material, pane_material)
        )

    # -- furniture --------------------------------------------------------------------------------------

    def _spot(self, radius: float) -> tuple[float, float] | None:
        """Occupy a free disc of floor in front of the camera; return None if a few tries find none."""
        camera, forward = self.room.camera, self.room.camera_axes[2]
        heading = math.atan2(forward[0], forward[1])
        width, depth, _ = self.room.size
        for _ in range(12):
            angle, distance = heading + self._between(-0.6, 0.6), self._between(1.3, 5.0)
            x, y = camera[0] + distance * math.sin(angle), camera[1] + distance * math.cos(angle)
            inside = radius < x < width - radius and radius < y < depth - radius
            if inside and all(math.hypot(x - a, y - b) > radius + r for a, b, r in self._taken):
                self._taken.append((x, y, radius))
                return x, y
        return None

    def _add_table(self) -> None:
        half_x, half_y, top = self._between(0.35, 0.8), self._between(0.25, 0.5), self._between(0.45, 0.85)
        spot = self._spot(math.hypot(half_x, half_y))
        if spot is None:
            return
        yaw = self._between(-0.6, 0.6)
        tag = (*self._instance("table"), self._material(fine=0.6))
        thick, leg = self._between(0.03, 0.06), self._between(0.02, 0.035)
        self._solid("box", (*spot, top - thick / 2), (half_x, half_y, thick / 2), yaw, tag)
        for side_x, side_y in product((-1, 1), repeat=2):
            x, y = _turn(spot, side_x * (half_x - leg - 0.02), side_y * (half_y - leg - 0.02), yaw)
            self._solid("box", (x, y, (top - thick) / 2), (leg, leg, (top - thick) / 2), yaw, tag)
        slots = self._count(0, 3)
        for slot in range(slots):
            along, across = half_x * ((2 * slot + 1) / slots - 1) * 0.8, self._between(-0.4, 0.4) * half_y
            x, y = _turn(spot, along, across, yaw)
            self._add_item(x, y, top, self._between(0.06, min(0.16, half_x * 0.8 / slots)))

    def _add_lamp(self) -> None:
        spot = self._spot(0.25)
        if spot is None:
            return
        height, shade, reach = self._between(1.1, 1.7), self._between(0.12, 0.2), self._between(0.1, 0.2)
        stem = (*self._instance("lamp"), self._material(fine=0.3))
        glow = self._between(0.4, 1.2) if self._chance(0.5) else 0.0
        head = (*stem[:2], self._material(pale=0.5, fine=0.3, emission=glow))
        pole = self._between(0.012, 0.025)
        self._solid("cylinder", (*spot, 0.015), (reach, reach, 0.015), 0.0, stem)
        self._solid("cylinder", (*spot, 0.03 + height / 2), (pole, pole, height / 2), 0.0, stem)
        kind: SolidKind = "ball" if self._chance(0.5) else "cylinder"
        lift = shade if kind == "ball" else shade * 0.8
        self._solid(kind, (*spot, 0.03 + height + lift), (shade, shade, lift), 0.0, head)

    def _add_loose_solid(self) -> None:
        size = self._between(0.12, 0.45)
        spot = self._spot(size * 1.2)
        if spot is not None:
            self._add_item(*spot, 0.0, size)

    def _add_item(self, x: float, y: float, floor: float, size: float) -> None:
        """Add a box, ball or cylinder at height `floor` that extends about `size` from its axis."""
        choice, tall = self._random(), self._between(0.5, 1.9)
        kind: SolidKind = "box" if choice < 0.4 else "ball" if choice < 0.7 else "cylinder"
        half = (size, size, size)
        if kind == "box":
            half = (size * self._between(0.6, 0.95), size * self._between(0.5, 0.75), min(size * tall, 0.9))
        elif kind == "cylinder":
            radius = size * self._between(0.45, 0.9)
            half = (radius, radius, min(size * tall, 0.9))
        tag = (*self._instance("solid"), self._material(fine=min(1.0, size * 1.6)))
        self._solid(kind, (x, y, floor + half[2]), half, self._between(-1.5, 1.5), tag)

    def _solid(
        self, kind: SolidKind, centre: Vector, half: Vector, yaw: float, tag: tuple[int, int, int]
    ) -> None:
        self.room.solids.append(Solid(kind, centre, half, yaw, *tag))

    def _add_sun(self, face: int) -> None:
        """Add a sun that shines in through the windows of `face`."""
        outward = (math.pi if face == 0 else 0.0) if face < 2 else (-1 if face == 2 else 1) * math.pi / 2
        azimuth, elevation = outward + self._between(-0.9, 0.9), self._between(0.35, 0.9)
        flat = math.cos(elevation)
        self.room.sun = (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))


def _turn(centre: tuple[float, float], dx: float, dy: float, yaw: float) -> tuple[float, float]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return centre[0] + cos * dx - sin * dy, centre[1] + sin * dx + cos * dy
