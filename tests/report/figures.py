"""Look at a figure before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from matplotlib.figure import Figure
from PIL import Image


def figure_of(plot: Callable[..., None], *args: Any, **options: Any) -> Figure:
    """The figure that `plot`, called without a path, would save."""
    with patch(f"{plot.__module__}.save") as save:
        plot(*args, Path("unused.png"), **options)
    figure = save.call_args.args[0]
    assert isinstance(figure, Figure)
    return figure


def check_page(path: Path, lowest: int, highest: int) -> None:
    """A PNG that a README shows sharply, between two heights in pixels."""
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.width) == ("PNG", 1800)
        assert lowest < image.height < highest
