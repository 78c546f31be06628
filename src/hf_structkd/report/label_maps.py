"""Draws maps of class ids beside the image and the label into one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ._figure import add_legend_below, save
from ._palette import class_palette
from ._pictures import PictureRow, checked_images, image_grid, stripes, stripes_patch

IGNORED = ((0, 0, 0), (150, 150, 150))
_TITLE = "mean IoU: on this picture, over the classes in its {} or the prediction"


def plot_label_maps(
    rows: Sequence[PictureRow[ArrayLike]],
    path: Path,
    *,
    class_names: Sequence[str],
    ignore_index: int = 255,
    truth: str | None = None,
) -> None:
    """Draw a row for each picture: image, label, and every prediction with its mean IoU on that picture.

    The mean IoU of a picture is taken over the classes that its label or the prediction contains, without
    ignored pixels. The label shows ignored pixels as stripes; predictions are drawn there too.

    Args:
        rows: The pictures; all must have predictions of the same models in the same order. Truth and
            predictions are (H, W) class ids; the truth may also hold `ignore_index`.
        path: File to write. Missing folders are created, an existing file is replaced.
        class_names: Name of each class id, at most 256; the legend shows the classes that occur.
        ignore_index: Label of the pixels that are not scored.
        truth: Title of the labels, where they are none; None is "label".

    Raises:
        ValueError: If there are no rows or no predictions, rows differ in their predictions, an image leaves
            its range, or there are more than 256 classes.

    Example:
        >>> row = PictureRow(image, label, {"distilled": by_student})  # doctest: +SKIP
        >>> plot_label_maps([row], Path("predictions.png"), class_names=names)  # doctest: +SKIP
    """
    colours = class_palette(len(class_names))
    pictures, captions = [], []
    shown: set[int] = set()
    has_ignored = False
    for image, row in zip(checked_images(rows), rows, strict=True):
        label = np.asarray(row.truth)
        predictions = [np.asarray(ids) for ids in row.predictions.values()]
        valid = label != ignore_index
        classes = colours[np.where(valid, label, 0)]
        painted = np.where(valid[..., None], classes, stripes(label.shape, IGNORED))
        pictures.append([image, painted, *(colours[ids] for ids in predictions)])
        captions.append(["", "", *(_caption(label[valid], ids[valid]) for ids in predictions)])
        shown |= {int(i) for ids in (label[valid], *predictions) for i in np.unique(ids)}
        has_ignored |= not valid.all()
    titles = ["image", truth or "label", *rows[0].predictions]
    figure = image_grid(pictures, column_titles=titles, captions=captions)
    handles = [Patch(facecolor=tuple(colours[i] / 255), label=class_names[i]) for i in sorted(shown)]
    if has_ignored:
        handles.append(stripes_patch(IGNORED, "ignored, not scored"))
    add_legend_below(figure, handles, _TITLE.format(truth or "label"))
    save(figure, path)


def _caption(label: NDArray[np.int64], prediction: NDArray[np.int64]) -> str:
    sides = [(label == c, prediction == c) for c in np.union1d(label, prediction)]
    if not sides:
        return "mean IoU n/a (all ignored)"
    return f"mean IoU {np.mean([(true & found).sum() / (true | found).sum() for true, found in sides]):.2f}"
