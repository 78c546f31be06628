"""The legend of classes below a figure of predictions: in as many columns as its names leave room for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from ._figure import PAGE_WIDTH

_COLUMNS = 6
# Inches: a line of the legend, an entry in it, each letter of the entry.
_LINE = 0.19
_ENTRY = 0.7
_LETTER = 0.075


def legend_height(handles: Sequence[Artist], title: str) -> float:
    """Inches to leave below the pictures for `draw_legend` of the same handles and title."""
    lines = math.ceil(len(handles) / _columns(handles)) + len(title.splitlines())
    return _LINE * (lines + 1)


def draw_legend(figure: Figure, handles: Sequence[Artist], title: str) -> None:
    """Explain the handles, which carry their labels, at the bottom of the figure, below a title."""
    legend = figure.legend(
        handles=handles,
        title=title,
        title_fontsize=9,
        loc="outside lower center",
        ncols=_columns(handles),
        frameon=False,
        fontsize=9,
        handlelength=3,
    )
    legend.get_title().set_multialignment("center")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _columns(handles: Sequence[Artist]) -> int:
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, min(_COLUMNS, int(PAGE_WIDTH / (_ENTRY + _LETTER * longest))))
