"""Small 3-D rooms, ray-cast from a seed: a scene has an image, class labels, metric depth and boxes.

Floors, walls and ceilings are textured and carry windows, doors, pictures and rugs. The rooms contain tables,
lamps, and the solids: boxes, balls and cylinders, which are one class. A rug is a part of the floor. A lamp
and sometimes the sun give light and cast shadows. Every class uses the same colours and textures, so that
shape and place reveal a class, and colour does not.

The scenes need no download and no file on disk.
"""

from __future__ import annotations

import io
import operator
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from numpy.typing import NDArray
from PIL import Image as PILImage
from tqdm.auto import tqdm

from .raycast import camera_rays, cast_camera_rays, hit_points
from .rooms import CLASS_NAMES, Room
from .sampling import sample_room
from .shading import Surface, expose, locate, shade
from .windows import find_windows, focal_in_pixels, pixel_numbers

__all__ = [
    "CLASS_NAMES",
    "DEPTH_SCALE",
    "OBJECT_CLASS_NAMES",
    "VALIDATION_OFFSET",
    "Scene",
    "load_scenes",
    "render_scene",
    "render_scenes",
]

OBJECT_CLASS_NAMES = CLASS_NAMES[3:]
"""The classes whose objects get boxes: all except floor, wall and ceiling."""

DEPTH_SCALE = 1000
"""Units of the `depth` column per metre; the column holds millimetres."""

VALIDATION_OFFSET = 1_000_000_000
"""Index of the first validation scene; the first training scene has index 0."""

MIN_SIDE = 8
_PIXELS_OF_A_BOX = (8, 1 / 192)  # at least so many, and such a share of the image
_BAR_FROM = 200  # scenes


@dataclass(frozen=True)
class Scene:
    """One rendered scene; H and W are the image's height and width.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        label: (H, W) uint8, indices into `CLASS_NAMES`. Every pixel has a class; no label is ignored.
        depth: (H, W) float32, above 0, in metres along the optical axis (z-depth, not the distance from the
            camera's centre). A pixel in column x and row y back-projects to
            ``((x + 0.5 - W / 2) / f, (y + 0.5 - H / 2) / f, 1) * depth`` with f = `focal_length`, in camera
            axes right, down, forward.
        instance: (H, W) uint8, 0 for floor, wall and ceiling, else the number of the visible object.
        objects: A dict of arrays with one row for each object of which at least 8 pixels are visible, and at
            least a share of 1 in 192 of the image's (64 of 96 x 128).
            ``bbox`` (n, 4) float32 is the box of the visible pixels as COCO x, y, width, height in pixels;
            ``category`` (n,) int64 holds indices into `OBJECT_CLASS_NAMES`; ``area`` (n,) int64 is the number
            of visible pixels; ``id`` (n,) int64 is the object's number in `instance`.
        focal_length: The focal length in pixels; the principal point is the image centre.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.uint8]
    objects: dict[str, NDArray[Any]]
    focal_length: float


def render_scene(index: int, *, seed: int = 0, height: int = 96, width: int = 128) -> Scene:
    """Render scene `index` of `seed`.

    The result depends only on the arguments, and not on earlier scenes or a global generator. Another size
    shows the same room from the same place with different sensor noise.

    Args:
        index: The number of the scene, 0 or above.
        seed: The number of the family of scenes, 0 or above.
        height: Rows of the image, 8 or above.
        width: Columns of the image, 8 or above.

    Returns:
        The scene; see `Scene` for shapes and units.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: If `index` or `seed` is negative, or `height` or `width` is below 8.

    Example:
        >>> scene = render_scene(7, seed=1)
        >>> scene.image.shape, scene.label.shape, scene.depth.dtype
        ((96, 128, 3), (96, 128), dtype('float32'))
    """
    return next(render_scenes([index], seed=seed, height=height, width=width))


def render_scenes(
    indices: Iterable[int], *, seed: int = 0, height: int = 96, width: int = 128
) -> Iterator[Scene]:
    """Render many scenes; each is rendered when the iterator needs it, and equals `render_scene` bit for bit.

    `render_scene` explains the arguments and the errors.
    """
    seed = _checked_int("seed", seed, 0)
    height, width = _checked_int("height", height, MIN_SIDE), _checked_int("width", width, MIN_SIDE)
    return (_render(_checked_int("index", index, 0), seed, height, width) for index in indices)


def load_scenes(
    *, num_train: int = 1000, num_validation: int = 200, seed: int = 0, height: int = 96, width: int = 128
) -> DatasetDict:
    """Render scenes into a `datasets.DatasetDict` with the splits ``train`` and ``validation``.

    Training example i is scene i of `seed`, and validation example i is scene ``VALIDATION_OFFSET + i``. The
    splits share no scene, and a split does not change when the other grows.

    The columns follow the conventions of real datasets:

    - ``image``: `datasets.Image`, RGB.
    - ``label``: `datasets.Image` of mode L whose grey values are indices into `CLASS_NAMES`.
    - ``depth``: `datasets.Image` of mode I;16 in millimetres (rounding error at most 0.5 mm); divide by
      `DEPTH_SCALE` for metres.
    - ``objects``: ``bbox`` (COCO x, y, width, height, pixels), ``category`` (`ClassLabel` over
      `OBJECT_CLASS_NAMES`), ``area`` (visible pixels) and ``id`` (number of the object in its scene).

    The tables are in memory as PNG bytes, about 30 kB per scene at 96 x 128; no cache file is written.

    Args:
        num_train: The number of scenes in the split ``train``, from 0 to `VALIDATION_OFFSET`.
        num_validation: The number of scenes in the split ``validation``, from 0 to `VALIDATION_OFFSET`.
        seed: As in `render_scene`, like `height` and `width`.
        height: Rows of each image.
        width: Columns of each image.

    Returns:
        The two splits. The same arguments give the same bytes.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: If an argument is out of range.
    """
    ranges = {
        "train": (0, _checked_int("num_train", num_train, 0)),
        "validation": (VALIDATION_OFFSET, _checked_int("num_validation", num_validation, 0)),
    }
    splits = {}
    for split, (start, count) in ranges.items():
        if count > VALIDATION_OFFSET:
            raise ValueError(f"`num_{split}` must be at most {VALIDATION_OFFSET}, got {count}.")
        scenes = render_scenes(range(start, start + count), seed=seed, height=height, width=width)
        # Only a long rendering needs a progress bar.
        scenes = tqdm(scenes, f"rendering {split} scenes", total=count, disable=count < _BAR_FROM)
        splits[split] = _to_dataset(scenes, split)
    return DatasetDict(splits)


def _checked_int(name: str, value: object, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"`{name}` must be an integer, got {type(value).__name__} ({value!r}).")
    number = operator.index(value)
    if number < lowest:
        raise ValueError(f"`{name}` must be at least {lowest}, got {number}.")
    return number


def _generator(index: int, seed: int) -> random.Random:
    # Python hashes a text seed, so that neighbouring scenes have unrelated random numbers.
    return random.Random(f"{seed}/{index}")


def _render(index: int, seed: int, height: int, width: int) -> Scene:
    rng = _generator(index, seed)
    room = sample_room(rng)
    rays = camera_rays(room, height, width)
    windows = find_windows(room, height, width)
    hits = cast_camera_rays(room, rays, windows)
    points = hit_points(room, rays, hits.depth)
    surface = locate(room, hits, points)
    focal = focal_in_pixels(room, height, width)
    light = shade(room, windows, hits, points, surface, 1 / focal)
    labels, instances = room.piece_names
    piece = hits.piece.astype(np.intp)
    return Scene(
        image=expose(room, light, height, width, rng),
        label=labels[piece],
        depth=hits.depth,
        instance=instances[piece],
        objects=_objects(room, surface, height, width),
        focal_length=focal,
    )


def _objects(room: Room, surface: Surface, height: int, width: int) -> dict[str, NDArray[Any]]:
    """Return the boxes around the visible pixels of each object, as `Scene.objects` describes."""
    order, counts = surface.order, np.array(surface.counts)
    starts = np.cumsum(counts) - counts
    columns = pixel_numbers(height, width)[1][order]
    # The pixels of a piece are ascending, so that its first is in its top row and its last in its bottom row.
    low = np.stack([np.minimum.reduceat(columns, starts), order[starts] // width], axis=1)
    high = np.stack([np.maximum.reduceat(columns, starts), order[starts + counts - 1] // width], axis=1) + 1
    numbers = room.piece_names[1, surface.pieces]
    size = len(room.instance_labels) + 1
    area = np.bincount(numbers, counts, minlength=size)
    corners, ends = np.full((size, 2), max(height, width)), np.zeros((size, 2), int)
    np.minimum.at(corners, numbers, low)
    np.maximum.at(ends, numbers, high)
    lowest, share = _PIXELS_OF_A_BOX
    ids = np.flatnonzero(area >= max(lowest, share * height * width))
    ids = ids[ids > 0]
    stuff = len(CLASS_NAMES) - len(OBJECT_CLASS_NAMES)
    return {
        "bbox": np.concatenate([corners, ends - corners], axis=1)[ids].astype(np.float32),
        "category": np.array([room.instance_labels[number - 1] - stuff for number in ids], np.int64),
        "area": area[ids].astype(np.int64),
        "id": ids.astype(np.int64),
    }


def _features() -> Features:
    objects = {
        "bbox": List(List(Value("float32"), length=4)),
        "category": List(ClassLabel(names=list(OBJECT_CLASS_NAMES))),
        "area": List(Value("int64")),
        "id": List(Value("int64")),
    }
    return Features({"image": Image(), "label": Image(), "depth": Image(), "objects": objects})


def _to_dataset(scenes: Iterable[Scene], split: str) -> Dataset:
    columns: dict[str, list[Any]] = {"image": [], "label": [], "depth": [], "objects": []}
    for scene in scenes:
        columns["image"].append(_png(scene.image))
        columns["label"].append(_png(scene.label))
        columns["depth"].append(_png(np.rint(scene.depth * DEPTH_SCALE).astype(np.uint16)))
        columns["objects"].append({name: values.tolist() for name, values in scene.objects.items()})
    return Dataset.from_dict(columns, features=_features(), split=split)


def _png(pixels: NDArray[Any]) -> dict[str, Any]:
    """Encode without loss, at the lightest level; higher ones take longer than the rendering."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}
