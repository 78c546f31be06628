"""What the endpoints share: the storage, the accounts, the addresses, and the signature of storage URLs."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast
from urllib.parse import quote

from .accounts import Account, Caller, check_gate, identify, readable
from .storage import Blob, Kind, Repo, Storage
from .wire import Request, Response

REPO = r"(?P<repo_id>[^/]+(?:/[^/]+)?)"
PAGE = rf"(?:/(?P<prefix>datasets))?/{REPO}"
API = rf"/api/(?P<kind>models|datasets)/{REPO}"


@dataclass
class State:
    """The Hub behind its sockets.

    Args:
        url: Address of the Hub.
        storage_url: Address of the storage of large files: another port, so another origin.
    """

    url: str = ""
    storage_url: str = ""
    storage: Storage = field(default_factory=Storage)
    accounts: dict[str, Account] = field(default_factory=dict)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def caller(self, request: Request) -> Caller | None:
        """Who is calling; see `identify`."""
        return identify(self.accounts, request)

    def repo(self, request: Request, kind: str, repo_id: str) -> Repo:
        """A repository that the caller may see; see `readable`."""
        return readable(self.storage, self.caller(request), cast(Kind, kind), repo_id)

    def open_repo(self, request: Request, kind: str, repo_id: str) -> Repo:
        """A repository whose files the caller may read; see `check_gate`."""
        repo = self.repo(request, kind, repo_id)
        check_gate(repo, self.caller(request))
        return repo

    def signature(self, method: Literal["GET", "PUT"], oid: str) -> str:
        """The proof that a URL of the storage was given out by the Hub."""
        return hmac.new(self.secret, f"{method} {oid}".encode(), hashlib.sha256).hexdigest()

    def download_url(self, blob: Blob, path: str) -> str:
        """Where a large file can be fetched without a token."""
        name = quote(path.split("/")[-1])
        proof = self.signature("GET", blob.sha256)
        return f"{self.storage_url}/objects/{blob.sha256}?signature={proof}&filename={name}"

    def upload_url(self, oid: str) -> str:
        """Where a large file can be put without a token."""
        return f"{self.storage_url}/objects/{oid}?signature={self.signature('PUT', oid)}"

    def page_url(self, repo: Repo) -> str:
        """The web page of a repository."""
        prefix = "datasets/" if repo.kind == "datasets" else ""
        return f"{self.url}/{prefix}{repo.repo_id}"


Endpoint = Callable[..., Response]
"""Called with the state, the request and the named parts of the path."""


@dataclass(frozen=True)
class Route:
    """One kind of request, and the endpoint that answers it.

    Args:
        methods: Names of the methods, separated by spaces.
        pattern: Of the whole path, percent-encoded; its named groups go to the endpoint, decoded.
        endpoint: Gives the answer, or raises a `Refusal`.
    """

    methods: str
    pattern: str
    endpoint: Endpoint

    def match(self, request: Request) -> re.Match[str] | None:
        """The match of a request, `None` where another route has to answer it."""
        return re.fullmatch(self.pattern, request.path) if request.method in self.methods.split() else None
