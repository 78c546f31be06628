"""What five seeds say: means, deviations, and intervals of paired differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ALL_UP_TO, _DRAWS = 6, 20_000


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A setting against the student alone, over the seeds that both have.

    Attributes:
        gain: Mean paired difference, positive where the setting is better.
        gap: Share of the way from the student alone to the teacher, or None without a teacher that is better.
        per_seed: The share of each seed's own gap.
    """

    gain: Estimate
    gap: Estimate | None
    per_seed: Mapping[int, float]


def compare(
    alone: Mapping[int, float],
    other: Mapping[int, float],
    teacher: float | None,
    *,
    higher_is_better: bool,
) -> Comparison | None:
    """Compare two settings over the seeds that both have; return None for fewer than two.

    The intervals are those of the paired bootstrap: seeds are drawn with replacement, every draw once where
    they are few, and the 2.5th and the 97.5th percentile of what is computed from a draw are its ends. With
    five seeds such an interval is too narrow rather than too wide.
    """
    seeds, base, gains = _paired(alone, other, higher_is_better)
    if len(seeds) < 2:
        return None
    sign = 1.0 if higher_is_better else -1.0
    draws = _draws(len(seeds))
    gap, per_seed = None, {}
    if teacher is not None and sign * teacher > base.mean():
        rooms = sign * teacher - base
        shares = gains[draws].mean(1) / rooms[draws].mean(1)
        gap = _estimate(gains.mean() / rooms.mean(), shares)
        per_seed = {seed: float(gain / room) for seed, gain, room in zip(seeds, gains, rooms, strict=True)}
    return Comparison(_estimate(gains.mean(), gains[draws].mean(1)), gap, per_seed)


def difference(
    base: Mapping[int, float], other: Mapping[int, float], *, higher_is_better: bool
) -> Estimate | None:
    """Return the mean paired difference, positive where the other is better; None if no seed has both.

    The interval is that of `compare`. One seed says nothing of the spread: its interval is everything.
    """
    seeds, _, gains = _paired(base, other, higher_is_better)
    if not seeds:
        return None
    if len(seeds) == 1:
        return Estimate(float(gains[0]), -math.inf, math.inf)
    return _estimate(gains.mean(), gains[_draws(len(seeds))].mean(1))


def _paired(
    base: Mapping[int, float], other: Mapping[int, float], higher_is_better: bool
) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
    """Return the seeds that both have, the scores of the base and the gains, of which more is better."""
    seeds = sorted(set(base) & set(other))
    sign = 1.0 if higher_is_better else -1.0
    scores = sign * np.array([base[seed] for seed in seeds])
    return seeds, scores, sign * np.array([other[seed] for seed in seeds]) - scores


def _draws(count: int) -> NDArray[np.int64]:
    """Return rows of places, (draws, count)."""
    if count <= _ALL_UP_TO:
        return np.array(list(itertools.product(range(count), repeat=count)))
    return np.random.default_rng(0).integers(count, size=(_DRAWS, count))


def _estimate(value: float, of_draws: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(of_draws, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))
