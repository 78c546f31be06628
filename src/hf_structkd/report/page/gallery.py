"""The pictures of the page: which validation images are shown, and at what size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._pictures import PictureRow
from ..boxes import Boxes

MOST_SCORED = 64
"""So many validation images are scored one by one."""
_SHOWN = 12
# Longer sides are shrunk to so many pixels, so that the whole page stays small.
_LONGEST_SIDE = 384

BOX_WIDTH = 384
"""Width of every picture in the units of its boxes; about that of a picture on the screen."""

Range = tuple[float, float]
"""The two ends of a range of the truth."""


class Shot(NamedTuple):
    """One validation image that was scored by itself.

    Attributes:
        place: Its index in the validation data.
        row: The image, its label and the predictions, shrunk; None from a task that shows none.
        scores: Name of the model -> its score on this image; NaN where nothing is scored.
        ranges: Name of the model -> range of the truth -> sum of the errors in it, and number of pixels.
        truth: Title of the labels where they are none, for example "teacher"; None for labels.
    """

    place: int
    row: PictureRow[Any] | None
    scores: Mapping[str, float]
    ranges: Mapping[str, Mapping[Range, tuple[float, float]]]
    truth: str | None = None


class ShownBox(NamedTuple):
    """A box over a picture that is `BOX_WIDTH` wide, with its colours as CSS."""

    left: float
    top: float
    width: float
    height: float
    colour: str
    dashes: str
    text: str
    text_colour: str


class Layer(NamedTuple):
    """What lies over an image when its title is chosen: a picture as a data URI, boxes, or nothing.

    Attributes:
        title: What the layer is.
        picture: The picture over the image.
        boxes: The boxes over it.
        error: A further picture, below the image: where the layer is wrong.
    """

    title: str
    picture: str = ""
    boxes: Sequence[ShownBox] = ()
    error: str = ""


class ColourScale(NamedTuple):
    """A bar that says which value a colour stands for.

    Attributes:
        title: What the values are, with their unit.
        colours: CSS colours at equal distances, from the lowest value to the highest.
        ticks: Text of some values, and how far from the low end they stand, in percent.
    """

    title: str
    colours: Sequence[str]
    ticks: Sequence[tuple[str, float]]


class Picture(NamedTuple):
    """An image as a data URI, its size in pixels, and the layers; the first layer is empty."""

    image: str
    width: int
    height: int
    layers: Sequence[Layer]


class Gallery(NamedTuple):
    """The pictures of the page.

    Attributes:
        pictures: The pictures; all have layers of the same titles.
        legend: Name and CSS background of each colour in them.
        scales: The scales of colours that stand for values.
        note: What a reader must know of them.
        blends: Whether the colours still say the same when the image shines through them.
    """

    pictures: Sequence[Picture] = ()
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""
    blends: bool = False
    scales: Sequence[ColourScale] = ()


class Picked(NamedTuple):
    """The shots to show, how many there were, and every model's mean error in each range over all of them."""

    shots: list[Shot]
    scored: int
    ranges: dict[str, dict[Range, float]]


def pick(shots: Iterable[Shot], gain: Callable[[Mapping[str, float]], float]) -> Picked:
    """Return the shots of most and of least gain, best first; those without a score come last.

    Args:
        shots: All shots; they are read once, and few are kept in memory.
        gain: Says from the scores of an image how much was gained on it; NaN is no answer.
    """
    kept: list[Shot] = []
    others: list[Shot] = []
    sums: dict[str, dict[Range, NDArray[np.float64]]] = {}
    count = 0
    for count, shot in enumerate(shots, start=1):  # noqa: B007 - read after the loop
        for model, ranges in shot.ranges.items():
            of_model = sums.setdefault(model, {})
            for one, pair in ranges.items():
                of_model[one] = of_model.get(one, 0) + np.array(pair)
        if math.isnan(gain(shot.scores)):
            others = [*others, shot][:_SHOWN]
            continue
        kept.append(shot)
        kept.sort(key=lambda one: gain(one.scores), reverse=True)
        if len(kept) > _SHOWN:
            del kept[_SHOWN // 2]
    means = {
        model: {one: float(error / pixels) for one, (error, pixels) in ranges.items()}
        for model, ranges in sums.items()
    }
    return Picked([*kept, *others][:_SHOWN], count, means)


def shrunk(row: PictureRow[Any]) -> PictureRow[Any]:
    """Return a row whose sides have at most 384 pixels; maps take the nearest pixel."""
    image = np.asarray(row.image)
    height, width = image.shape[:2]
    share = min(1.0, _LONGEST_SIDE / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    if size == (height, width):
        return row
    small = Image.fromarray(np.rint(255 * image.clip(0, 1)).astype(np.uint8)).resize(size[::-1])
    return replace(
        row,
        image=np.asarray(small) / 255,
        truth=_shrunk(row.truth, (height, width), size),
        predictions={name: _shrunk(one, (height, width), size) for name, one in row.predictions.items()},
    )


def _shrunk(content: Any, old: tuple[int, int], new: tuple[int, int]) -> Any:
    if isinstance(content, Boxes):
        scale = np.array([new[1] / old[1], new[0] / old[0]] * 2)
        return replace(content, corners=np.asarray(content.corners, dtype=np.float64) * scale)
    rows, columns = (((np.arange(n) + 0.5) * o / n).astype(int) for o, n in zip(old, new, strict=True))
    return np.asarray(content)[rows][:, columns]
