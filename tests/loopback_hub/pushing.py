"""Endpoints of a push: create, validate the card, ask how to send each file, send the large ones, commit."""

from __future__ import annotations

import base64
import json
from typing import Any

from .accounts import ANONYMOUS, check_writer
from .cards import check_card
from .files import commit_header
from .state import API, PAGE, Route, State
from .storage import Blob, Commit, Kind, Repo, Tree, belongs_in_lfs
from .wire import Refusal, Request, Response


def create_repo(state: State, request: Request) -> Response:
    """A new repository; the 409 for one that exists names its page, which clients with `exist_ok` read."""
    order = request.json()
    kind: Kind = "datasets" if order.get("type") == "dataset" else "models"
    caller = state.caller(request)
    if caller is None:
        raise Refusal(401, ANONYMOUS)
    owner = order.get("organization") or caller.name
    check_writer(caller, owner, f"create a {kind.removesuffix('s')}")
    repo_id = f"{owner}/{order['name']}"
    old = state.storage.repos.get((kind, repo_id))
    if old is not None:
        message = f"You already created this {kind.removesuffix('s')} repo: {repo_id}"
        return Response.json({"error": message, "url": state.page_url(old)}, 409)
    repo = state.storage.create(kind, repo_id, private=order.get("visibility") == "private")
    return Response.json({"url": state.page_url(repo), "id": repo_id, "name": repo_id})


def validate_yaml(state: State, request: Request) -> Response:
    """What is wrong with the metadata of a README; always in JSON, which the client relies on."""
    errors, warnings = check_card(request.json()["content"])
    found = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
    return Response.json(found, 400 if errors else 200)


def preupload(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """How to send each file, and what lies under its name already: the client skips what is equal."""
    commit = _branch_to_write(state, request, kind, repo_id, revision)[1]
    files = []
    for file in request.json()["files"]:
        large = belongs_in_lfs(file["path"], file["size"], base64.b64decode(file["sample"]))
        old = commit.tree.get(file["path"])
        oid = {} if old is None else {"oid": old.etag}
        mode = "lfs" if large else "regular"
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
    return Response.json({"files": files})


def lfs_batch(state: State, request: Request, prefix: str, repo_id: str) -> Response:
    """Where to put each large file; one that the storage holds already needs no upload."""
    repo = state.repo(request, prefix or "models", repo_id)
    check_writer(state.caller(request), repo.owner, f"write to {repo_id}")
    objects: list[dict[str, Any]] = []
    for wanted in request.json()["objects"]:
        known = {"oid": wanted["oid"], "size": wanted["size"]}
        upload = {"upload": {"href": state.upload_url(wanted["oid"]), "header": {}}}
        objects.append(known if wanted["oid"] in state.storage.objects else {**known, "actions": upload})
    return Response.json({"transfer": "basic", "objects": objects})


def commit(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """One new commit out of lines of JSON: all of it, or nothing."""
    repo, parent = _branch_to_write(state, request, kind, repo_id, revision)
    lines = [json.loads(line) for line in request.body.splitlines() if line]
    header = lines[0]["value"]
    if header.get("parentCommit", parent.sha) != parent.sha:
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    changed = dict(parent.tree)
    for line in lines[1:]:
        _apply(state, parent, changed, line["key"], line["value"])
    readme = changed.get("README.md")
    errors = check_card(readme.data.decode())[0] if readme and readme != parent.tree.get("README.md") else []
    if errors:
        raise Refusal(400, "Invalid metadata in README.md: " + "; ".join(errors))
    caller = check_writer(state.caller(request), repo.owner, f"write to {repo_id}")
    new = repo.commit(revision, changed, header["summary"], header.get("description", ""), caller.name)
    page = f"{state.page_url(repo)}/commit/{new.sha}"
    return Response.json({"success": True, "commitOid": new.sha, "commitUrl": page, "hookOutput": ""})


def _apply(state: State, parent: Commit, changed: Tree, key: str, value: dict[str, Any]) -> None:
    """Carry out one line of a commit on the tree that it changes."""
    path = value["path"].rstrip("/")
    match key:
        case "file":
            changed[path] = Blob(base64.b64decode(value["content"]), lfs=False)
        case "lfsFile":
            if value["oid"] not in state.storage.objects:
                raise Refusal(400, f"The large file of {path} was not uploaded")
            changed[path] = Blob(state.storage.objects[value["oid"]], lfs=True)
        case "deletedFile" | "deletedFolder":
            gone = [path] if key == "deletedFile" else list(parent.below(path))
            if not gone or any(name not in parent.tree for name in gone):
                message = f"A file with this name doesn't exist: {path}"
                raise Refusal(404, message, "EntryNotFound", commit_header(parent))
            for name in gone:
                changed.pop(name, None)
        case _:
            raise Refusal(400, f"Unknown operation: {key}")


def _branch_to_write(
    state: State, request: Request, kind: str, repo_id: str, revision: str
) -> tuple[Repo, Commit]:
    """A repository that the caller may write to, and the last commit of one of its branches."""
    repo = state.repo(request, kind, repo_id)
    check_writer(state.caller(request), repo.owner, f"write to {repo_id}")
    if "create_pr" in request.query:
        raise Refusal(400, "Pull requests are not taken here")
    if revision not in repo.branches:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return repo, repo.at(revision)


ROUTES = (
    Route("POST", "/api/repos/create", create_repo),
    Route("POST", "/api/validate-yaml", validate_yaml),
    Route("POST", rf"{API}/preupload/(?P<revision>[^/]+)", preupload),
    Route("POST", rf"{PAGE}\.git/info/lfs/objects/batch", lfs_batch),
    Route("POST", rf"{API}/commit/(?P<revision>[^/]+)", commit),
)
