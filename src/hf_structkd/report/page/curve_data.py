"""The curves of the page as plain values, which its script draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._histories import Panel, y_axis

# A longer line keeps the lowest and the highest value of each of so many pieces.
_PIECES = 300


def curve_data(panels: Sequence[Panel], metric: str, teacher: float | None) -> list[dict[str, Any]]:
    """Return each panel as JSON values.

    Args:
        panels: The panels, see `build_panels`.
        metric: Key of the metric's panel, in which the teacher's score is drawn.
        teacher: The teacher's score, finite; None draws none.
    """
    return [_panel(panel, teacher if panel.key == metric else None, panel.key == metric) for panel in panels]


def _panel(panel: Panel, teacher: float | None, is_metric: bool) -> dict[str, Any]:
    lines = {name: line.replace(np.inf, np.nan) for name, line in panel.lines.items()}
    values = pd.concat([*lines.values(), pd.Series([teacher], dtype=float)]).dropna()
    low, high = float(values.min()), float(values.max())
    axis = y_axis(panel.key, low, high, is_metric=is_metric)
    margin = 0.06 * (high - low or abs(high) or 1.0)
    limits = axis.limits or ((low, high) if axis.is_log else (low - margin, high + margin))
    lost = {name: int(np.isinf(line).sum()) for name, line in panel.lines.items()}
    return {
        "title": panel.title,
        "axis": axis.label,
        "isLog": axis.is_log,
        "limits": None if values.empty else limits,
        "teacher": teacher,
        "lines": {name: _points(line) for name, line in lines.items()},
        "lost": ", ".join(f"{count} ({name})" for name, count in lost.items() if count),
    }


def _points(line: pd.Series) -> list[tuple[float, float | None]]:
    """Return (step, value) pairs, with None for a gap; a long line is thinned, its extremes and gaps stay."""
    steps, values = line.index.to_numpy(dtype=float), line.to_numpy(dtype=float)
    kept = set(range(len(values)))
    if len(values) > 2 * _PIECES:
        kept = {0, len(values) - 1}
        for piece in np.array_split(np.arange(len(values)), _PIECES):
            known = piece[np.isfinite(values[piece])]
            kept |= {*piece[np.isnan(values[piece])][:1].tolist()}
            kept |= {int(known[pick(values[known])]) for pick in (np.argmin, np.argmax) if known.size}
    return [
        (float(steps[i]), float(f"{values[i]:.5g}") if np.isfinite(values[i]) else None) for i in sorted(kept)
    ]
