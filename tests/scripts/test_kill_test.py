"""A training that is killed at random moments ends as one that nobody killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_test.py"


@pytest.mark.long
def test_killed_and_resumed_trainings_are_the_uninterrupted_one_bit_for_bit() -> None:
    """In a process of its own: it forks, which threads of the tests do not survive."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "3", "--seed", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    rows = done.stdout.strip().splitlines()[-3:]
    assert [row.split()[-1] for row in rows] == ["yes"] * 3
