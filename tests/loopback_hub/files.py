"""Endpoints that hand out the content of files: `resolve` on the Hub, and the storage behind signed URLs."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Literal
from urllib.parse import quote

from .state import PAGE, REPO, Route, State
from .storage import Blob, Commit
from .wire import Refusal, Request, Response

CACHE = rf"/api/resolve-cache/(?P<kind>models|datasets)/{REPO}"
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def commit_header(commit: Commit) -> dict[str, str]:
    """The header that ties an answer to a commit; without it no client remembers that a file is absent."""
    return {"X-Repo-Commit": commit.sha}


def resolve(state: State, request: Request, prefix: str, repo_id: str, revision: str, path: str) -> Response:
    """Where the content of a file lies: a large one in the storage, another one on the Hub itself."""
    kind = prefix or "models"
    commit = state.open_repo(request, kind, repo_id).at(revision)
    blob = _entry(commit, path)
    headers = {
        **commit_header(commit),
        "ETag": f'"{blob.etag}"',
        "X-Linked-ETag": f'"{blob.etag}"',
        "X-Linked-Size": str(len(blob.data)),
    }
    if blob.lfs:
        return Response(302, headers={**headers, "Location": state.download_url(blob, path)})
    place = f"/api/resolve-cache/{kind}/{repo_id}/{commit.sha}/{quote(path, safe='/')}"
    return Response(307, headers={**headers, "Location": place})


def resolve_cache(state: State, request: Request, kind: str, repo_id: str, sha: str, path: str) -> Response:
    """The content of a regular file."""
    commit = state.open_repo(request, kind, repo_id).at(sha)
    blob = _entry(commit, path)
    return content(request, blob.data, {**commit_header(commit), "ETag": f'"{blob.etag}"'})


def _entry(commit: Commit, path: str) -> Blob:
    if path not in commit.tree:
        raise Refusal(404, "Entry not found", "EntryNotFound", commit_header(commit))
    return commit.tree[path]


def content(request: Request, data: bytes, headers: dict[str, str]) -> Response:
    """The bytes of a file, or the range of them that was asked for.

    Raises:
        Refusal: The range begins behind the end (416).
    """
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None:
        return Response(200, data, headers)
    first, last = asked.groups()
    start = int(first) if first else max(len(data) - int(last), 0)
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data):
        raise Refusal(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(206, data[start:stop], headers)


def download(state: State, request: Request, oid: str) -> Response:
    """A large file out of the storage."""
    _check_signature(state, request, "GET", oid)
    if oid not in state.storage.objects:
        raise Refusal(404, "No such key")
    return content(request, state.storage.objects[oid], {"ETag": f'"{oid}"'})


def upload(state: State, request: Request, oid: str) -> Response:
    """A large file into the storage."""
    _check_signature(state, request, "PUT", oid)
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise Refusal(400, "The content does not have the promised sha256")
    state.storage.objects[oid] = request.body
    return Response(200, headers={"ETag": f'"{oid}"'})


def _check_signature(state: State, request: Request, method: Literal["GET", "PUT"], oid: str) -> None:
    if request.token is not None:
        # As S3 does. A client that sends the token here has sent it to another company.
        raise Refusal(400, "Only one auth mechanism allowed; found a signature and an Authorization header")
    if not hmac.compare_digest(request.query.get("signature", ""), state.signature(method, oid)):
        raise Refusal(403, "The signature does not match")


ROUTES = (
    Route("GET HEAD", rf"{PAGE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
    Route("GET HEAD", rf"{CACHE}/(?P<sha>[0-9a-f]{{40}})/(?P<path>.+)", resolve_cache),
)
STORAGE_ROUTES = (
    Route("GET HEAD", r"/objects/(?P<oid>[0-9a-f]{64})", download),
    Route("PUT", r"/objects/(?P<oid>[0-9a-f]{64})", upload),
)
