"""What stands beside a photo is turned as the photo is: boxes and maps by the orientation tag of a camera.

The tag says how the stored pixels become the image that is shown: 1 as they are, 2 mirrored, 3 turned by 180
degrees, 4 upside down, 5 to 8 with height and width swapped.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SIDEWAYS = (5, 6, 7, 8)
# Of the stored axes, before they are swapped.
_FLIPS_X, _FLIPS_Y = (2, 3, 7, 8), (3, 4, 6, 7)


def swapped(size: Sequence[int], orientation: int) -> tuple[int, int]:
    """Return the shown height and width of a stored image, or the stored ones of a shown image."""
    height, width = size
    return (width, height) if orientation in SIDEWAYS else (height, width)


def turned_boxes(corners: Tensor, orientation: int, stored: Sequence[int]) -> Tensor:
    """Return boxes (N, 4), corners in pixels of an image stored with height and width, as it is shown."""
    height, width = stored
    x, y = corners[:, 0::2], corners[:, 1::2]
    x = (width - x).flip(-1) if orientation in _FLIPS_X else x
    y = (height - y).flip(-1) if orientation in _FLIPS_Y else y
    axes = [y, x] if orientation in SIDEWAYS else [x, y]
    return torch.stack(axes, dim=-1).flatten(1)


def turned_map(values: Tensor, orientation: int) -> Tensor:
    """Return a stored map (H, W) as it is shown."""
    flipped = [axis for axis, flips in ((-1, _FLIPS_X), (-2, _FLIPS_Y)) if orientation in flips]
    values = values.flip(flipped)
    return values.mT if orientation in SIDEWAYS else values


def upright_map(values: Tensor, orientation: int, shown: Sequence[int], *, kind: str, where: str) -> Tensor:
    """Return the map (H, W) of a photo, whose file has no tag of its own, as the photo is shown.

    Where a photo lies on its side, the size of the map tells whether it was made of the stored photo or of
    the shown one. A map of neither size stays as it is.

    Args:
        values: the map.
        orientation: the tag of the photo, not 1.
        shown: height and width of the shown photo.
        kind: what an error calls the map.
        where: what an error calls the row.

    Raises:
        ValueError: if the size cannot tell, because it is square or the tag swaps no sides.
    """
    stored = swapped(shown, orientation)
    if stored != tuple(shown):
        return turned_map(values, orientation) if values.shape == stored else values
    if values.shape == stored:
        raise ValueError(
            f"The {kind} in {where} must show whether it is turned as its photo is, got no orientation tag "
            f"and a size that fits both ways, {stored[0]} x {stored[1]}, beside a photo with tag "
            f"{orientation}; save the photo as it is shown (`PIL.ImageOps.exif_transpose`) if the {kind} "
            "belongs to that, and otherwise without its tag."
        )
    return values
