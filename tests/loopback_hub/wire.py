"""What goes over the wire: a request, an answer, and a refusal in the form that the clients understand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came in.

    Args:
        method: `"GET"`, `"HEAD"`, `"POST"` or `"PUT"`.
        target: Path and query, still percent-encoded.
        headers: By lower-case name.
        body: The whole body; empty where there is none.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, still percent-encoded: a revision may hold an encoded slash."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the URL; the last value of each."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def form(self) -> dict[str, list[str]]:
        """The fields of a form in the body."""
        return parse_qs(self.body.decode())

    @property
    def token(self) -> str | None:
        """The token of the Authorization header, `None` where the request carries no such header."""
        value = self.headers.get("authorization")
        return None if value is None else value.removeprefix("Bearer ")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """One answer; the server adds Content-Length, and leaves the body out of an answer to HEAD."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, payload: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """An answer in JSON."""
        return cls(
            status, json.dumps(payload).encode(), {"Content-Type": "application/json", **(headers or {})}
        )


class Refusal(Exception):
    """An answer that says no.

    The clients tell apart a missing repository, revision and file by `X-Error-Code` alone: on plain http a
    bare 401 or 404 is a nameless HTTP error to them.

    Args:
        status: HTTP status, 400 and up.
        message: For the user; goes into `X-Error-Message` and into the JSON body.
        code: `RepoNotFound`, `RevisionNotFound`, `EntryNotFound` or `GatedRepo`, where one applies.
        headers: More headers.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        named = {} if code is None else {"X-Error-Code": code}
        self.response = Response.json(
            {"error": message}, status, {**named, "X-Error-Message": message, **(headers or {})}
        )


def decoded(groups: dict[str, str | None]) -> dict[str, str]:
    """The parts of a path that a route matched, percent-decoded; parts that are absent become empty."""
    return {name: unquote(value or "") for name, value in groups.items()}
