"""Reads the Trainer's `log_history` of several runs into the panels that `curves` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

Histories = Mapping[str, Sequence[Mapping[str, Any]]]

_TITLES = {
    "loss_task": "task loss",
    "loss_pixel": "pixel-wise term",
    "loss_pairwise": "pair-wise term",
    "loss_holistic": "holistic term",
    "critic_loss": "critic loss",
    "critic_gap": "critic gap",
    "gradient_penalty": "gradient penalty",
}


@dataclass
class Series:
    """One run's values of one quantity: NaN breaks the line, `not_finite` counts what was logged so."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    not_finite: int = 0


@dataclass
class Panel:
    """One quantity, for every run that logged it."""

    key: str
    title: str
    series: dict[str, Series]
    reference: Mapping[str, float] = field(default_factory=dict)
    is_metric: bool = False

    def finite(self) -> list[float]:
        """Every value that can be drawn."""
        return [v for series in self.series.values() for v in series.values if math.isfinite(v)]


def check_histories(histories: Histories) -> None:
    """Raise `ValueError` for no run, an empty run, or an entry that no step places on the axis."""
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
    histories: Histories, metric: str | None, metric_label: str, reference: Mapping[str, float]
) -> list[Panel]:
    """The metric's panel first, then one for each loss term and critic value with something to draw."""
    panels = []
    if metric is not None:
        panels.append(_metric_panel(histories, metric, metric_label, reference))
    elif reference:
        raise ValueError(
            f"`reference` must be empty when `metric` is None, got {sorted(reference)}; "
            "name the metric it belongs to."
        )
    for key in _ordered(["loss_task", *_keys(histories)]):
        panel = Panel(key, _TITLES.get(key, key), _collect(histories, key))
        if panel.finite():
            panels.append(panel)
    if not panels:
        raise ValueError(
            "`histories` must hold a finite loss or critic value when `metric` is None, "
            f"got the keys {sorted(_keys(histories))}; name a metric or pass a run that trained."
        )
    return panels


def _metric_panel(
    histories: Histories, metric: str, metric_label: str, reference: Mapping[str, float]
) -> Panel:
    for name, value in reference.items():
        if not math.isfinite(value):
            raise ValueError(
                f"`reference[{name!r}]` must be finite, got {value}; leave it out if it is unknown."
            )
    panel = Panel(metric, metric_label, _collect(histories, metric), reference, is_metric=True)
    if not panel.finite():
        raise ValueError(
            f"`metric` must be logged with a finite value by at least one run, got {metric!r} where the runs "
            f"logged {sorted(_keys(histories))}; name one of these, or pass None for no metric."
        )
    return panel


def _keys(histories: Histories) -> list[str]:
    return list(dict.fromkeys(key for history in histories.values() for entry in history for key in entry))


def _ordered(keys: Sequence[str]) -> list[str]:
    """The keys that deserve a panel: losses first, known ones in the paper's order, the rest as logged."""
    known = list(_TITLES)
    shown = [key for key in dict.fromkeys(keys) if key.startswith(("loss_", "critic_")) or key in known]
    return sorted(
        shown,
        key=lambda key: (not key.startswith("loss_"), known.index(key) if key in known else len(known)),
    )


def _collect(histories: Histories, key: str) -> dict[str, Series]:
    collected = {}
    for name, history in histories.items():
        logs_terms = any(logged.startswith("loss_") for entry in history for logged in entry)
        series = _series(history, "loss" if key == "loss_task" and not logs_terms else key)
        if series.not_finite or any(map(math.isfinite, series.values)):
            collected[name] = series
    return collected


def _series(history: Sequence[Mapping[str, Any]], key: str) -> Series:
    series = Series()
    for entry in sorted(history, key=lambda entry: float(entry["step"])):
        is_training_entry = "loss" in entry
        if key in entry:
            value = _number(entry[key])
            series.not_finite += not math.isfinite(value)
        elif is_training_entry and not key.startswith("eval_"):
            value = math.nan
        else:
            continue
        series.steps.append(float(entry["step"]))
        series.values.append(value if math.isfinite(value) else math.nan)
    return series


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) else math.nan
