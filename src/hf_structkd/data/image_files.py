"""What a dataset row holds as an image: a file with its header, a Pillow image or an array.

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
from datasets.utils.file_utils import xopen
from torch import Tensor

from .orientation import swapped

ARRAYS = (list, np.ndarray, Tensor)


class BadImageError(ValueError):
    """A file that cannot be decoded: damaged, empty or missing."""


def file_of(value: Any) -> tuple[str | None, bytes | None]:
    """Return the path and the bytes of a file; both are None if the row holds no file."""
    if isinstance(value, Mapping):
        return value.get("path"), value.get("bytes")
    return (value if isinstance(value, str) else None), None


def fetched(value: Any, *, where: str) -> Any:
    """Return a file that lies elsewhere with its bytes, so that header and pixels are loaded only once."""
    path, content = file_of(value)
    if not isinstance(value, Mapping) or content is not None or path is None or "://" not in path:
        return value
    try:
        with xopen(path, "rb") as file:
            return {"bytes": file.read(), "path": path}
    except Exception as error:  # each file system has errors of its own
        raise bad_image(error, where=where) from error


def read_orientation(value: Any, *, where: str) -> int:
    """Return the orientation tag that decoding applies, 1 where none is applied, as to arrays."""
    header = header_of_file(value, where=where)
    return 1 if header is None else header[1]


def header_of_file(value: Any, *, where: str) -> tuple[tuple[int, int], int] | None:
    """Return the size and the tag, see `read_header`, or None if there is no file on this machine."""
    path, content = file_of(value)
    file = path if content is None else io.BytesIO(content)
    if file is None or (content is None and not os.path.isfile(str(path))):
        return None
    try:
        with PIL.Image.open(file) as image:
            width, height = image.size
            # Without "exif" in `info`, as in TIFF, the size is already that of the turned image.
            tag = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) if "exif" in image.info else 1
    except Exception as error:  # Pillow's readers raise many types on damaged bytes
        raise bad_image(error, where=where) from error
    orientation = int(tag) if tag in range(2, 9) else 1
    return swapped((height, width), orientation), orientation


def lossy_format(value: Any) -> str | None:
    """Return the format of a file that changes the values it stores (JPEG, WebP, AVIF), or None.

    A lossless WebP keeps them. Of a file that lies elsewhere than on this machine nothing is read.
    """
    if isinstance(value, PIL.Image.Image):
        return value.format if value.format in ("JPEG", "MPO", "AVIF") else None
    path, content = file_of(value)
    head = (content or b"")[:4096]
    if not head and path is not None and os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(4096)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[8:12] == b"WEBP" and b"VP8L" not in head:
        return "WebP"
    return "AVIF" if head[4:12] == b"ftypavif" else None


def open_image(value: Any, *, where: str) -> PIL.Image.Image:
    """Return what the row holds as a decoded Pillow image."""
    if isinstance(value, ARRAYS):
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
        raise bad_image(error, where=where) from error
    return decoded


def _array(value: Any, *, where: str) -> np.ndarray[Any, Any]:
    """Return a nested list or an array; raise `ValueError` if its rows differ in length."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"The rows of pixels in {where} must be of one length, and are not; correct this row."
        ) from error


def plane_of(value: Any, *, where: str) -> np.ndarray[Any, Any]:
    """Return an array without the axis of a single channel."""
    array = _array(value, where=where)
    if array.ndim == 3 and array.shape[-1] == 1:
        return array[..., 0]
    # One row of colours is no channel.
    return array[0] if array.ndim == 3 and array.shape[0] == 1 and array.shape[-1] > 4 else array


def _bytes_of(array: np.ndarray[Any, Any], *, where: str) -> np.ndarray[Any, Any]:
    """Return the values as uint8 if they fit, because nested lists come back from Arrow as int64."""
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    raise ValueError(
        f"The image array in {where} must hold integers in [0, 255], got {array.dtype} of shape "
        f"{array.shape}; convert it to uint8 first."
    )


def bad_image(error: Exception, *, where: str) -> BadImageError:
    """Return the error of a file that its reader cannot decode."""
    said = re.sub(r" *<\S+ object at 0x\w+>", "", str(error))  # Pillow shows the address of its buffer
    return BadImageError(
        f"The image in {where} cannot be decoded ({type(error).__name__}: {said}); repair or remove the "
        "file, or pass skip_bad_images=True to leave such rows out and count them."
    )
