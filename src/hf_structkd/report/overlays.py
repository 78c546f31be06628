"""Paints what a model predicts over the picture, pixel for pixel, with a legend below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray

from ._palette import class_palette, linear_rgb
from .boxes import Boxes

Rgb = tuple[int, int, int]
Picture = NDArray[np.uint8]

_OPACITY = 0.55
_DEPTH_PERCENTILES = (1, 99)
_LINES_OF_VIDEO = 2
# Above this relative luminance (WCAG 2), black contrasts more than white.
_BRIGHT = 0.179
_PALETTE = 256


class Overlay(NamedTuple):
    """A painted picture.

    Attributes:
        picture: (H, W, 3).
        legend: What its colours mean, the most frequent first.
    """

    picture: Picture
    legend: Sequence[tuple[str, Rgb]]


def label_overlay(image: Picture, ids: ArrayLike, class_names: Sequence[str]) -> Overlay:
    """Paint class ids over a picture.

    Args:
        image: (H, W, 3).
        ids: (H, W) class ids.
        class_names: Name of each class id.
    """
    colours, found = class_palette(_PALETTE), np.asarray(ids)
    painted = (1 - _OPACITY) * image + _OPACITY * colours[found % _PALETTE]
    shown, counts = np.unique(found, return_counts=True)
    order = shown[np.argsort(-counts, kind="stable")]
    legend = [(class_names[index], _rgb(colours[index % _PALETTE])) for index in order]
    return Overlay(np.rint(painted).astype(np.uint8), legend)


def depth_overlay(image: Picture, depth: ArrayLike, *, near_is_low: bool, unit: str) -> Overlay:
    """Put a depth map beside the picture; a mixture of both could not be read. Bright is near.

    Args:
        image: (H, W, 3).
        depth: (H, W).
        near_is_low: Whether low values are near, as metres are; inverse depth is high there.
        unit: Stands behind the values in the legend.
    """
    values = np.asarray(depth, dtype=np.float64)
    low, high = np.percentile(values[np.isfinite(values)], _DEPTH_PERCENTILES)
    colours = colormaps["viridis_r" if near_is_low else "viridis"]
    span = max(high - low, 1e-9)
    painted = colours(((values - low) / span).clip(0, 1), bytes=True)[..., :3]
    steps = np.linspace(0, 1, 5)
    legend = [
        (
            f"{low + share * span:.3g}{unit}",
            _rgb(np.asarray(colours(float(share), bytes=True), dtype=np.uint8)[:3]),
        )
        for share in steps
    ]
    return Overlay(np.concatenate([image, painted], axis=1), legend)


def box_overlay(
    image: Picture, boxes: Boxes, class_names: Mapping[int, str], *, score_threshold: float
) -> Overlay:
    """Draw the boxes of a score of at least `score_threshold` on a picture, the surest last.

    Args:
        image: (H, W, 3).
        boxes: Corners in pixels of the picture, with scores.
        class_names: Name of each class id.
        score_threshold: Lowest score that is drawn.
    """
    corners, labels = np.asarray(boxes.corners, dtype=np.float64), np.asarray(boxes.labels)
    scores = np.asarray(boxes.scores, dtype=np.float64)
    canvas = PIL.Image.fromarray(image)
    pen, font, width = PIL.ImageDraw.Draw(canvas), _font(image.shape[1]), max(2, image.shape[1] // 300)
    colours = class_palette(_PALETTE)
    drawn = [index for index in np.argsort(scores, kind="stable") if scores[index] >= score_threshold]
    for index in drawn:
        label = int(labels[index])
        colour = _rgb(colours[label % _PALETTE])
        left, top, right, bottom = _inside(corners[index], image.shape)
        pen.rectangle((left, top, right, bottom), outline=colour, width=width)
        _write(pen, font, f"{class_names[label]} {scores[index]:.2f}", (left, top), colour, image.shape)
    shown, counts = np.unique(labels[drawn], return_counts=True)
    order = shown[np.argsort(-counts, kind="stable")]
    legend = [(class_names[int(index)], _rgb(colours[index % _PALETTE])) for index in order]
    return Overlay(
        np.asarray(canvas), legend or [(f"nothing of a score of {score_threshold:g}", (90, 90, 90))]
    )


def with_legend(overlay: Overlay, *, of_video: bool = False) -> Picture:
    """Return the picture with the legend below it, as (H', W, 3).

    Args:
        overlay: The painted picture.
        of_video: Whether the legend has a fixed height, and even sides, as frames need them; what has no
            room is left out.
    """
    width = overlay.picture.shape[1]
    font, legend = _font(width), overlay.legend
    gap = font.size * 0.5
    places, line, left = [], 0, gap
    for text, colour in legend:
        room = font.size + gap + font.getlength(text)
        if left > gap and left + room > width - gap:
            line, left = line + 1, gap
        places.append((line, left, text, colour))
        left += room + 2 * gap
    lines = _LINES_OF_VIDEO if of_video else line + 1
    step = round(1.5 * font.size)
    strip = PIL.Image.new("RGB", (width, lines * step + round(gap)), "white")
    pen = PIL.ImageDraw.Draw(strip)
    for row, left, text, colour in places:
        top = round(gap / 2) + row * step
        pen.rectangle((left, top, left + font.size, top + font.size), fill=colour, outline=(90, 90, 90))
        pen.text((left + font.size + gap, top + font.size / 2), text, fill="black", font=font, anchor="lm")
    painted = np.concatenate([overlay.picture, np.asarray(strip)])
    return painted[: painted.shape[0] // 2 * 2, : width // 2 * 2] if of_video else painted


def _font(width: int) -> PIL.ImageFont.FreeTypeFont:
    font = PIL.ImageFont.load_default(size=max(11, min(32, width // 45)))
    assert isinstance(font, PIL.ImageFont.FreeTypeFont)
    return font


def _write(
    pen: PIL.ImageDraw.ImageDraw,
    font: PIL.ImageFont.FreeTypeFont,
    text: str,
    corner: tuple[float, float],
    colour: Rgb,
    shape: tuple[int, ...],
) -> None:
    """Write a label above a box's upper left corner or, at the edge of the picture, inside it."""
    width, height = font.getlength(text) + 4, 1.25 * font.size
    left = max(0.0, min(corner[0], shape[1] - width))
    top = corner[1] - height if corner[1] >= height else corner[1]
    luminance = float(np.dot(linear_rgb(np.array(colour)), (0.2126, 0.7152, 0.0722)))
    pen.rectangle((left, top, left + width, top + height), fill=colour)
    ink = "black" if luminance > _BRIGHT else "white"
    pen.text((left + 2, top + height / 2), text, fill=ink, font=font, anchor="lm")


def _inside(corners: NDArray[np.float64], shape: tuple[int, ...]) -> list[float]:
    """Return a box cut at the edges of its picture, at least a pixel wide and high."""
    left, top, right, bottom = corners.clip(0, (shape[1] - 1, shape[0] - 1) * 2).tolist()
    return [left, top, max(left, right), max(top, bottom)]


def _rgb(colour: NDArray[np.uint8]) -> Rgb:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue
