"""The arithmetic of what processes send, and the page that shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ..cases import SEGMENTATION

ROOT = Path(__file__).parents[2]


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import traffic

    return traffic


def test_the_bytes_that_are_reduced_are_those_of_a_backward(traffic) -> None:
    """Else the table counts what is never sent, such as buffers and frozen weights."""
    student = SEGMENTATION.student(0)
    frozen = next(student.parameters()).requires_grad_(False)
    student(torch.randn(1, 3, 64, 64)).logits.sum().backward()
    found = sum(p.grad.nbytes for p in student.parameters() if p.grad is not None)
    assert frozen.grad is None
    assert traffic.reduced_bytes([student]) == found


@pytest.mark.parametrize("processes", [1, 2, 8, 64])
def test_a_ring_sends_every_chunk_once_to_sum_and_once_to_share(traffic, processes: int) -> None:
    chunk = 64 / processes
    rounds = [chunk for _ in range(processes - 1)] + [chunk for _ in range(processes - 1)]
    assert traffic.sent_bytes(64, processes) == pytest.approx(sum(rounds))


@pytest.mark.long
def test_the_page_shows_what_the_command_prints() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/traffic.py"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    tables = done.stdout.strip().split("\n\n")
    assert [len(table.splitlines()) for table in tables] == [5, 5]
    assert all(table in page for table in tables)
