from __future__ import annotations

import math

import numpy as np
import pytest
from datasets import ClassLabel, Image

from hf_structkd.scenes.raycast import Hits, camera_rays, cast_camera_rays, hit_points
from hf_structkd.scenes.rooms import Room, Solid
from hf_structkd.scenes.sampling import sample_room
from hf_structkd.scenes.scenes import (
    CLASS_NAMES,
    DEPTH_SCALE,
    OBJECT_CLASS_NAMES,
    VALIDATION_OFFSET,
    Scene,
    _generator,
    load_scenes,
    render_scene,
    render_scenes,
)
from hf_structkd.scenes.shading import Surface, locate
from hf_structkd.scenes.shadows import sees_lamp, sees_sun
from hf_structkd.scenes.windows import Windows, find_windows

FLOOR, WALL, CEILING = (CLASS_NAMES.index(name) for name in ("floor", "wall", "ceiling"))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(render_scenes(range(250), seed=3, height=48, width=64))


@pytest.fixture(scope="module")
def splits():
    return load_scenes(num_train=4, num_validation=3, seed=5, height=30, width=41)


def assert_same(one: Scene, other: Scene) -> None:
    for name in ("image", "label", "depth", "instance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.objects.keys() == other.objects.keys()
    for name, values in one.objects.items():
        np.testing.assert_array_equal(values, other.objects[name])
    assert one.focal_length == other.focal_length


# -- the oracle: one ray at a time, in float64, by other formulas than the library's ---------------------


def meets_box(solid: Solid, start: np.ndarray, ray: np.ndarray) -> list[float]:
    """Crossing of each of the six faces' planes that lies within that face."""
    cos, sin = math.cos(solid.yaw), math.sin(solid.yaw)
    sides = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    found = []
    for axis in range(3):
        for sign in (-1, 1):
            on_plane = np.array(solid.centre) + sign * solid.half[axis] * sides[axis]
            t = (on_plane - start) @ sides[axis] / (ray @ sides[axis])
            local = np.abs(sides @ (start + t * ray - solid.centre))
            if all(local[other] <= solid.half[other] for other in range(3) if other != axis):
                found.append(t)
    return found


def roots(a: float, b: float, c: float) -> list[float]:
    inside = b * b - 4 * a * c
    return [] if inside < 0 else [(-b + sign * math.sqrt(inside)) / (2 * a) for sign in (-1, 1)]


def meets_ball(solid: Solid, start: np.ndarray, ray: np.ndarray) -> list[float]:
    offset = start - solid.centre
    return roots(ray @ ray, 2 * ray @ offset, offset @ offset - solid.half[0] ** 2)


def meets_cylinder(solid: Solid, start: np.ndarray, ray: np.ndarray) -> list[float]:
    offset = start - solid.centre
    radius, half = solid.half[0], solid.half[2]
    found = [
        t
        for t in roots(ray[:2] @ ray[:2], 2 * ray[:2] @ offset[:2], offset[:2] @ offset[:2] - radius**2)
        if abs(offset[2] + t * ray[2]) <= half
    ]
    for cap in (-half, half):
        t = (cap - offset[2]) / ray[2]
        if np.hypot(*(offset + t * ray)[:2]) <= radius:
            found.append(t)
    return found


def crossings(solid: Solid, start: np.ndarray, ray: np.ndarray) -> list[float]:
    return {"box": meets_box, "ball": meets_ball, "cylinder": meets_cylinder}[solid.kind](solid, start, ray)


def first_hit(room: Room, start: np.ndarray, ray: np.ndarray) -> tuple[float, int, int]:
    """Depth, class and instance that a ray from inside the room meets first."""
    best, label, instance = math.inf, -1, -1
    for axis in range(3):
        for side in (0, 1):
            t = (side * room.size[axis] - start[axis]) / ray[axis]
            if 0 < t < best:
                best, face = t, 2 * axis + side
    label, instance = (FLOOR if face == 4 else CEILING if face == 5 else WALL), 0
    u, v = np.delete(start + best * ray, face // 2)
    for decal in room.decals:
        if decal.face == face and decal.rect[0] < u < decal.rect[2] and decal.rect[1] < v < decal.rect[3]:
            label, instance = decal.label, decal.instance
    for solid in room.solids:
        for t in crossings(solid, start, ray):
            if 0 < t < best:
                best, label, instance = t, solid.label, solid.instance
    return best, label, instance


@pytest.mark.parametrize("index", range(4))
def test_label_instance_and_depth_equal_a_naive_ray_cast(index):
    height, width = 23, 31
    scene = render_scene(index, seed=11, height=height, width=width)
    room = sample_room(_generator(index, 11))
    right, down, forward = (np.array(axis) for axis in room.camera_axes)
    wrong = 0
    for y in range(height):
        for x in range(width):
            ray = forward + (x + 0.5 - width / 2) / scene.focal_length * right
            ray = ray + (y + 0.5 - height / 2) / scene.focal_length * down
            depth, label, instance = first_hit(room, np.array(room.camera), ray)
            if (label, instance) != (scene.label[y, x], scene.instance[y, x]):
                wrong += 1  # a ray within float32 of an edge may fall on its other side
            else:
                assert scene.depth[y, x] == pytest.approx(depth, rel=1e-4)
    assert wrong <= 2


def seen_surface(room: Room, height: int, width: int) -> tuple[Windows, Hits, np.ndarray, Surface]:
    rays, windows = camera_rays(room, height, width), find_windows(room, height, width)
    hits = cast_camera_rays(room, rays, windows)
    points = hit_points(room, rays, hits.depth)
    return windows, hits, points, locate(room, hits, points)


def owners(room: Room, hits: Hits, surface: Surface) -> np.ndarray:
    """Index of the solid each of the surface's points lies on, below 0 for none."""
    return hits.piece.ravel()[surface.order].astype(int) - room.first_solid_piece


def blocked(room: Room, owner: int, start: np.ndarray, ray: np.ndarray, end: float) -> bool:
    others = [solid for index, solid in enumerate(room.solids) if index != owner]
    return any(0 < t < end for solid in others for t in crossings(solid, start, ray))


def test_shadows_equal_a_naive_search_for_a_blocker():
    """A missed blocker would light the floor under a table."""
    shaded = 0
    for index in range(4):
        room = sample_room(_generator(index, 12))
        windows, hits, points, surface = seen_surface(room, 20, 26)
        owner = owners(room, hits, surface)
        to_lamp = np.array(room.lamp)[:, None] - surface.points
        facing = np.flatnonzero((to_lamp * surface.normals).sum(0) > 1e-3)
        lit = sees_lamp(room, windows.lamp_shadows, points, hits.piece).ravel()[surface.order[facing]]
        expected = [
            not blocked(room, owner[point], surface.points[:, point].astype(float), to_lamp[:, point], 1)
            for point in facing
        ]
        assert (lit != expected).sum() <= 2
        shaded += (~lit).sum()
    assert shaded > 50


def looks_out(room: Room, start: np.ndarray, ray: np.ndarray) -> bool:
    """Whether a ray from inside the room leaves it through a window."""
    exits = {}
    for axis in range(3):
        for side in (0, 1):
            if ray[axis] * (side - 0.5) > 0:
                exits[2 * axis + side] = (side * room.size[axis] - start[axis]) / ray[axis]
    face = min(exits, key=exits.__getitem__)
    u, v = np.delete(start + exits[face] * ray, face // 2)
    return any(
        decal.face == face and decal.rect[0] < u < decal.rect[2] and decal.rect[1] < v < decal.rect[3]
        for decal in room.decals
        if decal.label == CLASS_NAMES.index("window")
    )


def test_sunlight_equals_a_naive_search_for_a_window_and_a_blocker():
    """A missed window would leave a room without its sun, a missed blocker would let it through a box."""
    sunny = shaded = 0
    for index in range(24):
        room = sample_room(_generator(index, 12))
        if room.sun is None:
            continue
        sun = np.array(room.sun)
        windows, hits, points, surface = seen_surface(room, 20, 26)
        owner = owners(room, hits, surface)
        facing = np.flatnonzero(sun @ surface.normals > 1e-3)
        lit = sees_sun(room, room.sun, windows, points, hits.piece).ravel()[surface.order[facing]]
        starts = surface.points.T.astype(float)
        through = np.array([looks_out(room, starts[point], sun) for point in facing])
        beams = facing[through]
        free = np.array(
            [not blocked(room, owner[point], starts[point], sun, math.inf) for point in beams], bool
        )
        expected = np.zeros_like(through)
        expected[through] = free
        assert (lit != expected).sum() <= 2
        sunny += lit.sum()
        shaded += (~free).sum()
    assert sunny > 50
    assert shaded > 10


def test_depth_back_projects_onto_the_surfaces_it_claims():
    balls = 0
    for index in range(12):
        scene = render_scene(index, seed=2)
        room = sample_room(_generator(index, 2))
        height, width = scene.depth.shape
        y, x = np.mgrid[:height, :width] + 0.5
        camera = np.stack([(x - width / 2), (y - height / 2), np.full(x.shape, scene.focal_length)])
        camera *= scene.depth / scene.focal_length
        world = np.einsum("ac,ahw->chw", room.camera_axes, camera) + np.array(room.camera)[:, None, None]
        np.testing.assert_allclose(world[2][scene.label == FLOOR], 0, atol=1e-4)
        np.testing.assert_allclose(world[2][scene.label == CEILING], room.size[2], atol=1e-4)
        for solid in room.solids:
            if solid.kind == "ball":
                seen = (scene.instance == solid.instance) & (scene.label == CLASS_NAMES.index("solid"))
                distance = np.linalg.norm(world[:, seen] - np.array(solid.centre)[:, None], axis=0)
                np.testing.assert_allclose(distance, solid.half[0], atol=1e-3)
                balls += seen.any()
    assert balls > 3


def test_camera_axes_are_a_right_handed_frame():
    for index in range(20):
        axes = np.array(sample_room(_generator(index, 0)).camera_axes)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.cross(axes[0], axes[1]), axes[2], atol=1e-12)
        assert axes[1, 2] < 0  # the image's down points to the floor


# -- determinism -----------------------------------------------------------------------------------------


def test_a_scene_is_the_same_alone_in_a_batch_and_in_any_order():
    """If a neighbour could change a scene, no split would be reproducible."""
    np.random.seed(1)
    forward = list(render_scenes([4, 5, 6], seed=9, height=24, width=32))
    backward = list(render_scenes([6, 4], seed=9, height=24, width=32))
    alone = render_scene(4, seed=9, height=24, width=32)
    assert_same(forward[0], alone)
    assert_same(backward[1], alone)
    assert_same(forward[2], backward[0])


def test_index_and_seed_both_change_the_scene():
    scene = render_scene(1, seed=2)
    assert (scene.label != render_scene(2, seed=1).label).any()
    assert (scene.label != render_scene(2, seed=2).label).any()
    assert (scene.label != render_scene(1, seed=3).label).any()


def test_a_larger_size_shows_the_same_room():
    small, large = (render_scene(3, seed=4, height=h, width=w) for h, w in ((24, 32), (72, 96)))
    assert large.focal_length == pytest.approx(3 * small.focal_length)
    # A small pixel's centre is the centre of the middle one of nine large pixels.
    assert (small.label == large.label[1::3, 1::3]).mean() > 0.99
    np.testing.assert_allclose(np.median(small.depth - large.depth[1::3, 1::3]), 0, atol=1e-4)


# -- content ---------------------------------------------------------------------------------------------


def test_boxes_are_the_extents_of_the_visible_pixels(scenes):
    for scene in scenes[:60]:
        numbers, areas = np.unique(scene.instance[scene.instance > 0], return_counts=True)
        large = areas >= max(8, scene.instance.size / 192)
        np.testing.assert_array_equal(scene.objects["id"], numbers[large])
        np.testing.assert_array_equal(scene.objects["area"], areas[large])
        for row, number in enumerate(scene.objects["id"]):
            ys, xs = np.nonzero(scene.instance == number)
            x, y, width, height = scene.objects["bbox"][row]
            assert (x, y, x + width, y + height) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            names = {CLASS_NAMES[label] for label in scene.label[ys, xs]}
            assert names == {OBJECT_CLASS_NAMES[scene.objects["category"][row]]}


def test_instance_zero_is_exactly_floor_wall_and_ceiling(scenes):
    for scene in scenes:
        np.testing.assert_array_equal(scene.instance == 0, scene.label <= CEILING)


def test_every_class_appears_often_enough_to_learn_and_none_dominates(scenes):
    labels = np.stack([scene.label for scene in scenes])
    share = np.bincount(labels.ravel(), minlength=len(CLASS_NAMES)) / labels.size
    images = np.array([(labels == k).any(axis=(1, 2)).mean() for k in range(len(CLASS_NAMES))])
    assert labels.max() < len(CLASS_NAMES)
    assert share.min() > 0.004
    assert share.max() < 0.55
    assert images.min() > 0.15


def test_depth_is_finite_positive_and_within_the_largest_room(scenes):
    for scene in scenes:
        assert np.isfinite(scene.depth).all()
        assert scene.depth.min() > 0.1
        assert scene.depth.max() < math.hypot(6.0, 6.5, 3.0)


def test_images_are_neither_dark_nor_burnt_out(scenes):
    means = np.array([scene.image.mean() for scene in scenes])
    assert means.min() > 50
    assert means.max() < 215
    assert np.mean([(scene.image == 255).mean() for scene in scenes]) < 0.05


def test_colour_alone_does_not_give_the_class(scenes):
    """A class told by its colour would leave nothing for a teacher to know better than a student."""

    def bins(part):
        colours = np.concatenate([scene.image.reshape(-1, 3) for scene in part]).astype(int) // 16
        return colours @ [256, 16, 1], np.concatenate([scene.label.ravel() for scene in part])

    votes = np.zeros((16**3, len(CLASS_NAMES)), int)
    np.add.at(votes, bins(scenes[:200]), 1)
    colour, label = bins(scenes[200:])
    recall = [(votes[colour[label == k]].argmax(1) == k).mean() for k in range(len(CLASS_NAMES))]
    assert np.mean(recall) < 0.25


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 200), (61, 17), (33, 50)])
def test_any_size_works(height, width):
    for scene in render_scenes(range(6), height=height, width=width):
        assert (scene.image.shape, scene.image.dtype) == ((height, width, 3), np.uint8)
        assert (scene.label.shape, scene.label.dtype) == ((height, width), np.uint8)
        assert (scene.depth.shape, scene.depth.dtype) == ((height, width), np.float32)
        assert (scene.instance.shape, scene.instance.dtype) == ((height, width), np.uint8)
        count = len(scene.objects["id"])
        assert scene.objects["bbox"].shape == (count, 4)
        assert scene.objects["bbox"].dtype == np.float32
        for name in ("category", "area", "id"):
            assert (scene.objects[name].shape, scene.objects[name].dtype) == ((count,), np.int64)


# -- the data set ----------------------------------------------------------------------------------------


def test_splits_hold_the_scenes_their_docstring_names(splits):
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 3}
    for name, start in (("train", 0), ("validation", VALIDATION_OFFSET)):
        for position, row in enumerate(splits[name]):
            scene = render_scene(start + position, seed=5, height=30, width=41)
            assert [row[column].mode for column in ("image", "label", "depth")] == ["RGB", "L", "I;16"]
            np.testing.assert_array_equal(np.array(row["image"]), scene.image)
            np.testing.assert_array_equal(np.array(row["label"]), scene.label)
            metres = np.array(row["depth"]) / DEPTH_SCALE
            assert np.abs(metres - scene.depth).max() <= 0.5 / DEPTH_SCALE + 1e-6
            for key, values in scene.objects.items():
                np.testing.assert_array_equal(np.array(row["objects"][key]).reshape(values.shape), values)


def test_no_scene_is_in_both_splits(splits):
    seen = [np.array(row["image"]).tobytes() for split in splits.values() for row in split]
    assert len(set(seen)) == 7


def test_a_longer_split_begins_with_the_shorter_one(splits):
    longer = load_scenes(num_train=6, num_validation=1, seed=5, height=30, width=41)
    assert longer["train"].select(range(4)).to_dict() == splits["train"].to_dict()


def test_features_name_the_columns_and_the_categories(splits):
    features = splits["train"].features
    assert list(features) == ["image", "label", "depth", "objects"]
    assert all(isinstance(features[name], Image) for name in ("image", "label", "depth"))
    assert features["objects"]["category"].feature == ClassLabel(names=list(OBJECT_CLASS_NAMES))
    assert splits["validation"].features == features


def test_data_stay_in_memory_and_fingerprints_follow_the_arguments(splits):
    again = load_scenes(num_train=4, num_validation=3, seed=5, height=30, width=41)
    other = load_scenes(num_train=4, num_validation=3, seed=6, height=30, width=41)
    for name, split in splits.items():
        assert split.cache_files == []
        assert split._fingerprint == again[name]._fingerprint
        assert split._fingerprint != other[name]._fingerprint


def test_empty_splits_keep_their_columns():
    empty = load_scenes(num_train=0, num_validation=0)
    assert [split.num_rows for split in empty.values()] == [0, 0]
    assert empty["train"].column_names == ["image", "label", "depth", "objects"]


def test_object_classes_are_the_classes_that_are_not_the_room_itself():
    assert CLASS_NAMES[:3] == ("floor", "wall", "ceiling")
    assert CLASS_NAMES[3:] == OBJECT_CLASS_NAMES
    assert len(set(CLASS_NAMES)) == len(CLASS_NAMES)


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"index": -1}, ValueError, "`index` must be at least 0, got -1"),
        ({"index": 0, "seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"index": 0, "height": 7}, ValueError, "`height` must be at least 8, got 7"),
        ({"index": 0, "width": 7}, ValueError, "`width` must be at least 8, got 7"),
        ({"index": 0.0}, TypeError, r"`index` must be an integer, got float \(0.0\)"),
        ({"index": 0, "seed": "1"}, TypeError, r"`seed` must be an integer, got str \('1'\)"),
        ({"index": 0, "width": True}, TypeError, r"`width` must be an integer, got bool \(True\)"),
    ],
)
def test_render_scene_rejects(settings, error, message):
    with pytest.raises(error, match=message):
        render_scene(**settings)


def test_render_scenes_rejects_a_bad_size_before_the_first_scene_is_asked_for():
    with pytest.raises(ValueError, match="`height` must be at least 8, got 0"):
        render_scenes([], height=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_train": -1}, ValueError, "`num_train` must be at least 0, got -1"),
        ({"num_validation": -2}, ValueError, "`num_validation` must be at least 0, got -2"),
        ({"num_train": VALIDATION_OFFSET + 1}, ValueError, "`num_train` must be at most 1000000000"),
        ({"num_train": 1.5}, TypeError, r"`num_train` must be an integer, got float \(1.5\)"),
        ({"num_train": 0, "seed": None}, TypeError, r"`seed` must be an integer, got NoneType \(None\)"),
    ],
)
def test_load_scenes_rejects(settings, error, message):
    with pytest.raises(error, match=message):
        load_scenes(**settings)


def test_numpy_integers_are_integers():
    assert_same(
        render_scene(np.int64(2), height=np.int32(9), width=9),  # type: ignore[arg-type]
        render_scene(2, height=9, width=9),
    )
