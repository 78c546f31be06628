"""The bars of the page: one for each model and class, or each range of the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...metrics import AGREEMENT
from ..comparison import Headline
from .gallery import Range


class Bar(NamedTuple):
    """The bars of one class or range.

    Attributes:
        name: Its name.
        values: Name of the model -> its score; NaN where there is none.
    """

    name: str
    values: Mapping[str, float]


class Bars(NamedTuple):
    """A group of bars on one axis that starts at 0.

    Attributes:
        title: Heading.
        note: What the bars show, and where the axis ends.
        end: Value at the end of the axis.
        higher_is_better: False for errors.
        bars: The bars, in their own order.
    """

    title: str
    note: str
    end: float
    higher_is_better: bool
    bars: Sequence[Bar]


def class_bars(
    scores: Mapping[str, Mapping[str, float]], labels: Mapping[str, str], *, agrees: bool
) -> list[Bars]:
    """Return the bars of every score of classes that a model has.

    Args:
        scores: Name of the model -> its scores.
        labels: Beginning of the name of a score of one class -> the score's name for people.
        agrees: Whether the scores say how far the models agree with the teacher.
    """
    groups = []
    for start, label in labels.items():
        prefix = f"{AGREEMENT}{start}" if agrees else start
        named = (key for of_model in scores.values() for key in of_model if key.startswith(prefix))
        keys = dict.fromkeys(named)
        bars = [
            Bar(key.removeprefix(prefix), {name: one.get(key, math.nan) for name, one in scores.items()})
            for key in keys
        ]
        if bars:
            note = "Bars go from 0 to 1; higher is better. n/a: no value for this class."
            title = f"{label} of every class{', agreement' if agrees else ''}"
            groups.append(Bars(title, note, 1.0, True, bars))
    return groups


def range_bars(means: Mapping[str, Mapping[Range, float]], headline: Headline, label: str) -> list[Bars]:
    """Return the bars of the headline's metric in every range of the truth, or nothing without ranges.

    Args:
        means: Name of the model -> (low, high) of a range -> the metric in it.
        headline: The metric.
        label: What the ranges are of.
    """
    ranges = sorted({one for of_model in means.values() for one in of_model})
    bars = [
        Bar(f"{low:g} to {high:g}", {name: one.get((low, high), math.nan) for name, one in means.items()})
        for low, high in ranges
    ]
    known = [value for bar in bars for value in bar.values.values() if math.isfinite(value)]
    if not known:
        return []
    direction = "higher" if headline.higher_is_better else "lower"
    end = f"Bars go from 0 to {max(known):.3g}; {direction} is better."
    note = f"Over all pixels of the images that were scored one by one. {end}"
    title = f"{headline.label} by {label}"
    return [Bars(title, note, max(known), headline.higher_is_better, bars)]
