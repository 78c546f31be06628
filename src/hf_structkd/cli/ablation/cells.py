"""Numbers as the tables show them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from .statistics import Estimate


def row(cells: Iterable[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def spread(scores: list[float]) -> str:
    """Return mean and deviation."""
    if len(scores) == 1:
        return "one seed"
    return f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}"


def difference_cell(found: Estimate | None) -> str:
    """Return a paired difference with its interval, which one seed does not have."""
    if found is None:
        return ""
    if math.isinf(found.low):
        return f"{found.value:+.3f}, one seed"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def gap_cell(gap: Estimate) -> str:
    """Return a share of the gap with its interval."""
    value, low, high = (round(100 * share) for share in (gap.value, gap.low, gap.high))  # no -0
    return f"{value} % [{low}, {high}]"
