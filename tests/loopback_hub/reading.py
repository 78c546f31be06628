"""Endpoints that look at repositories and their history, and those that name branches and tags."""

from __future__ import annotations

from typing import Any

import yaml

from .accounts import check_writer
from .cards import read_metadata
from .files import commit_header
from .state import API, Route, State
from .storage import Blob, Commit, Repo
from .wire import Refusal, Request, Response


def whoami(state: State, request: Request) -> Response:
    """The account behind a token."""
    caller = state.caller(request)
    if caller is None:
        raise Refusal(401, "Invalid username or password.")
    access = {"displayName": "test", "role": caller.role}
    auth = {"type": "access_token", "accessToken": access}
    name = {"type": "user", "id": caller.name, "name": caller.name, "fullname": caller.name}
    return Response.json({**name, "orgs": [], "auth": auth})


def auth_check(state: State, request: Request, kind: str, repo_id: str, write: str) -> Response:
    """Whether the caller may read the files of a repository, or write them."""
    repo = state.open_repo(request, kind, repo_id)
    if write:
        check_writer(state.caller(request), repo.owner, f"write to {repo_id}")
    return Response.json({})


def repo_info(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """What is known of a repository at a revision, its file names among it."""
    repo = state.repo(request, kind, repo_id)
    commit = repo.at(revision or "main")
    sizes = request.query.get("blobs", "").lower() == "true"
    siblings = [
        {"rfilename": path, **(_sibling_details(blob) if sizes else {})} for path, blob in commit.tree.items()
    ]
    state_of_repo = {"private": repo.private, "gated": "manual" if repo.gated else False, "disabled": False}
    info = {
        "_id": repo.repo_id,
        "id": repo.repo_id,
        "author": repo.owner,
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": commit.history()[-1].date,
        **state_of_repo,
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
        **_card_fields(commit),
    }
    return Response.json(info, headers=commit_header(commit))


def _sibling_details(blob: Blob) -> dict[str, Any]:
    large = {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    return {"size": len(blob.data), "blobId": blob.git_oid, **({"lfs": large} if blob.lfs else {})}


def _card_fields(commit: Commit) -> dict[str, Any]:
    """What the Hub reads out of a README; nothing where it holds no metadata."""
    readme = commit.tree.get("README.md")
    try:
        card = read_metadata(readme.data.decode()) if readme else None
    except yaml.YAMLError:
        card = None
    if not isinstance(card, dict):
        return {"tags": []}
    tags = card.get("tags", [])
    named = {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
    return {"cardData": card, "tags": tags if isinstance(tags, list) else [tags], **named}


def tree(state: State, request: Request, kind: str, repo_id: str, revision: str, path: str) -> Response:
    """The files and folders in a folder; with `recursive`, in its subfolders too."""
    repo = state.repo(request, kind, repo_id)
    commit = repo.at(revision)
    if path and not commit.below(path):
        message = f"{path} does not exist on {revision}"
        raise Refusal(404, message, "EntryNotFound", commit_header(commit))
    depth = len(path.split("/")) if path else 0
    recursive = request.query.get("recursive", "").lower() == "true"
    entries = set(commit.below(path)) | _folders(commit.below(path))
    listed = sorted(e for e in entries if len(e.split("/")) > depth and (recursive or e.count("/") == depth))
    expand = request.query.get("expand", "").lower() == "true"
    return Response.json([_entry(commit, e, expand) for e in listed], headers=commit_header(commit))


def _folders(files: dict[str, Blob]) -> set[str]:
    parents = (path.split("/")[:-1] for path in files)
    return {"/".join(parts[: i + 1]) for parts in parents for i in range(len(parts))}


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    """One line of a listing."""
    blob = commit.tree.get(path)
    if blob is None:
        inside = "".join(f"{p} {b.git_oid}\n" for p, b in commit.below(path).items())
        entry = {
            "type": "directory",
            "path": path,
            "size": 0,
            "oid": Blob(inside.encode(), lfs=False).git_oid,
        }
    else:
        entry = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.git_oid}
        if blob.lfs:
            entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    if expand:
        last = commit.last_change(path)
        entry["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
    return entry


def paths_info(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """What is known of the paths in a form; paths that do not exist are left out."""
    commit = state.repo(request, kind, repo_id).at(revision)
    paths = [path.strip("/") for path in request.form.get("paths", [])]
    known = [path for path in paths if path in commit.tree or commit.below(path)]
    expand = request.form.get("expand", [""])[-1].lower() == "true"
    return Response.json([_entry(commit, path, expand) for path in known])


def refs(state: State, request: Request, kind: str, repo_id: str) -> Response:
    """The branches and tags of a repository."""
    repo = state.repo(request, kind, repo_id)
    branches, tags = (
        [{"name": name, "ref": f"refs/{place}/{name}", "targetCommit": sha} for name, sha in named.items()]
        for place, named in (("heads", repo.branches), ("tags", repo.tags))
    )
    return Response.json({"branches": branches, "converts": [], "tags": tags})


def commits(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """The history of a revision, the latest commit first."""
    repo = state.repo(request, kind, repo_id)
    listed = [
        {"id": c.sha, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
        for c in repo.at(revision).history()
    ]
    return Response.json(listed)


def create_branch(state: State, request: Request, kind: str, repo_id: str, branch: str) -> Response:
    """A new branch, from `startingPoint` or from main."""
    repo = _writable(state, request, kind, repo_id)
    if branch in repo.branches:
        raise Refusal(409, f"Reference already exists: {branch}")
    repo.branches[branch] = repo.at(request.json().get("startingPoint", "main")).sha
    return Response.json({})


def create_tag(state: State, request: Request, kind: str, repo_id: str, revision: str) -> Response:
    """A new tag for a revision."""
    repo = _writable(state, request, kind, repo_id)
    tag = request.json()["tag"]
    if tag in repo.tags:
        raise Refusal(409, f"Tag reference exists already: {tag}")
    repo.tags[tag] = repo.at(revision).sha
    return Response.json({})


def _writable(state: State, request: Request, kind: str, repo_id: str) -> Repo:
    repo = state.repo(request, kind, repo_id)
    check_writer(state.caller(request), repo.owner, f"write to {repo_id}")
    return repo


ROUTES = (
    Route("GET", "/api/whoami-v2", whoami),
    Route("GET", rf"{API}/auth-check(?P<write>/write)?", auth_check),
    Route("GET", rf"{API}/revision/(?P<revision>[^/]+)", repo_info),
    Route("GET", rf"{API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", tree),
    Route("GET", rf"{API}/refs", refs),
    Route("GET", rf"{API}/commits/(?P<revision>[^/]+)", commits),
    Route("POST", rf"{API}/paths-info/(?P<revision>[^/]+)", paths_info),
    Route("POST", rf"{API}/branch/(?P<branch>[^/]+)", create_branch),
    Route("POST", rf"{API}/tag/(?P<revision>[^/]+)", create_tag),
    Route("GET", rf"{API}(?P<revision>)", repo_info),
)
