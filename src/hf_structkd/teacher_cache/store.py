"""Tensors of many samples in a folder, written by several processes at once and read memory-mapped."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)

_SHARDS = "answers-*.safetensors"
_SHARD_BYTES = 32 * 2**20
_FACTS_FILE = "answers.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AnswerStore:
    """A folder of shards, each of which holds the named tensors of some samples.

    A process writes shards of its own under a temporary name and renames them when they are complete, so that
    a process that is killed leaves no shard that is half written, and others see only whole ones. What is not
    yet written when a process ends is lost and computed again.

    Args:
        folder: The folder; it is made if it does not exist.
        facts: What the folder holds, for people; it is written beside the shards.

    Attributes:
        is_writable: Whether answers are still taken; False after the disk refused one.

    Raises:
        ValueError: If the folder can neither be made nor read, unless the disk is full.
    """

    def __init__(self, folder: str | Path, facts: str = "") -> None:
        """Read which samples the folder holds."""
        self.folder = Path(folder)
        self.is_writable = True
        self._make_folder(facts)
        self._shards: dict[Path, Any] = {}
        self._places: dict[str, dict[str, Any]] = {}  # the shards of each sample, by the tensor's name
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._pending_bytes = 0
        self._find_shards()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._places.keys() | self._pending.keys())

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of a sample by their names, or None where there are none."""
        if key in self._pending:
            return dict(self._pending[key])
        if key not in self._places:
            self._find_shards()  # another process may have written it
        if key not in self._places:
            return None
        return {name: shard.get_tensor(f"{key}.{name}") for name, shard in self._places[key].items()}

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors of a sample; they are on disk after `flush` or when enough of them have come."""
        if not self.is_writable or key in self._places or key in self._pending:
            return
        self._pending[key] = dict(tensors)
        self._pending_bytes += sum(tensor.nbytes for tensor in tensors.values())
        if self._pending_bytes >= _SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk; a disk that refuses it ends the writing with a warning."""
        if not self._pending:
            return
        path = self.folder / _SHARDS.replace("*", uuid.uuid4().hex)
        part = path.with_suffix(".part")
        try:
            save_file({f"{key}.{name}": tensor for key, name, tensor in self._pending_tensors()}, part)
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            self._stop_writing(error)
        self._pending, self._pending_bytes = {}, 0
        self._find_shards()

    @property
    def free_bytes(self) -> int:
        """The free space of the disk that holds the folder."""
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        return shutil.disk_usage(place).free

    def _make_folder(self, facts: str) -> None:
        file = self.folder / _FACTS_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if facts and not file.is_file():  # a complete cache may be one that others can only read
                file.write_text(facts, encoding="utf-8")
        except OSError as error:
            if error.errno not in _FULL:
                raise ValueError(
                    f"`teacher_cache` must be a folder that can be written, got {self.folder.parent} "
                    f"({error}); choose another."
                ) from error
            self._stop_writing(error)

    def _stop_writing(self, error: Exception) -> None:
        self.is_writable = False
        logger.warning(
            "The teacher's answers can no longer be stored in %s (%s): the training goes on without storing "
            "more; free disk space, or choose another `teacher_cache`.",
            self.folder,
            error,
        )

    def _pending_tensors(self) -> Iterator[tuple[str, str, Tensor]]:
        for key, tensors in self._pending.items():
            for name, tensor in tensors.items():
                yield key, name, tensor.contiguous()

    def _find_shards(self) -> None:
        for path in self.folder.glob(_SHARDS):
            if path in self._shards:
                continue
            try:
                shard = self._shards[path] = safe_open(path, framework="pt")
            except (OSError, SafetensorError) as error:
                self._shards[path] = None
                logger.warning("%s cannot be read (%s); its answers are computed again.", path, error)
                continue
            for entry in shard.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 - not a mapping
                key, _, name = entry.partition(".")
                self._places.setdefault(key, {})[name] = shard
