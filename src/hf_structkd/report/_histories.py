"""Reads the Trainer's `log_history` of several runs into the panels that `curves` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

Histories = Mapping[str, Sequence[Mapping[str, Any]]]

_TASK_LOSS = "loss_task"


@dataclass
class Panel:
    """One quantity and its values in every run that logged it.

    Attributes:
        key: Key of the quantity in the logs.
        title: Name of the quantity for people.
        lines: Name of the run -> values by step, with NaN where the line breaks.
        lost: Name of the run -> number of logged values that are not finite.
        reference: Name -> value of each horizontal line.
        is_metric: Whether the quantity is the evaluation metric.
    """

    key: str
    title: str
    lines: dict[str, pd.Series] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    is_metric: bool = False

    def is_empty(self) -> bool:
        """Return whether no run has a value that can be drawn."""
        return not any(line.notna().any() for line in self.lines.values())


def check_histories(histories: Histories) -> None:
    """Raise `ValueError` if there is no run, a run is empty, or an entry has no finite step."""
    if not histories:
        raise ValueError(
            "`histories` must hold at least one run, got none; pass {name: trainer.state.log_history}."
        )
    for name, history in histories.items():
        if not history:
            raise ValueError(
                f"`histories[{name!r}]` must hold at least one entry, got none; "
                "train with `logging_steps` small enough to log, or leave the run out."
            )
        for position, entry in enumerate(history):
            if not math.isfinite(_number(entry.get("step"))):
                raise ValueError(
                    f"`histories[{name!r}][{position}]` must have a finite `step`, "
                    f"got the keys {sorted(entry)}; pass `trainer.state.log_history` as it is."
                )


def build_panels(
    histories: Histories,
    titles: Mapping[str, str],
    metric: str | None,
    metric_label: str | None,
    reference: Mapping[str, float],
) -> list[Panel]:
    """Return the metric's panel, then a panel for each loss term and critic value that has a finite value."""
    frames = {name: _read(history) for name, history in histories.items()}
    keys = list(dict.fromkeys(key for frame in frames.values() for key in frame))
    logged = sorted({key for history in histories.values() for entry in history for key in entry})
    panels = []
    if metric is not None:
        panels.append(_panel(frames, metric, metric_label or metric, reference, is_metric=True))
        _check_metric(panels[0], logged)
    elif reference:
        raise ValueError(
            f"`reference` must be empty when `metric` is None, got {sorted(reference)}; "
            "name the metric it belongs to."
        )
    order = [_TASK_LOSS, *titles, *keys]
    shown = [key for key in keys if key.startswith(("loss_", "critic_")) or key in titles]
    for key in sorted(shown, key=lambda key: (not key.startswith("loss_"), order.index(key))):
        panel = _panel(frames, key, titles.get(key, key))
        if not panel.is_empty():
            panels.append(panel)
    if not panels:
        raise ValueError(
            "`histories` must hold a finite loss or critic value when `metric` is None, "
            f"got the keys {logged}; name a metric or pass a run that trained."
        )
    return panels


def _check_metric(panel: Panel, logged: Sequence[str]) -> None:
    for name, value in panel.reference.items():
        if not math.isfinite(value):
            raise ValueError(
                f"`reference[{name!r}]` must be finite, got {value}; leave it out if it is unknown."
            )
    if panel.is_empty():
        raise ValueError(
            f"`metric` must be logged with a finite value by at least one run, got {panel.key!r} where the "
            f"runs logged {logged}; name one of these, or pass None for no metric."
        )


def _read(history: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row for each entry, by step. A missing key becomes NaN, a value that is not finite infinity.

    A run of the plain Trainer logs no terms; its `loss` is the task loss.
    """
    entries = [{key: _number(value) for key, value in entry.items()} for entry in history]
    frame = pd.DataFrame(entries).set_index("step").sort_index(kind="stable")
    if "loss" in frame and not any(key.startswith("loss_") for key in frame):
        frame[_TASK_LOSS] = frame["loss"]
    return frame


def _panel(
    frames: Mapping[str, pd.DataFrame],
    key: str,
    title: str,
    reference: Mapping[str, float] | None = None,
    *,
    is_metric: bool = False,
) -> Panel:
    panel = Panel(key, title, reference=reference or {}, is_metric=is_metric)
    for name, frame in frames.items():
        if key not in frame:
            continue
        # A training entry without the key is a gap. For the evaluation's keys, other entries are no gap.
        is_gap = False if key.startswith("eval_") else frame.get("loss", frame[key]).notna()
        values = frame[key][frame[key].notna() | is_gap]
        if values.notna().any():
            panel.lines[name] = values.replace(np.inf, np.nan)
            panel.lost[name] = int(np.isinf(values).sum())
    return panel


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else math.inf
