"""Repositories in memory: blobs, commits, branches and tags, and the store of large files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

from .wire import Refusal

Kind = Literal["models", "datasets"]

_LARGE = """
.7z .arrow .avro .bin .bz2 .ckpt .ftz .gz .h5 .joblib .lz4 .mlmodel .model .msgpack .npy .npz .onnx .ot
.parquet .pb .pickle .pkl .pt .pth .rar .safetensors .tar .tflite .tgz .wasm .xz .zip .zst
"""
LFS_SUFFIXES = tuple(_LARGE.split())
LFS_SIZE = 10 * 1024 * 1024
SAMPLE_SIZE = 512
GIT_ATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES
).encode()


def belongs_in_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub takes a file as a large one: by its name, its size, or a zero byte near its start.

    An empty file never is: the clients send it as a regular one whatever they are told.

    Args:
        path: Inside the repository.
        size: In bytes.
        sample: The first 512 bytes of the file.
    """
    return size > 0 and (PurePosixPath(path).suffix in LFS_SUFFIXES or size > LFS_SIZE or b"\0" in sample)


@dataclass(frozen=True)
class Blob:
    """The content of one file.

    Args:
        data: The content.
        lfs: Whether git holds a pointer only, and the content lies in the store of large files.
    """

    data: bytes
    lfs: bool

    @classmethod
    def of(cls, path: str, data: bytes) -> Blob:
        """The blob that the Hub's own rule makes of a file."""
        return cls(data, belongs_in_lfs(path, len(data), data[:SAMPLE_SIZE]))

    @cached_property
    def sha256(self) -> str:
        """The name of the content in the store of large files."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        """What git holds instead of a large file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        ).encode()

    @cached_property
    def git_oid(self) -> str:
        """The sha1 by which git knows the file, or its pointer."""
        content = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        """What tells a client whether it has this content already."""
        return self.sha256 if self.lfs else self.git_oid


Tree = dict[str, Blob]


@dataclass(frozen=True)
class Commit:
    """A state of a repository; it stays readable under its sha for good."""

    sha: str
    parent: Commit | None
    tree: Tree
    title: str
    message: str
    author: str
    date: str

    def below(self, folder: str) -> Tree:
        """The files in a folder and its subfolders; `""` is the whole tree."""
        return {path: blob for path, blob in self.tree.items() if not folder or path.startswith(f"{folder}/")}

    def last_change(self, path: str) -> Commit:
        """The latest commit, this one or before, that changed a file or a folder."""
        commit = self
        while commit.parent is not None:
            before = commit.parent
            if before.tree.get(path) != commit.tree.get(path) or before.below(path) != commit.below(path):
                break
            commit = before
        return commit

    def history(self) -> list[Commit]:
        """This commit and those before it, the latest first."""
        commits, commit = [], self
        while True:
            commits.append(commit)
            if commit.parent is None:
                return commits
            commit = commit.parent


@dataclass
class Repo:
    """One repository.

    Args:
        kind: `"models"` or `"datasets"`.
        repo_id: `"owner/name"`.
        private: Whether it is there for its owner only.
        gated: Whether its files (not its name and its list of files) need the owner's leave.
        granted: Names of the accounts that have this leave.
    """

    kind: Kind
    repo_id: str
    private: bool = False
    gated: bool = False
    granted: set[str] = field(default_factory=set)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The account in whose namespace it lies."""
        return self.repo_id.split("/")[0]

    def commit(
        self, branch: str, tree: Tree, title: str, message: str = "", author: str | None = None
    ) -> Commit:
        """Put a new commit with this tree onto a branch."""
        parent = self.commits.get(self.branches.get(branch, ""))
        listing = "".join(f"{path} {blob.git_oid}\n" for path, blob in sorted(tree.items()))
        # The number of commits so far makes two equal trees with equal titles two commits.
        seed = f"{parent and parent.sha}\n{len(self.commits)}\n{title}\n{self.kind}/{self.repo_id}\n{listing}"
        commit = Commit(
            sha=hashlib.sha1(seed.encode()).hexdigest(),
            parent=parent,
            tree=dict(sorted(tree.items())),
            title=title,
            message=message,
            author=author or self.owner,
            date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        )
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a sha names.

        Raises:
            Refusal: There is none.
        """
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]


@dataclass
class Storage:
    """All repositories and the store of large files, which they share.

    Args:
        repos: By kind and id.
        objects: Content of large files by sha256.
    """

    repos: dict[tuple[Kind, str], Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    def create(self, kind: Kind, repo_id: str, *, private: bool = False, gated: bool = False) -> Repo:
        """A new repository with the first commit that the Hub itself makes."""
        repo = Repo(kind, repo_id, private, gated)
        repo.commit("main", {".gitattributes": Blob.of(".gitattributes", GIT_ATTRIBUTES)}, "initial commit")
        self.repos[kind, repo_id] = repo
        return repo

    def keep(self, blobs: Tree) -> None:
        """Put the content of the large files among these into the store."""
        self.objects.update({blob.sha256: blob.data for blob in blobs.values() if blob.lfs})
