"""Gives the scores of an evaluation names for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

# These values of an evaluation do not describe the model: the loss depends on the weights of its terms, the
# others depend on the machine.
_BOOKKEEPING = frozenset(
    {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch"}
)
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class Score:
    """One score of a student.

    Attributes:
        name: Name of the metric, without `eval_`.
        label: Name of the metric for people.
        value: Value, which is finite.
        of_class: Whether the metric scores a single class.
    """

    name: str
    label: str
    value: float
    of_class: bool


def finite_scores(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the scores of an evaluation, without `eval_` and with six significant digits.

    Values that are not finite numbers are left out, because validators of the metadata refuse them. The loss,
    the times and the epoch of the evaluation are left out too.
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
    """Return every score with its name for people; an unknown metric keeps its name, with spaces.

    Args:
        metrics: Name of a metric -> its score.
        labels: Name of a metric -> its name for people, see `Task.metric_labels`.
        class_labels: Beginning of the name of a metric of one class -> the metric's name for people, see
            `Task.class_metric_labels`. The rest of the name is the class.
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
