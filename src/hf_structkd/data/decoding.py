"""From what a dataset row holds to tensors.

A row holds ``{"bytes", "path"}``, a path, a Pillow image, an array or a nested list. In an error ``where``
names the place, for instance ``row 3, column 'image'``. A file that cannot be decoded raises `BadImageError`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
import PIL.ExifTags
import PIL.Image
import torch
from datasets.utils.file_utils import xopen
from torch import Tensor

from .orientation import swapped

_SIXTEEN_BIT = 65535
_ARRAYS = (list, np.ndarray, Tensor)


class BadImageError(ValueError):
    """A file that cannot be decoded: damaged, empty or missing."""


def decode_image(value: Any, *, where: str) -> Tensor:
    """Decode an image as RGB, (3, H, W) float32 in [0, 1].

    Gray is repeated, a palette is looked up, CMYK is converted, 16-bit files are divided by 65535, and
    transparency is dropped: the colour under it stays as stored. The orientation tag of a camera is applied.
    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        ValueError: if the meaning of the image as RGB is not clear, as for 32-bit floats.
    """
    image = _open(value, where=where)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _gray_from_sixteen_bit(image, where=where).expand(3, -1, -1).contiguous()
    if image.mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")  # through RGBA: a palette with transparency warns on its way to RGB
    array = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div_(255)


def _file_of(value: Any) -> tuple[str | None, bytes | None]:
    """Return the path and the bytes of a file; both are None if the row holds no file."""
    if isinstance(value, Mapping):
        return value.get("path"), value.get("bytes")
    return (value if isinstance(value, str) else None), None


def fetched(value: Any, *, where: str) -> Any:
    """Return a file that lies elsewhere with its bytes, so that header and pixels are loaded only once."""
    path, content = _file_of(value)
    if not isinstance(value, Mapping) or content is not None or path is None or "://" not in path:
        return value
    try:
        with xopen(path, "rb") as file:
            return {"bytes": file.read(), "path": path}
    except Exception as error:  # each file system has errors of its own
        raise _bad_image(error, where=where) from error


def read_image_size(value: Any, *, where: str) -> tuple[int, int]:
    """Return height and width in pixels of what `decode_image` returns; of a file, read the header only."""
    size, _ = read_header(value, where=where)
    return size


def read_header(value: Any, *, where: str) -> tuple[tuple[int, int], int]:
    """Return height and width of what `decode_image` returns, and the orientation tag that it applies.

    Of a file, only the header is read. The tag is 1 where none is applied.
    """
    header = _header_of_file(value, where=where)
    if header is not None:
        return header
    height, width = decode_image(value, where=where).shape[-2:]
    return (height, width), 1


def read_orientation(value: Any, *, where: str) -> int:
    """Return the orientation tag that decoding applies, 1 where none is applied, as to arrays."""
    header = _header_of_file(value, where=where)
    return 1 if header is None else header[1]


def _header_of_file(value: Any, *, where: str) -> tuple[tuple[int, int], int] | None:
    """Return the size and the tag, see `read_header`, or None if there is no file on this machine."""
    path, content = _file_of(value)
    file = path if content is None else io.BytesIO(content)
    if file is None or (content is None and not os.path.isfile(str(path))):
        return None
    try:
        with PIL.Image.open(file) as image:
            width, height = image.size
            # Without "exif" in `info`, as in TIFF, the size is already that of the turned image.
            tag = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) if "exif" in image.info else 1
    except Exception as error:  # Pillow's readers raise many types on damaged bytes
        raise _bad_image(error, where=where) from error
    orientation = int(tag) if tag in range(2, 9) else 1
    return swapped((height, width), orientation), orientation


def decode_label(value: Any, *, where: str, colors: bool = False) -> Tensor:
    """Decode a map of class ids (H, W), uint8 or int64; a palette image keeps its indices.

    A colour image whose three channels are equal is a gray one. With ``colors`` each pixel becomes the number
    of its colour, red * 65536 + green * 256 + blue, for palette and gray images too; transparency is dropped.

    Raises:
        ValueError: if the row does not hold one integer or, with ``colors``, one colour per pixel.
    """
    if isinstance(value, (int, float)):
        raise ValueError(
            f"The label in {where} must be a mask, got the number {value}; name the column of the masks."
        )
    if not isinstance(value, _ARRAYS):
        image = _open(value, where=where)
        value = np.array(image.convert("RGBA") if colors else image)
    array = _array(value, where=where)
    if array.ndim == 3 and array.shape[-1] in (3, 4) and array.dtype.kind in "iu":
        channels = array[..., :3]
        if colors:
            array = channels.astype(np.int64) @ (1 << 16, 1 << 8, 1)
        elif (channels == channels[..., :1]).all():
            array = channels[..., 0].copy()
    elif colors and array.ndim == 2:
        array = array.astype(np.int64) * 0x010101
    if array.ndim != 2 or array.dtype.kind not in "biu":
        raise ValueError(
            f"The label in {where} must hold one integer class id per pixel, got shape {array.shape} of "
            f"{array.dtype}; save it as a gray or palette image, or list the colour of each class in "
            "`label_values`."
        )
    return torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.int64))


def lossy_format(value: Any) -> str | None:
    """Return the format of a file that changes the values it stores (JPEG, WebP, AVIF), or None.

    A lossless WebP keeps them. Of a file that lies elsewhere than on this machine nothing is read.
    """
    if isinstance(value, PIL.Image.Image):
        return value.format if value.format in ("JPEG", "MPO", "AVIF") else None
    path, content = _file_of(value)
    head = (content or b"")[:4096]
    if not head and path is not None and os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(4096)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[8:12] == b"WEBP" and b"VP8L" not in head:
        return "WebP"
    return "AVIF" if head[4:12] == b"ftypavif" else None


def decode_depth(
    value: Any, *, depth_scale: float | None = None, depth_hole: float | None = None, where: str
) -> Tensor:
    """Decode a depth map (H, W) float32 in metres; negative, NaN and infinite values become 0.

    Args:
        value: one number per pixel: 8, 16 or 32 bits, or floats.
        depth_scale: metres per stored unit; None is that of the type, see `metres_per_unit`.
        depth_hole: stored value that becomes 0 too.
        where: what an error calls the place.

    Raises:
        ValueError: if the row holds colours, a palette or truth values, or 8 bits without a scale.
    """
    units = decode_depth_units(value, where=where)
    scale = metres_per_unit(units.dtype, where=where) if depth_scale is None else depth_scale
    depth = (torch.from_numpy(units.astype(np.float64)) * scale).float()
    measured = (depth > 0) & depth.isfinite()
    if depth_hole is not None:
        measured &= torch.from_numpy(units != depth_hole)
    return torch.where(measured, depth, 0.0)


def decode_depth_units(value: Any, *, where: str) -> np.ndarray[Any, Any]:
    """Decode a depth map (H, W) as it is stored, in its own type; also a `.npy` file, see `decode_depth`."""
    path, _ = _file_of(value)
    if path is not None and path.endswith(".npy") and os.path.isfile(path):
        try:
            value = np.load(path, allow_pickle=False)
        except (ValueError, OSError) as error:
            raise _bad_image(error, where=where) from error
    if not isinstance(value, _ARRAYS):
        value = _open(value, where=where)
        value = value.convert("RGBA") if value.mode in ("P", "PA") else value
    array = _array(value, where=where)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"The depth map in {where} must hold one number per pixel, got shape {array.shape} of "
            f"{array.dtype}; save it as a 16-bit gray image or an array of floats, not as colours."
        )
    return array


def metres_per_unit(dtype: np.dtype[Any], *, where: str) -> float:
    """Return the unit that a type is written in by custom: floats are metres, integers millimetres.

    Raises:
        ValueError: for 8 bits, whose 256 steps are a unit of their own.
    """
    if dtype.kind == "f":
        return 1.0
    if dtype.itemsize == 1:
        raise ValueError(
            f"`depth_scale` must be given for depth in 8 bits, got {dtype} in {where}, whose steps are no "
            "millimetres; pass the metres of one step (10 m / 255 is 0.0392), or save 16 bits."
        )
    return 0.001


def _open(value: Any, *, where: str) -> PIL.Image.Image:
    """Return what the row holds as a decoded Pillow image."""
    if isinstance(value, _ARRAYS):
        array = _array(value, where=where)
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)) or not array.size:
            raise ValueError(
                f"The image array in {where} must have the shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), "
                f"got {array.shape}; move the channels to the end."
            )
        if array.dtype != np.uint8:
            array = _bytes_of(array, where=where)
        return PIL.Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
    if isinstance(value, str):
        value = {"path": value, "bytes": None}
    try:
        if value is None:
            raise ValueError("the row holds no image")
        decoded: PIL.Image.Image = datasets.Image().decode_example(value)
        decoded.load()
    except Exception as error:  # Pillow's readers raise many types on damaged bytes
        raise _bad_image(error, where=where) from error
    return decoded


def _array(value: Any, *, where: str) -> np.ndarray[Any, Any]:
    """Return a nested list or an array; raise `ValueError` if its rows differ in length."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"The rows of pixels in {where} must be of one length, and are not; correct this row."
        ) from error


def _bad_image(error: Exception, *, where: str) -> BadImageError:
    said = re.sub(r" *<\S+ object at 0x\w+>", "", str(error))  # Pillow shows the address of its buffer
    return BadImageError(
        f"The image in {where} cannot be decoded ({type(error).__name__}: {said}); repair or remove the "
        "file, or pass skip_bad_images=True to leave such rows out and count them."
    )


def _bytes_of(array: np.ndarray[Any, Any], *, where: str) -> np.ndarray[Any, Any]:
    """Return the values as uint8 if they fit, because nested lists come back from Arrow as int64."""
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    raise ValueError(
        f"The image array in {where} must hold integers in [0, 255], got {array.dtype} of shape "
        f"{array.shape}; convert it to uint8 first."
    )


def _gray_from_sixteen_bit(image: PIL.Image.Image, *, where: str) -> Tensor:
    """Return a gray file of 16 bits per pixel as (1, H, W) in [0, 1]."""
    array = np.array(image)
    if image.mode == "F" or array.min() < 0 or array.max() > _SIXTEEN_BIT:
        raise ValueError(
            f"The image in {where} must have 8 or 16 bits per channel, got mode {image.mode} with values "
            f"from {array.min()} to {array.max()}; save it as 8-bit RGB."
        )
    return torch.from_numpy(array.astype(np.float32))[None].div_(_SIXTEEN_BIT)
