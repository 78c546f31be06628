"""Reads the Trainer's `log_history` of several runs into the panels that `plot_curves` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Histories = Mapping[str, Sequence[Mapping[str, Any]]]

_TASK_LOSS = "loss_task"
_LOG_FROM_RATIO = 100.0
_CUT_FROM_SHARE = 0.5
# An axis ends beyond the last value by this share of its length.
_MARGIN = 0.06


class Panel(NamedTuple):
    """One logged quantity of every run that has it.

    Attributes:
        key: Key of the quantity in the logs.
        title: Name of the quantity for people.
        lines: Name of the run -> values by step, with NaN where a training entry lacks the key and infinity
            where the logged value is not a finite number.
    """

    key: str
    title: str
    lines: dict[str, pd.Series]


class YAxis(NamedTuple):
    """An axis that does not mislead, and the label that says what it does.

    Attributes:
        label: Label for people.
        is_log: Whether the axis is logarithmic.
        limits: Lowest and highest value on it; None leaves them to whoever draws the values.
    """

    label: str
    is_log: bool = False
    limits: tuple[float, float] | None = None


def y_axis(key: str, low: float, high: float, *, is_metric: bool) -> YAxis:
    """Return the axis of a quantity whose values lie between `low` and `high`, or NaN if it has none."""
    quantity = "unweighted, " if key.startswith("loss_") else ""
    if math.isnan(low):
        return YAxis("n/a")
    if is_metric and low > _CUT_FROM_SHARE * high > 0:
        return YAxis("axis does not start at 0")
    if not is_metric and low > 0 and high >= _LOG_FROM_RATIO * low:
        return YAxis(f"{quantity}log scale", is_log=True)
    span = max(high, 0.0) - min(low, 0.0) or 1.0
    limits = (min(low - _MARGIN * span, 0.0) if low < 0 else 0.0, max(high, 0.0) + _MARGIN * span)
    return YAxis(f"{quantity}linear, includes 0" if low < 0 else f"{quantity}linear from 0", limits=limits)


def build_panels(histories: Histories, titles: Mapping[str, str], metric: str) -> list[Panel]:
    """Return the metric's panel, then one for each term and each titled value that has a finite value."""
    frames = {name: _read(name, history) for name, history in histories.items()}
    keys = list(dict.fromkeys(key for frame in frames.values() for key in frame))
    if metric not in keys:
        raise ValueError(
            f"`metric` must be logged by at least one run, got {metric!r} where the runs logged "
            f"{sorted(keys)}; name one of these."
        )
    order = [metric, _TASK_LOSS, *titles, *keys]
    shown = [key for key in keys if key.startswith(("loss_", "critic_")) or key in (metric, *titles)]
    shown.sort(key=lambda key: (key != metric, not key.startswith("loss_"), order.index(key)))
    panels = [Panel(key, titles.get(key, key), _lines(frames, key)) for key in shown]
    return [
        panel
        for panel in panels
        if panel.key == metric or any(np.isfinite(line).any() for line in panel.lines.values())
    ]


def _read(name: str, history: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row for each entry, by step. A missing key becomes NaN, a value that is not finite infinity.

    A run of the plain Trainer logs no terms; its `loss` is the task loss.
    """
    if not history or any("step" not in entry for entry in history):
        raise ValueError(
            f"`histories[{name!r}]` must hold entries with a `step`, got {list(history)[:1]}; pass "
            "`trainer.state.log_history` of a run that logged something."
        )
    entries = [{key: _number(value) for key, value in entry.items()} for entry in history]
    frame = pd.DataFrame(entries).set_index("step").sort_index(kind="stable")
    if "loss" in frame and not any(key.startswith("loss_") for key in frame):
        frame[_TASK_LOSS] = frame["loss"]
    return frame


def _lines(frames: Mapping[str, pd.DataFrame], key: str) -> dict[str, pd.Series]:
    lines = {}
    for name, frame in frames.items():
        if key in frame:
            # A training entry without the key is a gap. For the evaluation's keys, other entries are no gap.
            is_gap = False if key.startswith("eval_") else frame.get("loss", frame[key]).notna()
            lines[name] = frame[key][frame[key].notna() | is_gap]
    return lines


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else math.inf
