"""The ways in which a box is written as four numbers, and how the numbers themselves show the right one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ..losses.boxes import box_corners

logger = logging.getLogger(__name__)

BoxFormat = Literal["xywh", "xyxy", "cxcywh", "normalized_xywh", "normalized_xyxy", "normalized_cxcywh"]

_NORMALIZED = "normalized_"
# A few boxes of any dataset are wrong, so that fewer than these are no evidence of another format; of a whole
# dataset that is smaller, it takes two.
_FEWEST = 5
# Unless another format fits them all: then three tell it, whose share of the boxes is no accident.
_SEVERAL, _SHARE = 3, 0.01
# So many boxes do not all lie in such a part of the sides by chance.
_MANY, _PART = 20, 0.6
_Y_FIRST = "y first"


class Written(NamedTuple):
    """Boxes as they are written, before anything is done with them."""

    numbers: Tensor  # (N, 4) float64
    sizes: Tensor  # (N, 2) float64, height and width of the image that each is written for, in pixels
    shown: Tensor  # (N, 2) float64, height and width of the image that is read
    places: list[str]  # what an error calls the place of each

    @classmethod
    def of(cls, numbers: Tensor, size: Sequence[int], shown: Sequence[int], where: str) -> Written:
        """Return the boxes (N, 4) of one image, written for that of ``size`` and read with that ``shown``."""
        written, read = (numbers.new_tensor([*one]).expand(len(numbers), 2) for one in (size, shown))
        return cls(numbers, written, read, [where] * len(numbers))

    @classmethod
    def joined(cls, parts: Sequence[Written]) -> Written:
        """Return the boxes of several images, at least one."""
        numbers, sizes, shown, places = zip(*parts, strict=True)
        joined = [place for part in places for place in part]
        return cls(torch.cat(numbers), torch.cat(sizes), torch.cat(shown), joined)


def corners_from(numbers: Tensor, bbox_format: BoxFormat, size: Tensor) -> Tensor:
    """Return the corners x1, y1, x2, y2 in pixels of boxes (N, 4) that are written in a format.

    Args:
        numbers: the boxes as written.
        bbox_format: how they are written.
        size: height and width of the image in pixels, (2,), or (N, 2) with one for each box.
    """
    kind = bbox_format.removeprefix(_NORMALIZED)
    if is_normalized(bbox_format):
        numbers = numbers * _limits(size)
    if kind == "xywh":
        return torch.cat([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]], dim=1)
    return box_corners(numbers) if kind == "cxcywh" else numbers


def is_normalized(bbox_format: BoxFormat) -> bool:
    """Tell whether boxes are written in shares of the image's sides."""
    return bbox_format.startswith(_NORMALIZED)


def fits(corners: Tensor, size: Tensor) -> Tensor:
    """Tell which boxes (N, 4) lie in their image and have sides of a pixel or more, (N,) bool.

    An overhang of one pixel and one per cent of the image's side counts as rounding.
    """
    limits = _limits(size)
    slack = 1 + 0.01 * limits
    inside = ((corners >= -slack) & (corners <= limits + slack)).all(dim=1)
    # Rounding to two decimals must not turn a pixel into less.
    return inside & (corners[:, 2:] - corners[:, :2] >= 0.99).all(dim=1)


def check_format(written: Written, bbox_format: BoxFormat, *, name: str, complete: bool) -> None:
    """Refuse a format that the boxes contradict.

    A box contradicts a format in which it lies past the border, is below a pixel or has swapped corners. If
    another format has at most a tenth of the contradictions, the format is refused for those of more than
    half of the boxes, or of at least 1 % and three of them: small boxes whose centres are read as corners
    show it only near the border. If no other format fits, it takes more than half of the boxes and ten of
    them.

    Args:
        written: the boxes; those that are not finite do not count.
        bbox_format: the format in which they are to be read.
        name: what an error calls the dataset.
        complete: whether these are all boxes of a dataset, of which two must contradict, or only a part,
            such as the first rows of a stream, of which five must; where none in pixels exceeds 1, one does.

    Raises:
        ValueError: if the format is refused; the message names the formats that fit best.
    """
    finite = written.numbers.isfinite().all(dim=1)
    numbers, sizes = written.numbers[finite], written.sizes[finite]
    _check_reach(numbers, sizes, bbox_format, name=name)
    fitting = {one: fits(corners_from(numbers, one, sizes), sizes) for one in get_args(BoxFormat)}
    count, wrong = len(numbers), ~fitting.pop(bbox_format)
    fitting[_Y_FIRST] = fits(corners_from(numbers[:, [1, 0, 3, 2]], bbox_format, sizes), sizes)
    bad = int(wrong.sum())
    are_shares = not is_normalized(bbox_format) and bool((numbers <= 1).all())
    needed = 1 if are_shares else 2 if complete else _FEWEST
    if bad < needed:
        return
    left: dict[str, int] = {one: count - int(fit.sum()) for one, fit in fitting.items()}
    best = [one for one, misfits in left.items() if misfits == min(left.values())]
    best = [one for one in best if one != _Y_FIRST] or best
    fewest = left[best[0]]
    is_better = 10 * fewest <= bad
    most, several = 2 * bad > count, bad >= max(_SEVERAL, _SHARE * count)
    if not (most or several if is_better else most and bad >= 2 * _FEWEST):
        return
    index = int(wrong.nonzero()[0])
    place = [place for place, is_finite in zip(written.places, finite.tolist(), strict=True) if is_finite]
    height, width = sizes[index].long().tolist()
    advice = (
        f"pass bbox_format={' or '.join(map(repr, best))}, in which {count - fewest} fit"
        if is_better
        else "no other format fits them, so compare the boxes with the size of their images"
    )
    if is_better and best == [_Y_FIRST]:
        advice = f"write x before y, the width before the height, with which {count - fewest} fit"
    raise ValueError(
        f"`bbox_format` must be the format in which the boxes are written, got {bbox_format!r}, in which "
        f"{bad} of {count} boxes of {name} lie past the border, are below a pixel or have swapped corners, "
        f"the first {numbers[index].tolist()} in {place[index]} for an image of {height} x {width} pixels "
        f"(height, width); {advice}."
    )


def _check_reach(numbers: Tensor, sizes: Tensor, bbox_format: BoxFormat, *, name: str) -> None:
    """Refuse shares of 100 or 1000 that are read as pixels, and warn of boxes of a smaller copy.

    Real boxes do not all lie in the upper left part of their images.
    """
    if is_normalized(bbox_format) or len(numbers) < _MANY or bool((numbers <= 1).all()):
        return
    corners, limits = corners_from(numbers, bbox_format, sizes), _limits(sizes)
    if bool((corners < 0).any()) or bool((corners > _PART * limits).any()):
        return
    for whole in (100, 1000):
        if whole / 2 < float(numbers.max()) <= whole and bool((sizes > whole).all()):
            raise ValueError(
                f"`bbox_format` {bbox_format!r} must be in pixels, got {len(numbers)} boxes of {name} that "
                "all lie in the upper left part of their images, with numbers up to "
                f"{float(numbers.max()):g}, as shares of {whole} do; divide them by {whole} and pass "
                f"bbox_format='normalized_{bbox_format}'."
            )
    logger.warning(
        "%s: all %d boxes lie in the upper left part of their images, up to %.0f %% of the sides: were they "
        "written for a smaller copy?",
        *(name, len(numbers), 100 * float((corners / limits).max())),
    )


def _limits(size: Tensor) -> Tensor:
    """Return width, height, width, height of sizes (..., 2)."""
    return size.flip(-1).repeat(*[1] * (size.dim() - 1), 2)
