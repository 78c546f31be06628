"""Settings every test shares: offline, seeded, one thread; and the order of the files."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

from .cases import narrow_critics

# Files that take longest, one of which would keep a worker busy alone if it began last.
FIRST = ("test_trainer.py", "test_hub.py", "test_examples.py", "test_hub_docs.py", "test_architectures.py")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def narrow_critic() -> Iterator[None]:
    """Give critics few channels for all tests of a file."""
    with narrow_critics():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `make test` keeps this order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def pytest_collection_finish() -> None:
    """Keep what the imports made, half a million objects, out of the collection that begins each training."""
    gc.freeze()
