"""Settings every test shares: offline, seeded, one thread; and the order of the files."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from hf_structkd.adversary import critic
from hf_structkd.terms import holistic

# Files that take longest, one of which would keep a worker busy alone if it began last.
FIRST = ("test_hub.py", "test_trainer.py", "test_hub_docs.py", "test_examples.py", "test_checkpoint.py")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def narrow_critic() -> Iterator[None]:
    """Give critics few channels: the published widths take most of a step, and of a checkpoint."""
    narrow = functools.partial(critic.Critic, widths=(8, 8, 16, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holistic, "Critic", narrow)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `make test` keeps this order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def pytest_collection_finish() -> None:
    """Keep what the imports made, half a million objects, out of the collection that begins each training."""
    gc.freeze()
