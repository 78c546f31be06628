"""The scores of an evaluation by names that people read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

# What an evaluation also reports and what says nothing of the model to somebody else: the loss depends on
# the settings that weigh it, the rest on the machine.
_BOOKKEEPING = frozenset(
    {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch"}
)
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class Score:
    """One score of a student.

    Attributes:
        name: Of the metric, without `eval_`.
        label: The metric's name for people.
        value: A finite number.
        of_class: Whether it scores a single class.
    """

    name: str
    label: str
    value: float
    of_class: bool


def finite_scores(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the scores among what an evaluation returned, without `eval_`, at six significant digits.

    Left out are values that are no finite number, which YAML cannot say and validators refuse, and what an
    evaluation reports of itself: its loss, its time, the epoch.
    """
    scores = {}
    for key, value in metrics.items():
        name = key.removeprefix("eval_")
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if is_number and name not in _BOOKKEEPING and math.isfinite(float(value)):  # type: ignore[arg-type]
            scores[name] = float(f"{float(value):.{_SIGNIFICANT_DIGITS}g}")  # type: ignore[arg-type]
    return scores


def labelled_scores(
    metrics: Mapping[str, float], labels: Mapping[str, str], class_labels: Mapping[str, str]
) -> list[Score]:
    """Give every score its name for people; one that neither mapping knows keeps its own, with spaces.

    Args:
        metrics: Scores by the names of their metrics.
        labels: Name of a metric to its name for people, as `Task.metric_labels` has them.
        class_labels: Beginning of the name of a metric of one class, whose rest is the class, to the metric's
            name for people, as `Task.class_metric_labels` has them.
    """
    scores = []
    for name, value in metrics.items():
        prefix = next((start for start in class_labels if name.startswith(start)), None)
        if name in labels or prefix is None:
            scores.append(Score(name, labels.get(name, name.replace("_", " ")), value, of_class=False))
        else:
            label = f"{class_labels[prefix]} of {name.removeprefix(prefix)}"
            scores.append(Score(name, label, value, of_class=True))
    return scores
