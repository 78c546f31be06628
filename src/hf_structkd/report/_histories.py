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
