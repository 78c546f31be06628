"""Who may do what: accounts with a token for reading and one for writing, and refusals for everybody else."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from .storage import Kind, Repo, Storage
from .wire import Refusal, Request

INVALID_CREDENTIALS = "Invalid credentials in Authorization header"
ANONYMOUS = "Invalid username or password."


def _new_token() -> str:
    return f"hf_{secrets.token_hex(17)}"


@dataclass(frozen=True)
class Account:
    """One user of the Hub; its tokens are random, so that finding one in a file is never chance."""

    name: str
    write_token: str = field(default_factory=_new_token)
    read_token: str = field(default_factory=_new_token)


@dataclass(frozen=True)
class Caller:
    """The account behind a request, and what its token allows."""

    name: str
    role: Literal["read", "write"]


def identify(accounts: dict[str, Account], request: Request) -> Caller | None:
    """Who is calling; `None` without a token.

    Raises:
        Refusal: The token is nobody's; the Hub then refuses public repositories too.
    """
    token = request.token
    if token is None:
        return None
    for account in accounts.values():
        if token == account.write_token:
            return Caller(account.name, "write")
        if token == account.read_token:
            return Caller(account.name, "read")
    raise Refusal(401, INVALID_CREDENTIALS)


def readable(storage: Storage, caller: Caller | None, kind: Kind, repo_id: str) -> Repo:
    """A repository whose name and list of files this caller may see.

    Raises:
        Refusal: There is none, or it is somebody else's private one: the Hub does not say which.
    """
    repo = storage.repos.get((kind, repo_id))
    if repo is None or (repo.private and (caller is None or caller.name != repo.owner)):
        if caller is None:
            raise Refusal(401, ANONYMOUS, "RepoNotFound")
        raise Refusal(404, "Repository not found", "RepoNotFound")
    return repo


def check_gate(repo: Repo, caller: Caller | None) -> None:
    """Let through who may read the files of this repository.

    Raises:
        Refusal: It is gated, and the caller is nobody (401) or has no leave (403).
    """
    if not repo.gated:
        return
    restricted = f"Access to {repo.repo_id} is restricted."
    if caller is None:
        raise Refusal(401, f"{restricted} You must be authenticated to access it.", "GatedRepo")
    if caller.name != repo.owner and caller.name not in repo.granted:
        raise Refusal(403, f"{restricted} You are not in the authorized list. Ask for access.", "GatedRepo")


def check_writer(caller: Caller | None, owner: str, what: str) -> Caller:
    """The caller, if it may write in the namespace of `owner`.

    Raises:
        Refusal: It is nobody (401), somebody else, or its token is for reading only (403).
    """
    if caller is None:
        raise Refusal(401, ANONYMOUS)
    if caller.name != owner:
        raise Refusal(403, f"You don't have the rights to {what} under the namespace {owner}")
    if caller.role != "write":
        raise Refusal(403, f"You need a token with write permission to {what}")
    return caller
