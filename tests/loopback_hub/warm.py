"""Clients that are forked from a process in which the libraries are imported, most of what a client costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from .client import ClientRun
from .hub import LoopbackHub

# It forks a client for each line that it reads, and prints how the client ended. Without the collector the
# imports take two thirds of the time.
SERVE = """
import gc, json, os, sys
gc.disable()
import hf_structkd.cli.distil, transformers.pipelines

gc.freeze()
gc.enable()
for line in sys.stdin:
    job = json.loads(line)
    client = os.fork()
    if client == 0:
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["environment"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["-c", *job["arguments"]]
        exec(job["code"], {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(client, 0)[1]), flush=True)
"""


class WarmClients:
    """Clients of one Hub, each a process of its own with its own token, arguments and working directory.

    What the libraries read at import is shared: the address of the Hub and `HF_HOME`.

    Args:
        hub: Their Hub.
        home: Their `HF_HOME`; by default the Hub's.
        path: Folders that they import from, beside the installed packages.
    """

    def __init__(self, hub: LoopbackHub, *, home: Path | None = None, path: str = "") -> None:
        """Start the process that imports."""
        self._hub = hub
        self._home = home or hub.home
        self._variables = {"PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            env=hub.environment(home=home, **self._variables),
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def _folder(self) -> Path:
        return self._hub.home.parent

    def __enter__(self) -> WarmClients:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and a client that is still running."""
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()

    def run(self, code: str, *arguments: str, token: str | None = None, cwd: Path | None = None) -> ClientRun:
        """Run code as `python -c` does.

        Args:
            code: Python.
            arguments: Its `sys.argv[1:]`.
            token: For `HF_TOKEN`; `None` for an anonymous client.
            cwd: Where it runs; by default the Hub's folder.
        """
        outputs = {name: self._folder / f"client.{name}" for name in ("stdout", "stderr")}
        job = {
            "code": code,
            "arguments": arguments,
            "cwd": str(cwd or self._folder),
            "environment": self._hub.environment(token=token, home=self._home, **self._variables),
            **{name: str(path) for name, path in outputs.items()},
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        ended = self._server.stdout.readline()
        assert ended, "the process that imports has ended itself"
        return ClientRun(int(ended), *(path.read_text() for path in outputs.values()))
