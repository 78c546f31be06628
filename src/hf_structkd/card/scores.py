"""Gives the scores of an evaluation names for people."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

from ..metrics import AGREEMENT

# These values of an evaluation do not describe the model: the loss depends on the weights of its terms, the
# others depend on the machine.
_BOOKKEEPING = frozenset(
    {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch"}
)
_SIGNIFICANT_DIGITS = 6


class Score(NamedTuple):
    """One score of a student.

    Attributes:
        name: Name of the metric, without `eval_`.
        label: Name of the metric for people.
        value: Value; NaN or infinite if the validation images do not tell it.
        of_class: Whether the metric scores a single class.
        of_agreement: Whether the truth is the teacher's answer, so that it is no accuracy.
    """

    name: str
    label: str
    value: float
    of_class: bool = False
    of_agreement: bool = False


def read_scores(
    metrics: Mapping[str, object], labels: Mapping[str, str], class_labels: Mapping[str, str]
) -> tuple[Score, ...]:
    """Return the scores of an evaluation with their names for people and six significant digits.

    The loss, the times and the epoch of the evaluation are left out, and so is what is no number.

    Args:
        metrics: Name of a metric, with or without `eval_` -> its value.
        labels: Name of a metric -> its name for people, see `Task.metric_labels`. A metric that has none here
            and is not of a class keeps its name, with spaces.
        class_labels: Beginning of the name of a metric of one class -> the metric's name for people, see
            `Task.class_metric_labels`. The rest of the name is the class.
    """
    scores = []
    for key, value in metrics.items():
        name = key.removeprefix("eval_")
        if name in _BOOKKEEPING or isinstance(value, bool) or not isinstance(value, Real):
            continue
        agrees, own = name.startswith(AGREEMENT), name.removeprefix(AGREEMENT)
        prefix = next((start for start in class_labels if own.startswith(start)), None)
        if own in labels or prefix is None:
            label, of_class = labels.get(own, own.replace("_", " ")), False
        else:
            label, of_class = f"{class_labels[prefix]} of {own.removeprefix(prefix)}", True
        label = f"agreement with the teacher, {label}" if agrees else label
        scores.append(Score(name, label, float(f"{float(value):.{_SIGNIFICANT_DIGITS}g}"), of_class, agrees))
    return tuple(scores)
