"""Augmentation: image and label move together, and one generator decides everything."""

from __future__ import annotations

import colorsys
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSemanticSegmentation

from hf_structkd.data import DenseAugmentation, DepthMap
from hf_structkd.data.transforms import jitter_color, resize_image
from hf_structkd.matching.alignment import resize_ids

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"

PLAIN = {"scale": (1.0, 1.0), "flip_probability": 0.0, "color_jitter": (0, 0, 0, 0)}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image whose red is the row, green the column, blue 1, and a label that numbers the pixels."""
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).view(1, -1).expand(height, width)
    image = torch.stack([rows / 1000, columns / 1000, torch.ones(height, width)])
    return image, rows * width + columns


def painted(height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """A label of two halves and the image painted from it: black on the left, white on the right."""
    label = (torch.arange(width) >= width // 2).long().expand(height, width).contiguous()
    return label.float().expand(3, height, width).contiguous(), label


def test_nothing_switched_on_returns_the_input() -> None:
    image, label = torch.rand(3, 12, 16), torch.randint(0, 5, (12, 16))
    augment = DenseAugmentation((12, 16), **PLAIN)
    new_image, new_label, mask = augment(image, label, generator())
    assert torch.equal(new_image, image)
    assert torch.equal(new_label, label)
    assert mask.all()


def test_flip_mirrors_image_and_label_exactly() -> None:
    image, label = torch.rand(3, 12, 16), torch.randint(0, 5, (12, 16))
    augment = DenseAugmentation((12, 16), **{**PLAIN, "flip_probability": 1.0})
    new_image, new_label, _ = augment(image, label, generator())
    reversed_columns = list(range(15, -1, -1))
    assert torch.equal(new_image, image[:, :, reversed_columns])
    assert torch.equal(new_label, label[:, reversed_columns])


def test_flip_happens_as_often_as_asked() -> None:
    image, label = coordinates(4, 4)
    augment = DenseAugmentation((4, 4), **{**PLAIN, "flip_probability": 0.25})
    shared = generator()
    flips = sum(int(augment(image, label, shared)[1][0, 0] == 3) for _ in range(800))
    assert 150 <= flips <= 250  # 200 expected, standard deviation 12


def test_native_crops_are_exact_pixels_of_one_box() -> None:
    """A crop that resamples by a fraction of a pixel blurs every training image."""
    image, label = coordinates(20, 30)
    augment = DenseAugmentation((8, 10), **PLAIN, base_size=(20, 30))
    corners = set()
    for seed in range(300):
        new_image, new_label, mask = augment(image, label, generator(seed))
        top, left = divmod(int(new_label[0, 0]), 30)
        corners.add((top, left))
        assert torch.equal(new_label, label[top : top + 8, left : left + 10])
        assert torch.equal(new_image, image[:, top : top + 8, left : left + 10])
        assert mask.all()
    assert {top for top, _ in corners} == set(range(13))
    assert {left for _, left in corners} == set(range(21))


def test_doubling_takes_each_label_twice_and_halves_the_view() -> None:
    image, label = coordinates(8, 12)
    augment = DenseAugmentation((8, 12), **{**PLAIN, "scale": (2.0, 2.0)})
    new_image, new_label, _ = augment(image, label, generator(3))
    top, left = divmod(int(new_label[0, 0]), 12)
    box = label[top : top + 4, left : left + 6]
    assert torch.equal(new_label, box.repeat_interleave(2, 0).repeat_interleave(2, 1))
    # Bilinear at half-pixel centres: inside the box, a ramp stays a ramp with half the slope.
    assert new_image[0, 1:-1, 0].diff() == pytest.approx([0.0005] * 5, abs=1e-6)


def test_halving_shows_the_whole_image_and_pads_the_rest() -> None:
    image, label = painted(24, 32)
    augment = DenseAugmentation((24, 32), **{**PLAIN, "scale": (0.5, 0.5)}, nothing=99)
    corners = set()
    for seed in range(40):
        new_image, new_label, mask = augment(image, label, generator(seed))
        rows, columns = mask.nonzero(as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        corners.add((top, left))
        place = (slice(top, top + 12), slice(left, left + 16))
        assert mask.sum() == 12 * 16 == mask[place].sum()
        assert torch.equal(new_label[place], label[::2, ::2])
        assert (new_label[~mask] == 99).all()
        content = new_image[:, place[0], place[1]].numpy()
        around = ((0, 0), (top, 12 - top), (left, 16 - left))
        assert torch.equal(new_image, torch.from_numpy(np.pad(content, around, mode="symmetric")))
        assert new_image[:, place[0], place[1]].mean() == pytest.approx(0.5, abs=1e-6)
    assert len(corners) > 20


@pytest.mark.parametrize("source", [(24, 32), (31, 17), (90, 120), (5, 7)])
def test_label_follows_the_image_at_every_scale(source: tuple[int, int]) -> None:
    """A label that lags its image by pixels teaches the student blurred borders."""
    image, label = painted(*source)
    augment = DenseAugmentation((24, 32), color_jitter=(0, 0, 0, 0))
    shared = generator()
    for _ in range(60):
        new_image, new_label, mask = augment(image, label, shared)
        assert new_image.shape == (3, 24, 32)
        assert new_label.shape == mask.shape == (24, 32)
        inside = new_label[mask]
        sure = (new_image[0][mask] < 0.25) | (new_image[0][mask] > 0.75)
        assert torch.equal((new_image[0][mask] > 0.5).long()[sure], inside[sure])
        assert set(inside.tolist()) <= {0, 1}
        assert (new_label[~mask] == 255).all()


def test_scale_one_covers_the_size_whatever_the_source() -> None:
    """The scale is relative to the covering image, so half and native resolution need no other setting."""
    for source in [(48, 64), (12, 16), (48, 40), (10, 200)]:
        image, label = coordinates(*source)
        augment = DenseAugmentation((24, 32), **PLAIN)
        _, new_label, mask = augment(image, label, generator(1))
        assert mask.all()
        rows, columns = new_label // source[1], new_label % source[1]
        spans = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
        assert any(span >= side * 0.9 for span, side in zip(spans, source, strict=True))


def test_a_stretched_image_is_seen_whole_as_evaluation_sees_it() -> None:
    """Else a model of one square size trains on one aspect and is scored on another."""
    image, label = torch.rand(3, 24, 32), torch.randint(0, 5, (24, 32))
    augment = DenseAugmentation((16, 16), **PLAIN, stretch=True)
    new_image, new_label, mask = augment(image, label, generator())
    assert torch.equal(new_image, resize_image(image, (16, 16)))
    assert torch.equal(new_label, resize_ids(label, (16, 16)))
    assert mask.all()


def test_a_stretched_image_is_scaled_alike_along_both_sides() -> None:
    image, label = coordinates(12, 24)
    augment = DenseAugmentation((12, 12), **{**PLAIN, "scale": (2.0, 2.0)}, stretch=True)
    _, new_label, _ = augment(image, label, generator(1))
    rows, columns = new_label // 24, new_label % 24
    assert (int(rows.max() - rows.min()), int(columns.max() - columns.min())) == (5, 11)


def test_scales_are_spread_over_the_whole_range() -> None:
    image, label = coordinates(64, 64)
    augment = DenseAugmentation((16, 16), **{**PLAIN, "scale": (1.0, 4.0)})
    shared = generator()
    seen = []
    for _ in range(400):
        columns = augment(image, label, shared)[1] % 64
        seen.append(64 / (int(columns.max() - columns.min()) + 1))
    assert min(seen) < 1.1
    assert max(seen) > 3.5
    assert np.mean(seen) == pytest.approx(2.5, abs=0.2)


@pytest.mark.parametrize(
    ("scale", "base_size", "expected"),
    [((1, 2), None, False), ((0.5, 2), None, True), ((0.5, 2), (16, 16), False), ((0.5, 2), (16, 15), True)],
)
def test_can_pad_says_whether_padding_ever_occurs(scale, base_size, expected) -> None:
    """Claimed wrongly, batches would mix rows with and without a mask."""
    augment = DenseAugmentation((8, 8), scale=scale, base_size=base_size)
    shared = generator()
    image, label = coordinates(13, 11)
    padded = any(not augment(image, label, shared)[2].all() for _ in range(300))
    assert augment.can_pad is expected
    assert padded <= expected


def test_the_generator_alone_decides() -> None:
    """Global randomness would tie a sample to batch size, workers and the teacher's dropout."""
    image, label = torch.rand(3, 20, 20), torch.randint(0, 5, (20, 20))
    augment = DenseAugmentation((16, 16))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = augment(image, label, generator(5))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    torch.manual_seed(99)
    again = augment(image, label, generator(5))
    other = augment(image, label, generator(6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_switching_colours_off_leaves_the_geometry() -> None:
    """Otherwise an ablation of the colours would also compare other crops."""
    image, label = coordinates(20, 20)
    with_colours = DenseAugmentation((16, 16))(image, label, generator(2))
    without = DenseAugmentation((16, 16), color_jitter=(0, 0, 0, 0))(image, label, generator(2))
    assert torch.equal(with_colours[1], without[1])
    assert not torch.equal(with_colours[0], without[0])


def test_a_draw_is_carried_out_as_by_a_call() -> None:
    """What follows a draw, as boxes do, must follow the image."""
    image, label = coordinates(20, 30)
    augment = DenseAugmentation((16, 16))
    for seed in range(20):
        called = augment(image, label, generator(seed))
        drawn = augment.draw((20, 30), generator(seed))
        parts = augment.image(image, drawn), augment.label(label, drawn), augment.mask(drawn)
        assert all(torch.equal(a, b) for a, b in zip(called, parts, strict=True))


def test_the_input_is_left_as_it_was() -> None:
    image, label = torch.rand(3, 20, 20), torch.randint(0, 5, (20, 20))
    copies = image.clone(), label.clone()
    for seed in range(10):
        DenseAugmentation((20, 20))(image, label, generator(seed))
    assert torch.equal(image, copies[0])
    assert torch.equal(label, copies[1])


def test_shrinking_is_antialiased() -> None:
    """Point sampling of a one-pixel checkerboard gives black or white instead of gray."""
    board = ((torch.arange(33).view(-1, 1) + torch.arange(33)) % 2).float().expand(3, 33, 33)
    assert (resize_image(board, (11, 11)) - 0.5).abs()[:, 1:-1, 1:-1].max() < 0.05


def test_resizing_to_the_same_size_changes_nothing() -> None:
    image = torch.rand(3, 5, 7)
    assert resize_image(image, (5, 7)) is image


# ---- depth ----


def test_depth_is_divided_by_the_drawn_scale() -> None:
    """Twice as large is half as far; undivided, a student would learn that size says nothing."""
    image, depth = torch.rand(3, 4, 4), torch.arange(1.0, 17.0).view(4, 4)
    augment = DenseAugmentation((4, 4), **{**PLAIN, "scale": (2.0, 2.0)}, nothing=0)
    _, new, _ = augment(image, depth, generator(1), zoomed=DepthMap().zoomed)
    row, column = divmod(int(new[0, 0] * 2) - 1, 4)
    box = depth[row : row + 2, column : column + 2] / 2
    assert new.dtype == torch.float32
    assert torch.equal(new, box.repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_depth_is_multiplied_where_the_image_shrinks_and_padding_is_nothing() -> None:
    image, depth = torch.rand(3, 4, 4), torch.full((4, 4), 3.0)
    augment = DenseAugmentation((4, 4), **{**PLAIN, "scale": (0.5, 0.5)}, nothing=0)
    _, new, mask = augment(image, depth, generator(), zoomed=DepthMap().zoomed)
    assert mask.sum() == 4
    assert torch.equal(new, torch.where(mask, 6.0, 0.0))


@pytest.mark.parametrize("base_size", [None, (24, 32), (5, 7)])
def test_scale_one_leaves_depth_as_measured_whatever_it_covers(base_size: tuple[int, int] | None) -> None:
    """The scale is relative to `base_size`: a camera's depth must not depend on the file's resolution."""
    image, depth = torch.rand(3, 24, 32), torch.full((24, 32), 3.0)
    augment = DenseAugmentation((12, 16), **PLAIN, base_size=base_size, nothing=0)
    _, new, mask = augment(image, depth, generator(), zoomed=DepthMap().zoomed)
    assert (new[mask] == 3.0).all()


def test_holes_never_bleed_into_their_neighbours() -> None:
    """A mean of 0 and 8 metres is a wall at 4 metres that is not there."""
    image = torch.rand(3, 24, 32)
    depth = torch.where(torch.rand(24, 32, generator=generator(4)) < 0.3, 0.0, 8.0)
    augment = DenseAugmentation((17, 23), scale=(0.4, 2.5), nothing=0)
    shared = generator()
    for _ in range(50):
        _, new, mask = augment(image, depth, shared)
        assert set(new.unique().tolist()) == {0.0, 8.0}
        assert (new[~mask] == 0).all()


def test_depth_keeps_to_the_image_it_was_painted_from() -> None:
    """Flip, crop and padding move both; only the value tells the scale."""
    image, near = painted(24, 32)
    depth = 2.0 + 2.0 * near  # 2 m on the left, where it is black; 4 m on the right
    augment = DenseAugmentation((24, 32), color_jitter=(0, 0, 0, 0), nothing=0)
    shared = generator(3)
    for _ in range(60):
        new_image, new, mask = augment(image, depth, shared)
        sure = mask & ((new_image[0] < 0.25) | (new_image[0] > 0.75))
        assert torch.equal(new[sure], 2.0 + 2.0 * (new_image[0][sure] > 0.5))
        assert (new[~mask] == 0).all()


def test_depth_and_labels_of_one_generator_get_the_same_geometry() -> None:
    image, label = coordinates(20, 30)
    augment = DenseAugmentation((16, 16), nothing=0)
    for seed in range(10):
        new_label = augment(image, label, generator(seed))[1]
        new_depth = augment(image, label.float(), generator(seed))[1]
        assert torch.equal(new_label.float(), new_depth)


def pixel(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(3, 1, 1)


def luma(image: Tensor) -> Tensor:
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def test_brightness_multiplies_every_channel() -> None:
    image = torch.rand(3, 4, 5) * 0.6
    assert torch.allclose(jitter_color(image, brightness=1.5), 1.5 * image, atol=2e-3)


def test_contrast_stretches_about_the_mean_luma() -> None:
    image = 0.3 + 0.4 * torch.rand(3, 4, 5)
    mean = luma(image).mean()
    assert torch.allclose(jitter_color(image, contrast=1.3), mean + 1.3 * (image - mean), atol=2e-3)


def test_saturation_zero_is_gray_of_the_same_luma() -> None:
    image = torch.rand(3, 4, 5)
    assert torch.allclose(jitter_color(image, saturation=0.0), luma(image).expand(3, 4, 5), atol=2e-3)


def test_hue_turns_colours_and_keeps_luma() -> None:
    """A third of a turn takes red towards green, as on the colour wheel, not towards blue."""
    image = 0.4 + 0.2 * torch.rand(3, 4, 5)
    turned = jitter_color(image, hue=0.1)
    assert torch.allclose(luma(turned), luma(image), atol=1e-3)
    assert not torch.allclose(turned, image, atol=1e-2)
    reddish = jitter_color(pixel(0.6, 0.4, 0.4), hue=1 / 3).flatten().tolist()
    assert 0.2 < colorsys.rgb_to_hsv(*reddish)[0] < 0.5


def test_colours_stay_in_range_and_gray_keeps_no_tint() -> None:
    shared = generator()
    gray = torch.rand(1, 16, 16).expand(3, 16, 16)
    augment = DenseAugmentation((16, 16), scale=(1, 1), color_jitter=(1.0, 1.0, 1.0, 0.5))
    for _ in range(50):
        image = augment(gray, torch.zeros(16, 16).long(), shared)[0]
        assert image.min() >= 0
        assert image.max() <= 1
        assert (image.amax(0) - image.amin(0)).max() < 5e-3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": (0, 4)}, r"`size` must be height and width in whole pixels, got \(0, 4\)"),
        ({"size": (4.0, 4)}, "`size` must be height and width"),
        ({"size": (4,)}, "`size` must be height and width"),
        ({"base_size": (4, -1)}, "`base_size` must be height and width"),
        ({"scale": (2.0, 0.5)}, "`scale` must be two positive numbers"),
        ({"scale": (0.0, 0.5)}, "`scale` must be two positive numbers"),
        ({"scale": (1.0, float("inf"))}, "`scale` must be two positive numbers"),
        ({"flip_probability": 1.5}, r"`flip_probability` must lie in \[0, 1\], got 1.5"),
        ({"color_jitter": (0.1, 0.1, 0.1)}, "`color_jitter` must be four strengths"),
        ({"color_jitter": (0.1, 0.1, 0.1, 0.6)}, "`color_jitter` must be four strengths"),
        ({"color_jitter": (-0.1, 0.1, 0.1, 0.1)}, "`color_jitter` must be four strengths"),
    ],
)
def test_settings_outside_their_range_are_named(changed, message) -> None:
    with pytest.raises(ValueError, match=message):
        DenseAugmentation(**{"size": (4, 4), **changed})


@pytest.mark.parametrize(("length", "size"), [(1, 5), (3, 20), (7, 8)])
def test_an_image_of_any_size_is_mirrored_as_often_as_the_canvas_needs(length: int, size: int) -> None:
    image, label = torch.rand(3, length, length), torch.zeros(length, length, dtype=torch.long)
    scale = length / size
    augment = DenseAugmentation((size, size), **{**PLAIN, "scale": (scale, scale)})
    for seed in range(10):
        crop = augment.draw((length, length), generator(seed))
        padding = [(corner, size - length - corner) for corner in crop.corner]
        content = augment.image(image, crop._replace(corner=(0, 0), size=crop.content)).numpy()
        expected = torch.from_numpy(np.pad(content, ((0, 0), *padding), mode="symmetric"))
        assert torch.equal(augment(image, label, generator(seed))[0], expected)


def test_a_fresh_transformer_has_ordinary_gradients_on_small_crops() -> None:
    """Padded with the mean colour, LayerNorms met zeros: this student began with a norm of 244,606."""
    config = AutoConfig.from_pretrained(CONFIGS / "segformer-0.3m", num_labels=2)
    model = AutoModelForSemanticSegmentation.from_config(config).train()
    image, mean = torch.rand(3, 96, 128), torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    norms = []
    for mirror in (True, False):
        augment = DenseAugmentation((96, 128), scale=(0.5, 0.5), mirror=mirror)
        crop = augment.draw((96, 128), generator(0))._replace(corner=(0, 0))
        labels = augment.label(torch.ones(96, 128, dtype=torch.long), crop)
        model.zero_grad()
        model((augment.image(image, crop) - mean)[None], labels=labels[None]).loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
    assert norms[0] < 20
    assert norms[1] > 100 * norms[0], "the constant is harmless now: the test shows nothing"
