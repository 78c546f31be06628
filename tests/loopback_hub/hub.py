"""The Hub as tests use it: started and stopped, filled, read, told to fail, and asked what it saw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from . import client
from .accounts import Account
from .faults import Action, Answer, DropDownload, DropUpload, Fault, HangUp, Hold, LoseAnswer
from .server import Seen, Served, Server
from .state import State
from .storage import Blob, Kind, Repo
from .wire import Response


class LoopbackHub:
    """A Hub on the loopback address, to be used as a context manager.

    Two accounts are there from the start: `user`, in whose namespace tests push, and `stranger`.

    Args:
        folder: An own folder for the homes of its clients.

    Example:
        >>> with LoopbackHub(tmp_path) as hub:
        ...     hub.put_model("user/teacher", teacher_folder)
        ...     run = hub.run_client(["-m", "my_script"], token=hub.user.read_token)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = State()
        self._served = Served(self._state)
        self._servers = (Server("hub", self._served), Server("storage", self._served))
        self._state.url, self._state.storage_url = (server.url for server in self._servers)
        self.user = self.add_account("user")
        self.stranger = self.add_account("stranger")

    def __enter__(self) -> LoopbackHub:
        """Start to serve."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, whatever clients are still waiting for."""
        self.clear_faults()
        for server in self._servers:
            server.stop()

    @property
    def url(self) -> str:
        """The address for `HF_ENDPOINT`."""
        return self._state.url

    @property
    def home(self) -> Path:
        """`HF_HOME` of clients that are given no other one."""
        return self._folder / "home"

    @property
    def crashes(self) -> list[str]:
        """Tracebacks of this server's own errors; a test that meets one proves nothing."""
        return self._served.crashes

    def add_account(self, name: str) -> Account:
        """A new account with its two tokens."""
        account = self._state.accounts[name] = Account(name)
        return account

    # Content

    def put_model(
        self, repo_id: str, folder: Path, *, branch: str = "main", private: bool = False, gated: bool = False
    ) -> str:
        """Put the files of a folder into a model repository, without the wire.

        One commit replaces whatever the branch held; the repository and the branch are made where needed.

        Args:
            repo_id: `"owner/name"`.
            folder: With the files.
            branch: To commit to; a new one starts at main.
            private: Whether the repository is there for its owner only, from now on.
            gated: Whether its files need the owner's leave, from now on; see `grant`.

        Returns:
            The sha of the commit.
        """
        return self._put("models", repo_id, folder, branch, private, gated)

    def put_dataset(
        self, repo_id: str, folder: Path, *, branch: str = "main", private: bool = False, gated: bool = False
    ) -> str:
        """Put the files of a folder into a dataset repository, without the wire; see `put_model`."""
        return self._put("datasets", repo_id, folder, branch, private, gated)

    def _put(self, kind: Kind, repo_id: str, folder: Path, branch: str, private: bool, gated: bool) -> str:
        paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        tree = {name: Blob.of(name, path.read_bytes()) for name, path in paths.items()}
        with self._served.lock:
            storage = self._state.storage
            repo = storage.repos.get((kind, repo_id)) or storage.create(kind, repo_id)
            repo.private, repo.gated = private, gated
            repo.branches.setdefault(branch, repo.branches["main"])
            storage.keep(tree)
            attributes = {".gitattributes": repo.at("main").tree[".gitattributes"]}
            return repo.commit(branch, {**attributes, **tree}, f"Put {folder.name}").sha

    def tag(self, repo_id: str, name: str, revision: str = "main", *, kind: Kind = "models") -> None:
        """Give a revision a tag."""
        with self._served.lock:
            repo = self.repo(repo_id, kind=kind)
            repo.tags[name] = repo.at(revision).sha

    def grant(self, repo_id: str, account: Account, *, kind: Kind = "models") -> None:
        """Let an account through the gate of a repository."""
        with self._served.lock:
            self.repo(repo_id, kind=kind).granted.add(account.name)

    def repo(self, repo_id: str, *, kind: Kind = "models") -> Repo:
        """A repository as it stands.

        Raises:
            KeyError: There is none.
        """
        return self._state.storage.repos[kind, repo_id]

    def files(self, repo_id: str, revision: str = "main", *, kind: Kind = "models") -> list[str]:
        """The paths of a repository's files, sorted."""
        with self._served.lock:
            return sorted(self.repo(repo_id, kind=kind).at(revision).tree)

    def read(self, repo_id: str, path: str, revision: str = "main", *, kind: Kind = "models") -> bytes:
        """The content of one file."""
        with self._served.lock:
            return self.repo(repo_id, kind=kind).at(revision).tree[path].data

    def holds(self, text: str) -> list[str]:
        """The files, in any repository and any commit, whose path or content holds a text: for tokens."""
        with self._served.lock:
            return sorted(
                f"{repo.kind}/{repo.repo_id}/{path}@{commit.sha}"
                for repo in self._state.storage.repos.values()
                for commit in repo.commits.values()
                for path, blob in commit.tree.items()
                if text in path or text.encode() in blob.data
            )

    # Requests

    def requests(self, methods: str = "GET HEAD POST PUT DELETE", pattern: str = "") -> list[Seen]:
        """The requests so far whose method is named and whose path and query match, in their order."""
        with self._served.lock:
            return [
                seen
                for seen in self._served.record
                if seen.request.method in methods.split() and re.search(pattern, seen.request.target)
            ]

    # Failures: each meets the next `times` requests of these methods whose path and query hold the pattern.

    def fail(
        self, methods: str, pattern: str, status: int = 500, *, times: int = 1, retry_after: int | None = None
    ) -> Fault:
        """Answer with an error status, and with `Retry-After` in seconds where given."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        response = Response.json({"error": f"Failure on demand: {status}"}, status, headers)
        return self._add_fault(methods, pattern, Answer(response), times)

    def hold(self, methods: str, pattern: str, seconds: float = 5.0, *, times: int = 1) -> Fault:
        """Keep the right answer back until `Fault.release`, or so many seconds."""
        return self._add_fault(methods, pattern, Hold(seconds), times)

    def hang_up(self, methods: str, pattern: str, *, times: int = 1) -> Fault:
        """End the connection instead of carrying the request out."""
        return self._add_fault(methods, pattern, HangUp(), times)

    def lose_answer(self, methods: str, pattern: str, *, times: int = 1) -> Fault:
        """Carry the request out, and end the connection without an answer."""
        return self._add_fault(methods, pattern, LoseAnswer(), times)

    def drop_upload(self, methods: str, pattern: str, after: int, *, times: int = 1) -> Fault:
        """End the connection after so many bytes of the request's body."""
        return self._add_fault(methods, pattern, DropUpload(after), times)

    def drop_download(self, methods: str, pattern: str, after: int, *, times: int = 1) -> Fault:
        """End the connection after so many bytes of the answer's body."""
        return self._add_fault(methods, pattern, DropDownload(after), times)

    def _add_fault(self, methods: str, pattern: str, action: Action, times: int) -> Fault:
        return self._served.faults.add(Fault(methods, pattern, action, times))

    def clear_faults(self) -> None:
        """Fail no more, and let held answers go."""
        self._served.faults.clear()

    # Clients

    def environment(
        self, *, token: str | None = None, home: Path | None = None, **variables: str
    ) -> dict[str, str]:
        """The whole environment of a client process; see `client.environment`.

        Args:
            token: For `HF_TOKEN`; `None` for an anonymous client.
            home: `HF_HOME`; by default `home`, which the clients of this Hub share.
            variables: More environment variables.
        """
        return client.environment(self.url, home or self.home, token, variables)

    def run_client(
        self,
        command: str | Sequence[str],
        *,
        token: str | None = None,
        home: Path | None = None,
        cwd: Path | None = None,
        timeout: float = 120.0,
        **variables: str,
    ) -> client.ClientRun:
        """Run Python as a client of this Hub: the clients read `HF_ENDPOINT` when they are imported.

        Args:
            command: Python code, or the arguments of Python.
            token: See `environment`, as `home` and `variables`.
            cwd: Where it runs; by default this Hub's folder.
            timeout: Seconds after which it is ended, with its children.

        Raises:
            TimeoutError: It took longer.
        """
        settings = self.environment(token=token, home=home, **variables)
        return client.run(command, settings, timeout=timeout, cwd=cwd or self._folder)
