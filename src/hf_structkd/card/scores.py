"""The scores of an evaluation by names that people read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

# What an evaluation also reports and what says nothing of the model to somebody else: the loss depends on
# the settings that weigh it, the rest on the machine.
_BOOKKEEPING = frozenset(
    {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch"}
)
_LABELS = {
    "mean_iou": "mean IoU",
    "mean_accuracy": "mean accuracy",
    "overall_accuracy": "overall accuracy",
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse": "RMSE",
    "rmse_log": "RMSE of logarithms",
    "log10": "log10 error",
    "silog": "SILog",
    "delta1": "δ1 (< 1.25)",
    "delta2": "δ2 (< 1.25²)",
    "delta3": "δ3 (< 1.25³)",
    "map": "mAP (IoU 0.50 to 0.95)",
    "map_50": "AP at IoU 0.50",
    "map_75": "AP at IoU 0.75",
    "map_small": "mAP, small objects",
    "map_medium": "mAP, medium objects",
    "map_large": "mAP, large objects",
    "mar_1": "mAR, 1 detection an image",
    "mar_10": "mAR, 10 detections an image",
    "mar_100": "mAR, 100 detections an image",
    "mar_small": "mAR, small objects",
    "mar_medium": "mAR, medium objects",
    "mar_large": "mAR, large objects",
}
_OF_CLASS = {"iou_": "IoU", "ap_": "AP"}
_SIGNIFICANT_DIGITS = 6


def finite_scores(metrics: Mapping[str, object]) -> dict[str, float]:
    """The scores among what an evaluation returned, without `eval_`, at six significant digits.

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


def metric_label(name: str) -> str:
    """The metric's name for people; one that is not known keeps its own, with spaces."""
    if name in _LABELS:
        return _LABELS[name]
    for prefix, label in _OF_CLASS.items():
        if name.startswith(prefix):
            return f"{label} of {name.removeprefix(prefix)}"
    return name.replace("_", " ")


def is_of_one_class(name: str) -> bool:
    """Whether a metric scores a single class."""
    return name not in _LABELS and name.startswith(tuple(_OF_CLASS))
