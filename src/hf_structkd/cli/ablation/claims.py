"""Which published claims the finished runs bear out: one line each, held or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .cells import difference_cell, row
from .plan import Run, read_plan
from .records import Record, records, scores_by_seed
from .statistics import Estimate, difference

NOT_RUN, HELD, OPPOSITE, NOT_HELD, UNDECIDED = "not run", "held", "the opposite", "not held", "undecided"
_KEYS = {"claim", "better", "worse"}
_SAME_ROWS = ("dataset_name", "dataset_config_name", "validation_split", "max_eval_samples")
_HEAD = ("claim", "verdict", "difference, better if positive [95 %]", "seeds")


@dataclass(frozen=True)
class Claim:
    """What is said to be better than what.

    Attributes:
        text: The claim.
        pairs: Names EXPERIMENT/SETTING of the better and the worse one; it says all of them.
    """

    text: str
    pairs: Sequence[tuple[str, str]]


def read_claims(plans: Sequence[Path]) -> list[Claim]:
    """Return the claims under the key `claims` of plans.

    Raises:
        ValueError: If a claim lacks a key, pairs nothing, names a setting that no plan has, or compares
            scores of different rows.
    """
    known = {f"{run.experiment}/{run.setting}": run for plan in plans for run in read_plan(plan)}
    claims = []
    for plan in plans:
        content = yaml.safe_load(plan.read_text(encoding="utf-8"))
        claims += [_claim(entry, known) for entry in content.get("claims", ())]
    return claims


def claims_table(plans: Sequence[Path], results: Path) -> str:
    """Return the Markdown table of all claims; empty if there is none."""
    claims = read_claims(plans)
    if not claims:
        return ""
    runs = {key: found for plan in plans for key, found in records(plan, results).items()}
    rows = [row(_HEAD), row(["---"] * len(_HEAD)), *(_row(claim, runs) for claim in claims)]
    return "\n".join([*rows, ""])


def verdict(differences: Sequence[Estimate | None]) -> str:
    """Return what paired differences say of a claim that all are positive; None is one without runs."""
    found = [one for one in differences if one is not None]
    if not found:
        return NOT_RUN
    if len(found) == len(differences) and all(one.low > 0 for one in found):
        return HELD
    if len(found) == len(differences) and all(one.high < 0 for one in found):
        return OPPOSITE
    return NOT_HELD if any(one.high < 0 for one in found) else UNDECIDED


def _claim(entry: Mapping[str, Any], known: Mapping[str, Run]) -> Claim:
    if set(entry) != _KEYS:
        raise ValueError(f"a claim must have the keys {sorted(_KEYS)}, got {sorted(entry)}.")
    text, better, worse = entry["claim"], entry["better"], entry["worse"]
    longest = max(len(better), len(worse))
    if {len(better), len(worse)} - {1, longest} or not better or not worse:
        raise ValueError(
            f"the claim {text!r} must name one setting or as many on both sides, got {len(better)} "
            f"better and {len(worse)} worse; repeat names."
        )
    unknown = [name for name in (*better, *worse) if name not in known]
    if unknown:
        raise ValueError(f"the claim {text!r} must name EXPERIMENT/SETTING of the plans, got {unknown}.")
    sides = (names * longest if len(names) == 1 else names for names in (better, worse))
    pairs = list(zip(*sides, strict=True))
    for pair in pairs:
        _refuse_other_rows(text, pair, known)
    return Claim(text, pairs)


def _refuse_other_rows(text: str, pair: tuple[str, str], known: Mapping[str, Run]) -> None:
    one, other = (
        (known[name].task, *(known[name].options.get(option) for option in _SAME_ROWS)) for name in pair
    )
    if one != other:
        raise ValueError(
            f"the claim {text!r} must compare scores of the same rows, got {pair[0]!r} and {pair[1]!r}, "
            "which are scored on different ones."
        )


def _row(claim: Claim, runs: Mapping[str, Sequence[Record]]) -> str:
    compared = [_compared(pair, runs) for pair in claim.pairs]
    shown = [
        f"{better} over {worse}: {difference_cell(found) or NOT_RUN}"
        for (better, worse), (found, _) in zip(claim.pairs, compared, strict=True)
    ]
    seeds = dict.fromkeys(", ".join(map(str, of_pair)) for _, of_pair in compared if of_pair)
    result = verdict([found for found, _ in compared])
    return row([claim.text, result, "" if result == NOT_RUN else "; ".join(shown), "; ".join(seeds)])


def _compared(
    pair: tuple[str, str], runs: Mapping[str, Sequence[Record]]
) -> tuple[Estimate | None, list[int]]:
    """Return the difference of two settings, and the seeds that both have."""
    better, worse = (scores_by_seed(list(_named(name, runs)), name.split("/")[1]) for name in pair)
    of_one = next(_named(pair[0], runs), None)
    if of_one is None:
        return None, []
    found = difference(worse, better, higher_is_better=of_one["higher_is_better"])
    return found, sorted({*better} & {*worse})


def _named(name: str, runs: Mapping[str, Sequence[Record]]) -> Iterator[Record]:
    experiment, setting = name.split("/")
    return (run for run in runs.get(experiment, ()) if run["setting"] == setting)
