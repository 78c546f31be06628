"""How every figure of the report is opened and written."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Nine inches at 200 pixels an inch: drawn at half size in a README, and still sharp there.
PAGE_WIDTH = 9.0
_PIXELS_PER_INCH = 200


def new_figure(width: float, height: float) -> Figure:
    """A figure on its own Agg canvas, sized in inches: neither pyplot nor the chosen backend is touched."""
    figure = Figure(figsize=(width, height), dpi=_PIXELS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, making missing folders and replacing an existing file.

    Raises:
        ValueError: if `path` does not end in `.png`.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"`path` must end in .png, got {path.name!r}; only PNG is written, so rename the file."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=_PIXELS_PER_INCH)
    return path
