"""Paints class maps, depth maps and boxes as the layers of the page's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from .._boxes import BoxStyle, DrawnBox, box_styles
from .._palette import class_palette
from .._pictures import PictureRow, checked_images, stripes
from ..boxes import Boxes, drawn_boxes
from ..depth_maps import GREYS, Scale, error_of, known_depth, scale_of_depth, scale_of_errors
from ..label_maps import IGNORED
from .encoding import flat_picture, photo
from .gallery import BOX_WIDTH, ColourScale, Gallery, Layer, Picture, ShownBox

# So many ticks at most, and colours between which a bar is blended.
_TICKS = 5
_COLOURS = 17


def class_gallery(
    rows: Sequence[PictureRow[ArrayLike]],
    *,
    class_names: Sequence[str],
    ignore_index: int,
    truth: str | None = None,
) -> Gallery:
    """Paint maps of class ids; the arguments are those of `plot_label_maps`."""
    colours = class_palette(len(class_names))
    pictures, shown, own = [], set[int](), truth or "label"
    for image, row in zip(checked_images(rows), rows, strict=True):
        layers = [Layer("image")]
        for title, content in _contents(row, own):
            ids = np.asarray(content)
            valid = ids != ignore_index if title == own else np.ones_like(ids, dtype=bool)
            painted = np.where(
                valid[..., None], colours[np.where(valid, ids, 0)], stripes(ids.shape, IGNORED)
            )
            layers.append(Layer(title, flat_picture(painted)))
            shown |= {*np.unique(ids[valid]).tolist()} | ({-1} if not valid.all() else set())
        pictures.append(Picture(photo(image), image.shape[1], image.shape[0], layers))
    legend = [(class_names[i], _css(colours[i])) for i in sorted(shown) if i >= 0]
    if -1 in shown:
        legend.append(("ignored, not scored", _striped(IGNORED)))
    return Gallery(pictures, legend, blends=True)


def depth_gallery(
    rows: Sequence[PictureRow[ArrayLike]], *, truth: str | None = None, unit: str = "m"
) -> Gallery:
    """Paint depth maps on one scale, and their errors on another; the rows are those of `plot_depth_maps`.

    Args:
        rows: The pictures.
        truth: Title of the true depth, where it is none.
        unit: What a depth of 1 is; empty where nobody knows.
    """
    own = truth or "ground truth"
    titles = [title for title, _ in _contents(rows[0], own)]
    maps = [[known_depth(content) for _, content in _contents(row, "")] for row in rows]
    for true, *_ in maps:
        true[true <= 0] = np.nan
    errors = [[error_of(true, one) for one in found] for true, *found in maps]
    truths = np.concatenate([true.ravel() for true, *_ in maps])
    depths = np.concatenate([one.ravel() for of_row in maps for one in of_row])
    scale = scale_of_depth(truths, depths)
    span = scale.high - scale.low
    wrong = scale_of_errors(
        np.concatenate([one.ravel() for of_row in errors for one in of_row]), (span / 100, span)
    )
    pictures = []
    for image, of_row, of_errors in zip(checked_images(rows), maps, errors, strict=True):
        below = ["", *(photo(wrong.paint(one)) for one in of_errors)]
        painted = [
            Layer(title, photo(scale.paint(one)), error=error)
            for title, one, error in zip(titles, of_row, below, strict=True)
        ]
        pictures.append(Picture(photo(image), image.shape[1], image.shape[0], [Layer("image"), *painted]))
    of_unit = f" in {unit}" if unit else ", in units of its own"
    scales = [
        _colour_scale(scale, f"depth{of_unit} (bright is near)"),
        _colour_scale(wrong, f"error{of_unit}: |prediction − {own}| (dark is wrong)"),
    ]
    striped = [("unknown", _striped(GREYS))] if np.isnan(depths).any() else []
    note = (
        "Below each prediction stands its error. Values beyond a scale have the colour of its end. "
        "figures/predictions.png shows errors in percent of the depth."
    )
    return Gallery(pictures, striped, note, scales=scales)


def _colour_scale(scale: Scale, title: str) -> ColourScale:
    span = scale.high - scale.low
    ticks = MaxNLocator(_TICKS).tick_values(scale.low, scale.high)
    shown = [(f"{tick:.3g}", 100 * (tick - scale.low) / span) for tick in ticks]
    colours = scale.paint(np.linspace(scale.low, scale.high, _COLOURS)[None])[0]
    return ColourScale(title, [_css(one) for one in colours], [one for one in shown if 0 <= one[1] <= 100])


def box_gallery(
    rows: Sequence[PictureRow[Boxes]],
    *,
    class_names: Sequence[str],
    score_threshold: float,
    truth: str | None = None,
) -> Gallery:
    """Lay boxes over the images; the arguments are those of `plot_boxes`."""
    images = checked_images(rows)
    found = [
        [
            (title, drawn_boxes(boxes, image.shape[:2], score_threshold))
            for title, boxes in _contents(row, truth or "ground truth")
        ]
        for image, row in zip(images, rows, strict=True)
    ]
    labels = {box.label for of_row in found for _, boxes in of_row for box in boxes}
    styles = box_styles(labels, class_names)
    pictures = []
    for image, of_row in zip(images, found, strict=True):
        layers = [
            Layer(
                title,
                boxes=[_shown(box, styles[box.label], BOX_WIDTH / image.shape[1]) for box in reversed(boxes)],
            )
            for title, boxes in of_row
        ]
        pictures.append(Picture(photo(image), image.shape[1], image.shape[0], [Layer("image"), *layers]))
    legend = [(style.name, _css(255 * np.array(style.colour))) for style in styles.values()]
    return Gallery(pictures, legend, f"Drawn are detections with a score of at least {score_threshold:g}.")


def _contents(row: PictureRow[Any], truth: str) -> list[tuple[str, Any]]:
    return [(truth, row.truth), *row.predictions.items()]


def _shown(box: DrawnBox, style: BoxStyle, scale: float) -> ShownBox:
    left, top, right, bottom = (scale * corner for corner in box.corners)
    dashes = " ".join(f"{2 * length:g}" for length in style.dashes)
    colour = _css(255 * np.array(style.colour))
    text = style.wordings(box.score)[0]
    return ShownBox(left, top, right - left, bottom - top, colour, dashes, text, style.text_colour)


def _css(colour: NDArray[Any]) -> str:
    return "#" + "".join(f"{round(float(value)):02x}" for value in colour)


def _striped(colours: tuple[tuple[int, int, int], tuple[int, int, int]]) -> str:
    first, second = (_css(np.array(colour)) for colour in colours)
    return f"repeating-linear-gradient(45deg, {first} 0 4px, {second} 4px 8px)"
