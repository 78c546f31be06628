"""The Hub as a pytest fixture, for a test file or a conftest.

from .loopback_hub import fixtures

hub = fixtures.hub
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .hub import LoopbackHub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A running, empty Hub; the test fails if the Hub itself crashed."""
    with LoopbackHub(tmp_path / "hub") as running:
        yield running
    assert not running.crashes, "\n".join(running.crashes)
