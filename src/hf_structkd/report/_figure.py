"""Opens, explains and writes every figure of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

# Nine inches at 200 pixels an inch are 1800 pixels: a README shows them at half size, and they stay sharp.
PAGE_WIDTH = 9.0
_PIXELS_PER_INCH = 200
_LEGEND_COLUMNS = 6
# This gap between the pictures and the legend is in inches.
_LEGEND_GAP = 0.2


def new_figure(width: float, height: float) -> Figure:
    """Open a figure of a size in inches on its own Agg canvas; pyplot and the backend stay as they are."""
    figure = Figure(figsize=(width, height), dpi=_PIXELS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_legend(figure: Figure, handles: Sequence[Artist], **options: Any) -> Legend:
    """Add a legend that shows the labels of the handles as they are written."""
    legend = figure.legend(handles=handles, frameon=False, **options)
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        text.set_text(str(handle.get_label()))
    for text in [legend.get_title(), *legend.get_texts()]:
        text.set_parse_math(False)
    return legend


def add_legend_below(figure: Figure, handles: Sequence[Artist], title: str) -> None:
    """Add a legend below the figure, in as many columns as fit; the figure grows by its height."""
    style = {"loc": "outside lower center", "title": title, "title_fontsize": 9, "fontsize": 9}
    for columns in range(min(_LEGEND_COLUMNS, len(handles)) or 1, 0, -1):
        legend = add_legend(figure, handles, ncols=columns, handlelength=3, **style)
        legend.get_title().set_multialignment("center")
        size = legend.get_window_extent()
        if columns == 1 or size.width <= figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + size.height / figure.dpi + _LEGEND_GAP)


def tidy(axes: Axes, grid: Literal["x", "both"]) -> None:
    """Draw a faint grid behind the data, and remove the frame above and to the right of it."""
    axes.tick_params(labelsize=8.5)
    axes.grid(visible=True, axis=grid, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; create missing folders and replace an existing file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=_PIXELS_PER_INCH)
