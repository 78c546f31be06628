"""Every kind of image file that datasets hold becomes RGB, labels keep their ids, depths become metres."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch

from hf_structkd.data import BadImageError
from hf_structkd.data.decoding import decode_depth, decode_image, decode_label, read_image_size

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = RGB[..., 0]


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> dict[str, object]:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def decoded(value: object) -> np.ndarray:
    tensor = decode_image(value, where="here")
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    return tensor.permute(1, 2, 0).numpy()


def test_rgb_files_pillow_images_arrays_and_lists_agree() -> None:
    image = PIL.Image.fromarray(RGB)
    for value in (encoded(image), image, RGB, RGB.tolist(), torch.from_numpy(RGB)):
        assert decoded(value) == pytest.approx(RGB / 255, abs=1e-7)


def test_paths_are_read(tmp_path) -> None:
    path = str(tmp_path / "image.png")
    PIL.Image.fromarray(RGB).save(path)
    for value in (path, {"path": path, "bytes": None}):
        assert decoded(value) == pytest.approx(RGB / 255, abs=1e-7)


@pytest.mark.parametrize("value", [encoded(PIL.Image.fromarray(GRAY)), GRAY, GRAY[..., None]])
def test_gray_is_repeated(value) -> None:
    assert decoded(value) == pytest.approx(np.repeat(GRAY[..., None], 3, -1) / 255, abs=1e-7)


def test_sixteen_bit_files_are_scaled_and_not_clipped() -> None:
    """Pillow's own conversion cuts everything above 255 to white."""
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    result = decoded(encoded(PIL.Image.fromarray(deep)))
    assert result[0, :, 0] == pytest.approx(deep[0] / 65535, abs=1e-6)
    assert (result[..., 0] == result[..., 2]).all()
    wide = PIL.Image.fromarray(deep.astype(np.int32))
    assert decoded(wide)[0, :, 0] == pytest.approx(deep[0] / 65535, abs=1e-6)


def test_transparency_is_dropped_and_colours_stay() -> None:
    alpha = np.concatenate([RGB, np.full((6, 8, 1), 7, np.uint8)], -1)
    assert decoded(encoded(PIL.Image.fromarray(alpha))) == pytest.approx(RGB / 255, abs=1e-7)


def test_palette_images_take_their_colours() -> None:
    """With transparency in bytes, Pillow warns on the direct way to RGB."""
    image = PIL.Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert (decoded(encoded(image)) * 255).round().tolist() == [[[10, 20, 30], [40, 50, 60]]]
    seen = decoded(encoded(image, transparency=b"\x00\x80"))
    assert (seen * 255).round().tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_cmyk_and_bilevel_are_converted() -> None:
    ink = PIL.Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    assert decoded(encoded(ink, "TIFF"))[0, 0] == pytest.approx([1, 0, 0])
    assert decoded(encoded(PIL.Image.new("1", (2, 1), 1))).min() == 1


def test_the_cameras_orientation_is_applied() -> None:
    """Else phone pictures lie on their side and their labels do not."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    upright = decoded(encoded(PIL.Image.fromarray(RGB), exif=exif))
    assert upright == pytest.approx(np.rot90(RGB, -1) / 255, abs=1e-7)


@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_size_in_the_header_is_that_of_the_decoded_image(kind: str, orientation: int | None) -> None:
    """Boxes of a picture that is turned when it is decoded would be clipped to one that is not."""
    exif = PIL.Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    value = encoded(PIL.Image.fromarray(RGB), kind, exif=exif)
    assert read_image_size(value, where="here") == decoded(value).shape[:2]


def test_the_size_is_read_wherever_the_image_is(tmp_path) -> None:
    path = str(tmp_path / "image.png")
    PIL.Image.fromarray(RGB).save(path)
    for value in (path, {"path": path, "bytes": None}, RGB, RGB.tolist(), PIL.Image.fromarray(RGB)):
        assert read_image_size(value, where="here") == (6, 8)


def test_the_size_needs_the_header_alone() -> None:
    """A pass over a large dataset must not decode it."""
    value = encoded(PIL.Image.fromarray(RGB))
    assert read_image_size({**value, "bytes": value["bytes"][:60]}, where="here") == (6, 8)


@pytest.mark.parametrize(
    "value",
    [
        {"bytes": b"no image", "path": None},
        {"bytes": b"", "path": None},
        {"bytes": None, "path": None},
        {"bytes": None, "path": "missing.png"},
        None,
    ],
)
@pytest.mark.parametrize(
    "decode", [decode_image, decode_label, partial(decode_depth, depth_scale=1.0), read_image_size]
)
def test_files_that_cannot_be_decoded_name_the_row(decode, value) -> None:
    with pytest.raises(BadImageError, match=r"The image in row 3 cannot be decoded \(.*skip_bad_images=True"):
        decode(value, where="row 3")


def test_a_truncated_file_is_bad_and_not_half_gray() -> None:
    value = encoded(
        PIL.Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    )
    with pytest.raises(BadImageError, match="row 3"):
        decode_image({**value, "bytes": value["bytes"][:2000]}, where="row 3")


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.float32), np.full((2, 2), 70000, np.int32), np.full((2, 2), -1, np.int32)]
)
def test_images_without_one_meaning_as_rgb_are_refused(array) -> None:
    with pytest.raises(ValueError, match=r"row 3 must have 8 or 16 bits per channel, got mode (F|I)"):
        decode_image(PIL.Image.fromarray(array), where="row 3")


@pytest.mark.parametrize("array", [np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 256), np.full((2, 2, 3), -1)])
def test_arrays_that_are_not_bytes_are_refused(array) -> None:
    """Floats cast to bytes become a black image."""
    with pytest.raises(ValueError, match=r"row 3 must hold integers in \[0, 255\]"):
        decode_image(array, where="row 3")


def test_labels_keep_their_ids_in_every_format() -> None:
    ids = np.array([[0, 1, 255], [2, 3, 4]], np.uint8)
    palette = PIL.Image.fromarray(ids).convert("P")
    palette.putpalette([200, 100, 50] * 256)  # one colour for all: only the indices tell the classes
    deep = PIL.Image.fromarray(ids.astype(np.uint16))
    wide = PIL.Image.fromarray(ids.astype(np.int32))
    for value in (
        encoded(PIL.Image.fromarray(ids)),
        encoded(palette),
        encoded(deep),
        wide,
        ids,
        ids.tolist(),
    ):
        result = decode_label(value, where="here")
        assert not result.is_floating_point()
        assert result.tolist() == ids.tolist()


def test_bilevel_labels_are_zero_and_one() -> None:
    mask = PIL.Image.fromarray(np.array([[True, False]]))
    assert decode_label(encoded(mask), where="here").tolist() == [[1, 0]]


@pytest.mark.parametrize("value", [encoded(PIL.Image.fromarray(RGB)), np.full((2, 2), 0.5), [0, 1]])
def test_labels_that_are_not_one_integer_per_pixel_are_refused(value) -> None:
    """Colours read as ids would be trained on as classes."""
    with pytest.raises(ValueError, match="label in row 3 must hold one integer class id per pixel"):
        decode_label(value, where="row 3")


MILLIMETRES = np.array([[0, 1, 1500], [65535, 999, 2]], np.uint16)


@pytest.mark.parametrize(
    "value",
    [
        encoded(PIL.Image.fromarray(MILLIMETRES)),
        PIL.Image.fromarray(MILLIMETRES),
        PIL.Image.fromarray(MILLIMETRES.astype(np.int32)),
        PIL.Image.fromarray(MILLIMETRES.astype(np.float32)),
        encoded(PIL.Image.fromarray(MILLIMETRES.astype(np.float32)), "TIFF"),
        MILLIMETRES,
        MILLIMETRES.astype(">u2"),
        MILLIMETRES.astype(np.float64),
        MILLIMETRES.tolist(),
        MILLIMETRES.astype(float).tolist(),
        torch.from_numpy(MILLIMETRES.astype(np.float32)),
    ],
)
def test_depth_is_metres_from_every_format(value) -> None:
    depth = decode_depth(value, depth_scale=0.001, where="here")
    assert depth.dtype == torch.float32
    assert depth.numpy() == pytest.approx(MILLIMETRES / 1000, rel=1e-7)


def test_eight_bit_depth_is_read_in_its_unit() -> None:
    depth = decode_depth(encoded(PIL.Image.fromarray(GRAY)), depth_scale=0.5, where="here")
    assert torch.equal(depth, torch.from_numpy(GRAY).float() / 2)


def test_what_is_no_depth_becomes_nothing() -> None:
    """An infinite or negative metre in a loss turns the whole student into NaN."""
    values = np.array([[np.nan, np.inf, -np.inf], [-1.0, 0.0, 2.0]], np.float32)
    for value in (values, PIL.Image.fromarray(values), values.tolist(), np.array([[1e300, -(10**9)]])):
        depth = decode_depth(value, depth_scale=1.0, where="here")
        assert depth.isfinite().all()
        assert depth.flatten().tolist() == [0.0] * (depth.numel() - 1) + [depth[-1, -1]]
    assert decode_depth(values, depth_scale=1.0, where="here")[-1, -1] == 2


def test_a_map_without_any_depth_is_legal() -> None:
    assert not decode_depth(np.zeros((2, 3), np.uint16), depth_scale=1.0, where="here").any()


@pytest.mark.parametrize(
    "value",
    [
        encoded(PIL.Image.fromarray(RGB)),
        encoded(PIL.Image.fromarray(GRAY).convert("P")),
        encoded(PIL.Image.fromarray(GRAY > 9)),
        RGB,
        GRAY > 9,
        [0, 1],
        [["near"]],
    ],
)
def test_depths_that_are_not_one_number_per_pixel_are_refused(value) -> None:
    """A colour-coded picture of a depth map holds no depths."""
    with pytest.raises(ValueError, match="depth map in row 3 must hold one number per pixel, got shape"):
        decode_depth(value, depth_scale=1.0, where="row 3")
