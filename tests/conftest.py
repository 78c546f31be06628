"""Settings every test shares: offline, seeded, one thread; and the order of the files.

torch and the library are imported where they are used: the process that hands the tests out needs neither.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

# Files that take longest, one of which would keep a worker busy alone if it began last.
FIRST = (
    *("test_hub.py", "test_trainer.py", "test_examples.py", "test_hub_docs.py", "test_evaluation.py"),
    *("test_distributed.py", "test_teacher_cache.py", "test_architectures.py", "test_checkpoint.py"),
    *("test_adapters.py", "test_regression.py", "test_term_seam.py", "test_live_student.py"),
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # on a GPU: rounding to ten bits hides what is compared


@pytest.fixture(scope="session", autouse=True)
def narrow_critic() -> Iterator[None]:
    """Give the critics that trainers make few channels."""
    from .cases import narrow_critics

    with narrow_critics():
        yield


@pytest.fixture
def published_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the critics of a test the published widths, where its numbers need them."""
    from hf_structkd.adversary.critic import Critic

    monkeypatch.setattr("hf_structkd.terms.holistic.Critic", Critic)


@pytest.fixture(scope="session")
def trusted_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the code that lies beside models a folder of this session, from which Transformers runs it."""
    import transformers.dynamic_module_utils as dynamic

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `make test` keeps this order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def pytest_collection_finish() -> None:
    """Keep what the imports made, half a million objects, out of the collection that begins each training."""
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    gc.enable()
