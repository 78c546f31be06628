"""A client process: its environment, and a run of it with a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOREIGN_PREFIXES = ("HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class ClientRun:
    """What a client process left behind."""

    returncode: int
    stdout: str
    stderr: str

    def answer(self) -> Any:
        """The last line that it printed, as JSON.

        Raises:
            AssertionError: The process failed.
        """
        assert self.returncode == 0, f"The client ended with {self.returncode}:\n{self.stderr[-4000:]}"
        return json.loads(self.stdout.splitlines()[-1])


def environment(endpoint: str, home: Path, token: str | None, variables: dict[str, str]) -> dict[str, str]:
    """The whole environment of a client of one Hub, free of every setting of the one that runs the tests.

    Args:
        endpoint: Address of the Hub.
        home: The client's `HF_HOME`: caches, and a token where it logs in.
        token: For `HF_TOKEN`; `None` for an anonymous client.
        variables: More settings, which win over those here.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name.upper() not in PROXIES
    }
    return {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        # Uploads go over the plain protocol: with Xet the client asks for a Xet token and a Xet server.
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Loading `.bin` weights otherwise sends the token to a public service, whatever HF_ENDPOINT says.
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "HF_HUB_OFFLINE": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        **({} if token is None else {"HF_TOKEN": token}),
        **variables,
    }


def run(command: str | Sequence[str], settings: dict[str, str], *, timeout: float, cwd: Path) -> ClientRun:
    """Run a client, and end it and its children after a time limit.

    Args:
        command: Python code, or the arguments of Python.
        settings: The whole environment.
        timeout: Seconds.
        cwd: Where it runs.

    Raises:
        TimeoutError: It took longer.
    """
    arguments = ["-c", textwrap.dedent(command)] if isinstance(command, str) else list(command)
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=settings,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # The whole group: `accelerate launch` leaves its workers behind when it alone is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        said = f"{stdout[-2000:]}\n{stderr[-2000:]}"
        raise TimeoutError(f"The client took more than {timeout} s:\n{said}") from None
    return ClientRun(process.returncode, stdout, stderr)
