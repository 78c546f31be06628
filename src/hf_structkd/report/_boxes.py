"""Draws boxes and their labels on a picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from ._palette import class_palette, linear_rgb

# The first 25 colours of the palette lie far apart, and the first six classes differ in their dashes, so that
# a reader who sees no colour tells them apart. 25 and 6 share no factor: a pair comes back after 150 classes.
_COLOURS = 25
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (4, 2),
    (1.6, 1.2),
    (6, 1.5, 1.5, 1.5),
    (9, 2),
    (5, 1.2, 1.4, 1.2, 1.4, 1.2),
)
# These lengths are in points.
_LINE_WIDTH = 1.3
_HALO_WIDTH = 2.3
_LABEL_SIZE = 6.5
_LABEL_PADDING = 0.8
_POINTS_PER_INCH = 72
# A label shows so many letters of a class name; the legend shows the whole name.
_LONGEST_NAME = 16
# Above this relative luminance (WCAG 2), black contrasts more than white.
_BRIGHT = 0.179


class DrawnBox(NamedTuple):
    """A box that lies inside its picture.

    Attributes:
        corners: (left, top, right, bottom) in pixels of the picture.
        label: Class id.
        score: Score of a prediction, 0 to 1; None for the ground truth.
    """

    corners: tuple[float, float, float, float]
    label: int
    score: float | None


@dataclass(frozen=True)
class BoxStyle:
    """The look of the boxes and labels of one class."""

    name: str
    colour: tuple[float, float, float]
    dashes: tuple[float, ...]

    @property
    def line(self) -> dict[str, Any]:
        """Return matplotlib's options of a line; a solid black line under it makes it visible everywhere."""
        halo = Stroke(linewidth=_HALO_WIDTH, foreground="black", dashes={"dash_offset": 0, "dash_list": None})
        dashes = (0, self.dashes) if self.dashes else "solid"
        return {"linestyle": dashes, "linewidth": _LINE_WIDTH, "path_effects": [halo, Normal()]}

    @property
    def text_colour(self) -> str:
        """Return black or white, whichever is easier to read on the colour."""
        luminance = linear_rgb(255 * np.array(self.colour)) @ (0.2126, 0.7152, 0.0722)
        return "black" if luminance > _BRIGHT else "white"

    def wordings(self, score: float | None) -> list[str]:
        """Return the texts that a label may have, the preferred one first."""
        name = self.name
        if len(name) > _LONGEST_NAME:
            name = f"{name[: _LONGEST_NAME - 1].rstrip()}…"
        return [name] if score is None else [f"{name} {score:.2f}", f"{score:.2f}"]


def box_styles(labels: Collection[int], class_names: Sequence[str]) -> dict[int, BoxStyle]:
    """Return a look for each class id of one figure; those of the smallest ids are easiest to tell apart."""
    looks = zip(cycle((class_palette(_COLOURS) / 255).tolist()), cycle(_DASHES), strict=False)
    return {
        label: BoxStyle(class_names[label], tuple(colour), dashes)
        for label, (colour, dashes) in zip(sorted(labels), looks, strict=False)
    }


def draw_boxes(axes: Axes, boxes: Sequence[DrawnBox], styles: Mapping[int, BoxStyle]) -> None:
    """Draw boxes and labels on a picture of final size; the first box lies on top and is labelled first."""
    for box in reversed(boxes):
        left, top, right, bottom = (value - 0.5 for value in box.corners)  # pixel 0 is drawn around 0
        style = styles[box.label]
        look: dict[str, Any] = {"edgecolor": style.colour, "clip_on": False, "in_layout": False, **style.line}
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **look))
    taken = np.empty((0, 4))
    for box in boxes:
        place = _draw_label(axes, box, styles[box.label], taken)
        if place is not None:
            taken = np.vstack([taken, place])


def _draw_label(
    axes: Axes, box: DrawnBox, style: BoxStyle, taken: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Write the label where it hides none of the (M, 4) taken places; return its place, or None without one.

    A place is (left, lower, right, upper) in pixels of the figure.
    """
    label = axes.text(
        0,
        0,
        "",
        fontsize=_LABEL_SIZE,
        color=style.text_colour,
        parse_math=False,
        horizontalalignment="left",
        verticalalignment="bottom",
        bbox={"facecolor": style.colour, "edgecolor": "none", "pad": _LABEL_PADDING},
        in_layout=False,
    )
    point = axes.figure.dpi / _POINTS_PER_INCH
    (left, top), (right, bottom) = axes.transData.transform(np.reshape(box.corners, (2, 2)) - 0.5)
    for wording in style.wordings(box.score):
        label.set_text(wording)
        size = label.get_window_extent().padded(_LABEL_PADDING * point).size
        edge = _HALO_WIDTH / 2 * point
        ends = Bbox.from_extents(left, bottom, right, top)
        place = _free_place(size, ends, edge, axes.get_window_extent(), taken)
        if place is not None:
            x, y = axes.transData.inverted().transform(place[:2] + _LABEL_PADDING * point)
            label.set_position((float(x), float(y)))
            return place
    label.remove()
    return None


def _free_place(
    size: tuple[float, float], box: Bbox, edge: float, frame: Bbox, taken: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the first place above, in or below the box that is in the frame and overlaps no taken place."""
    width, height = size
    if width > frame.width:
        return None
    bottoms = (box.y1 + edge, box.y1 - height, box.y0 - edge - height, box.y0)
    lefts = np.clip((box.x0, box.x1 - width, (box.x0 + box.x1 - width) / 2), frame.x0, frame.x1 - width)
    places = np.array([(left, low, left + width, low + height) for low in bottoms for left in lefts])
    inside = (places[:, 1] >= frame.y0) & (places[:, 3] <= frame.y1)
    lower, upper = places[:, None, :2], places[:, None, 2:]
    apart = np.any((lower >= taken[:, 2:]) | (upper <= taken[:, :2]), axis=2)  # (places, taken)
    free = np.flatnonzero(inside & apart.all(axis=1))
    return places[free[0]] if free.size else None
