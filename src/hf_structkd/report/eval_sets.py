"""Several evaluation sets, which a dict names: the first one is judged and shown, the others have columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data import has_labels
from .comparison import Headline

_PREFIX = "eval_"


def first_set(data: Any) -> Any:
    """Return the first of several sets; one set is itself."""
    return next(iter(data.values())) if _is_several(data) else data


def start_of_first(data: Any) -> str:
    """Return what stands before the names of the first set's scores; nothing where there is one set."""
    return f"{next(iter(data))}_" if _is_several(data) else ""


def scores_of(metrics: Mapping[str, float], data: Any) -> dict[str, float]:
    """Return scores without their prefix, those of the first of several sets also without its name."""
    scores = {name.removeprefix(_PREFIX): value for name, value in metrics.items()}
    start = start_of_first(data)
    if not start:
        return scores
    return scores | {name.removeprefix(start): scores[name] for name in scores if name.startswith(start)}


def headline_of(headline: Headline, data: Any, *, agrees: bool) -> Headline:
    """Return the headline of a report over one or several sets.

    Args:
        headline: The task's.
        data: A set, or a dict of sets. Each set after the first gets a column, unless it has labels where the
            first has none, or none where the first has them: their scores cannot be compared.
        agrees: Whether the scores of the first are agreement with the teacher.
    """
    shown = headline.of_agreement() if agrees else headline
    if not _is_several(data):
        return shown
    first, *others = data
    of_others = [
        (f"{name}_{shown.metric}", f"{name}: {shown.label}")
        for name in others
        if has_labels(data[name]) is has_labels(data[first])
    ]
    return shown._replace(label=f"{first}: {shown.label}", further=(*shown.further, *of_others))


def labelled(data: Any) -> Any:
    """Return the sets that have labels, in the form of `data`; None if there are none."""
    if not _is_several(data):
        return data if data is not None and has_labels(data) else None
    return {name: rows for name, rows in data.items() if has_labels(rows)} or None


def _is_several(data: Any) -> bool:
    return isinstance(data, Mapping) and bool(data)
