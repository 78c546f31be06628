"""From what a dataset row holds to tensors; see `image_files` for what that may be, and for the errors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import PIL.ExifTags
import PIL.Image
import torch
from torch import Tensor

from .image_files import ARRAYS, bad_image, file_of, header_of_file, open_image, plane_of

_SIXTEEN_BIT = 65535


def decode_image(value: Any, *, where: str) -> Tensor:
    """Decode an image as RGB, (3, H, W) float32 in [0, 1].

    Gray is repeated, a palette is looked up, CMYK is converted, 16-bit files are divided by 65535, and
    transparency is dropped: the colour under it stays as stored. The orientation tag of a camera is applied.
    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        ValueError: if the meaning of the image as RGB is not clear, as for 32-bit floats.
    """
    image = open_image(value, where=where)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _gray_from_sixteen_bit(image, where=where).expand(3, -1, -1).contiguous()
    if image.mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")  # through RGBA: a palette with transparency warns on its way to RGB
    array = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div_(255)


def read_image_size(value: Any, *, where: str) -> tuple[int, int]:
    """Return height and width in pixels of what `decode_image` returns; of a file, read the header only."""
    size, _ = read_header(value, where=where)
    return size


def read_header(value: Any, *, where: str) -> tuple[tuple[int, int], int]:
    """Return height and width of what `decode_image` returns, and the orientation tag that it applies.

    Of a file, only the header is read. The tag is 1 where none is applied.
    """
    header = header_of_file(value, where=where)
    if header is not None:
        return header
    height, width = decode_image(value, where=where).shape[-2:]
    return (height, width), 1


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
    if not isinstance(value, ARRAYS):
        image = open_image(value, where=where)
        value = np.array(image.convert("RGBA") if colors or image.mode == "LA" else image)
    array = plane_of(value, where=where)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == array.round()).all():
        array = array.astype(np.int64)
    if array.ndim == 3 and array.shape[-1] == 4 and _is_in_alpha(array):
        raise ValueError(
            f"The label in {where} must hold its classes in gray values or colours, got an image of one "
            "colour in which only the transparency tells its pixels apart; save that as a gray image."
        )
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


def _is_in_alpha(array: np.ndarray[Any, Any]) -> bool:
    colors, alpha = array[..., :3], array[..., 3]
    return bool((colors == colors[0, 0]).all()) and not bool((alpha == alpha[0, 0]).all())


def palette_of(value: Any, *, where: str) -> dict[int, str]:
    """Return the colours of the indices that a palette image uses; empty if there is no such image."""
    if isinstance(value, ARRAYS) or value is None:
        return {}
    image = open_image(value, where=where)
    if image.mode != "P":
        return {}
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(np.array(image).ravel()))
    return {
        int(index): "#{:02x}{:02x}{:02x}".format(*palette[index]) for index in used if index < len(palette)
    }


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
    path, _ = file_of(value)
    if path is not None and path.lower().endswith(".npy") and os.path.isfile(path):
        try:
            value = np.load(path, allow_pickle=False)
        except (ValueError, OSError) as error:
            raise bad_image(error, where=where) from error
    if not isinstance(value, ARRAYS):
        value = open_image(value, where=where)
        value = value.convert("RGBA") if value.mode in ("P", "PA") else value
    array = plane_of(value, where=where)
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


def _gray_from_sixteen_bit(image: PIL.Image.Image, *, where: str) -> Tensor:
    """Return a gray file of 16 bits per pixel as (1, H, W) in [0, 1]."""
    array = np.array(image)
    if image.mode == "F" or array.min() < 0 or array.max() > _SIXTEEN_BIT:
        raise ValueError(
            f"The image in {where} must have 8 or 16 bits per channel, got mode {image.mode} with values "
            f"from {array.min()} to {array.max()}; save it as 8-bit RGB."
        )
    return torch.from_numpy(array.astype(np.float32))[None].div_(_SIXTEEN_BIT)
