"""Which levels of features have anything to compare over the image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..tasks import MapPair


def of_several_places(levels: Sequence[tuple[Tensor, MapPair]]) -> list[tuple[Tensor, MapPair]]:
    """Return the levels, each the student's map and its pair, that have two pixels or more.

    If none has, all are returned, and the loss raises an error that explains it.
    """
    return [level for level in levels if level[0].shape[2:].numel() > 1] or list(levels)
