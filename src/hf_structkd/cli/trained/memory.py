"""The memory that a model takes for one image, measured in a process of its own.

    python -m hf_structkd.cli.trained.memory MODEL HEIGHT WIDTH DEVICE [trusted]

prints the bytes: on a CPU what the process takes at most beyond what it took before the model was loaded.
"""

from __future__ import annotations

import subprocess
import sys

import torch

from ..costs import peak_bytes
from .loading import load_trained


def peak_in_own_process(
    name: str, size: tuple[int, int], device: torch.device, *, trusts_code: bool = False
) -> int | None:
    """Return the bytes, or None where the system does not tell them.

    Raises:
        RuntimeError: If the process fails.
    """
    command = [sys.executable, "-m", __name__, name, *map(str, size), str(device)]
    command += ["trusted"] if trusts_code else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(
            f"the process that measures the memory of {name} failed ({said[0]}); --no_memory leaves it out."
        )
    return int(done.stdout.split()[-1]) or None


def main(name: str, height: str, width: str, device: str, trusted: str = "") -> None:
    """Load the model, run it on one image, and print what that took."""
    (trained,) = load_trained([name], device, bool(trusted))
    before = 0 if trained.device.type == "cuda" else peak_bytes(trained.device)
    model = trained.model
    with torch.no_grad():
        model(torch.zeros(1, 3, int(height), int(width), device=trained.device))
    peak = peak_bytes(trained.device)
    print(max(peak - before, 0))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
