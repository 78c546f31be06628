"""What a training of twice the length brought, which is little where the student is at its plateau."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .records import Record, scores_by_seed

_LENGTHS = {"num_train_epochs": "epochs", "max_steps": "steps"}
# How often it is scored may follow the length, and changes nothing that is trained.
_CHANGES_NOTHING = frozenset({"eval_steps"})


def what_twice_brought(run: Record, runs: Sequence[Record]) -> str:
    """Return what twice the epochs or steps brought, where another setting is this one with half of them."""
    for length, word in _LENGTHS.items():
        name = _half_as_long(run, runs, length)
        if name is not None:
            return _change(name, run, runs, word)
    return ""


def _half_as_long(run: Record, runs: Sequence[Record], length: str) -> str | None:
    """Return the setting that is this one with half the length."""
    if not run["options"].get(length):
        return None
    wanted = _trained_by({**run["options"], length: run["options"][length] / 2})
    return next((other["setting"] for other in runs if _trained_by(other["options"]) == wanted), None)


def _trained_by(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _CHANGES_NOTHING}


def _change(name: str, run: Record, runs: Sequence[Record], word: str) -> str:
    long, short = (scores_by_seed(runs, setting) for setting in (run["setting"], name))
    seeds = sorted({*long} & {*short})
    if not seeds:
        return ""
    before, after = (statistics.mean(scores[seed] for seed in seeds) for scores in (short, long))
    if not before:
        return ""
    change = (after - before if run["higher_is_better"] else before - after) / before
    count = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return f"; twice the {word} of {name} bring {100 * change:+.1f} % of its score ({count})"
