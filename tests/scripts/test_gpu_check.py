"""The check of a GPU, on a CPU: nobody can debug a script in ten minutes of a lent machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(950)  # the script ends its parts after 240, 420 and 240 seconds
def test_the_dry_form_goes_the_whole_path() -> None:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(ROOT / "scripts" / "gpu_check.sh"), "--dry"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=920,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    for text in ("ratio", "bfloat16, compiled", "scale fell to", "passed"):
        assert text in done.stdout
    assert "failed" not in done.stdout
