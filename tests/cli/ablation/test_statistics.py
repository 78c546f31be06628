"""The intervals are those of a slow bootstrap, and the shares those worked out by hand."""

from __future__ import annotations

import random
import statistics

import pytest

from hf_structkd.cli.ablation.statistics import compare

ALONE = {1: 0.30, 2: 0.34, 3: 0.32, 4: 0.35, 5: 0.29}
OTHER = {1: 0.36, 2: 0.35, 3: 0.38, 4: 0.36, 5: 0.37}


@pytest.mark.parametrize("count", [5, 8])
def test_the_interval_is_that_of_a_slow_paired_bootstrap(count: int) -> None:
    """Unpaired, the interval of these seeds would reach below 0.01."""
    alone = {seed: ALONE[1 + seed % 5] + 0.001 * seed for seed in range(count)}
    other = {seed: OTHER[1 + seed % 5] + 0.0003 * seed**2 for seed in range(count)}
    found = compare(alone, other, 0.5, higher_is_better=True)
    assert found is not None
    assert found.gap is not None
    rng, gains, gaps = random.Random(1), [], []
    for _ in range(8_000):
        drawn = rng.choices(range(count), k=count)
        gain = statistics.fmean(other[seed] - alone[seed] for seed in drawn)
        gains.append(gain)
        gaps.append(gain / (0.5 - statistics.fmean(alone[seed] for seed in drawn)))
    for estimate, slow in ((found.gain, gains), (found.gap, gaps)):
        slow.sort()
        ends = [slow[len(slow) // 40], slow[-len(slow) // 40]]
        assert estimate[1:] == pytest.approx(ends, abs=0.06 * (ends[1] - ends[0]))


def test_the_share_of_the_gap_is_that_of_the_means_and_of_each_seed() -> None:
    found = compare({1: 0.2, 2: 0.4}, {1: 0.3, 2: 0.6}, 0.6, higher_is_better=True)
    assert found is not None
    assert found.gap is not None
    assert found.gap.value == pytest.approx(0.15 / 0.3)
    assert found.per_seed == pytest.approx({1: 0.25, 2: 1.0})


def test_a_lower_error_is_a_gain() -> None:
    higher = compare({1: -0.3, 2: -0.4}, {1: -0.2, 2: -0.3}, -0.1, higher_is_better=True)
    assert compare({1: 0.3, 2: 0.4}, {1: 0.2, 2: 0.3}, 0.1, higher_is_better=False) == higher


def test_seeds_that_only_one_setting_has_do_not_count() -> None:
    both = compare(ALONE, {**OTHER, 6: 0.9}, 0.5, higher_is_better=True)
    assert both == compare({**ALONE, 7: 0.0}, OTHER, 0.5, higher_is_better=True)
    assert compare(ALONE, {1: 0.4}, 0.5, higher_is_better=True) is None


@pytest.mark.parametrize("teacher", [None, 0.2])
def test_there_is_no_gap_to_a_teacher_that_is_no_better(teacher: float | None) -> None:
    """A negative gap, or a tiny one, turns a loss into a share of hundreds of per cent."""
    found = compare(ALONE, OTHER, teacher, higher_is_better=True)
    assert found is not None
    assert found.gap is None
