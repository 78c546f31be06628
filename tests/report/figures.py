"""Look at a figure before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from matplotlib.figure import Figure


def figure_of(plot: Callable[..., Path], *args: Any, **options: Any) -> Figure:
    """The figure that `plot`, called without a path, would save."""
    with patch(f"{plot.__module__}.save_png", lambda figure, path: figure):
        figure: Any = plot(*args, "unused.png", **options)
    assert isinstance(figure, Figure)
    return figure
