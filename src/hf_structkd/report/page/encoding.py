"""Pictures as text inside the page."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MOST_COLOURS = 256
_JPEG_QUALITY = 85


def photo(rgb: NDArray[np.uint8]) -> str:
    """Return a picture (H, W, 3) as the data URI of a JPEG."""
    return _data_uri(Image.fromarray(rgb), "jpeg", quality=_JPEG_QUALITY)


def flat_picture(rgb: NDArray[np.uint8]) -> str:
    """Return a picture (H, W, 3) as the data URI of a PNG; up to 256 colours are stored as a palette."""
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    colours, places = np.unique(packed, return_inverse=True)
    if len(colours) > _MOST_COLOURS:
        return _data_uri(Image.fromarray(rgb), "png")
    image = Image.fromarray(places.reshape(packed.shape).astype(np.uint8), mode="L")
    image.putpalette(b"".join(int(colour).to_bytes(3, "big") for colour in colours))
    return _data_uri(image, "png")


def _data_uri(image: Image.Image, kind: str, **options: int) -> str:
    file = BytesIO()
    image.save(file, format=kind, optimize=True, **options)
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
