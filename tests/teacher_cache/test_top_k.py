"""The largest classes of each place, and the rest as one number."""

from __future__ import annotations

import math

import pytest
import torch

from hf_structkd.teacher_cache.top_k import pack, unpack


@pytest.mark.parametrize(("count", "k"), [(5, 1), (5, 4), (150, 10), (300, 3)])
def test_the_largest_probabilities_and_the_mass_of_the_rest_stay(count: int, k: int) -> None:
    """Else the student is taught other probabilities where the teacher is surest."""
    logits = 3 * torch.randn(2, count, 3, 4, dtype=torch.float64)
    packed = pack("map", logits, k)
    assert sum(tensor.shape[1] for tensor in packed.values()) == 2 * k + 1
    known, found = logits.softmax(1), unpack(packed)["map"].softmax(1)
    largest = known.topk(k, dim=1)
    torch.testing.assert_close(found.gather(1, largest.indices), largest.values)
    rest = 1 - largest.values.sum(1)
    others = found.scatter(1, largest.indices, 0)
    torch.testing.assert_close(others.sum(1), rest)
    divergence = (known * (known / found).log()).sum(1)
    assert bool((divergence <= rest * math.log(count - k) + 1e-9).all())
    assert bool((divergence >= -1e-9).all())


def test_a_map_of_few_classes_stays_as_it_is() -> None:
    logits = torch.randn(2, 5, 3, 4)
    assert pack("map", logits, 5) == {"map": logits}
    assert torch.equal(unpack({"map": logits})["map"], logits)
