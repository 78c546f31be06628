"""Telling complete checkpoints from those whose writing was cut short, or of which a part was lost."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_pt_utils import safe_globals
from transformers.utils import logging

logger = logging.get_logger(__name__)

MANIFEST_FILE = "structkd_manifest.json"
_FOLDER_NAME = re.compile(r"checkpoint-(\d+)")
# Those of all formats; adapters of PEFT may stand in a folder of their own.
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin", "**/adapter_model.*")
_TENSORS = (".safetensors", ".pt", ".pth", ".bin")
_NOT_READ = "training_args.bin"  # a pickle of arguments, which Trainer writes for people to look at


def begin_checkpoint(folder: str | Path) -> None:
    """Make a folder that is written again incomplete, until Trainer has written its last file."""
    for name in (MANIFEST_FILE, TRAINER_STATE_NAME):
        (Path(folder) / name).unlink(missing_ok=True)


def list_files(folder: str | Path) -> None:
    """Write the names, sizes and checksums of a checkpoint's files into it.

    Trainer writes its own state after this, as the last file: without a list or a readable state, a
    checkpoint is not complete.
    """
    folder = Path(folder)
    files = {str(path.relative_to(folder)): (path.stat().st_size, _checksum(path)) for path in _files(folder)}
    (folder / MANIFEST_FILE).write_text(json.dumps(files, indent=2) + "\n", encoding="utf-8")


def what_is_missing(folder: str | Path, *, read_all: bool = True) -> str | None:
    """Say why a run cannot be resumed from this folder; return None if its checkpoint is complete.

    Args:
        folder: The checkpoint.
        read_all: Whether every byte is compared, and not only the sizes.
    """
    folder = Path(folder)
    state, files = read_object(folder / TRAINER_STATE_NAME), _read_list(folder / MANIFEST_FILE)
    if state is None:
        return f"its {TRAINER_STATE_NAME}, which is written last, is missing or cut"
    if files is None:
        if not (folder / MANIFEST_FILE).exists() and any(any(folder.glob(name)) for name in _WEIGHTS):
            return (
                f"it holds a student and no {MANIFEST_FILE}: it was saved with `save_only_model`, or by "
                "another trainer, and lacks the optimiser or the terms' states"
            )
        return f"its {MANIFEST_FILE} is missing or cut"
    for name, (size, checksum) in files.items():
        path = folder / name
        if not path.is_file():
            return f"its {name} is missing"
        if path.stat().st_size != size:
            return f"its {name} has {path.stat().st_size:,} bytes in place of {size:,}"
        if read_all and _checksum(path) != checksum:
            return f"its {name} has its size, but not the bytes that were written"
    unreadable = (_why_unreadable(path) for path in _files(folder) if read_all)
    return next((problem for problem in unreadable if problem is not None), None)


def last_checkpoint(output_dir: str | Path | None) -> str | None:
    """Return the latest complete checkpoint in a folder, or None; warn of later ones that are passed over."""
    passed: list[str] = []
    last = None
    for folder in _folders(output_dir):
        problem = what_is_missing(folder)
        if problem is None:
            last = str(folder)
            break
        passed.append(f"{folder.name} ({problem})")
    if passed:
        logger.warning_once(f"Incomplete checkpoints in {output_dir} are passed over: {'; '.join(passed)}.")
    return last


def checkpoint_to_resume(resume: str | Path | bool | None, output_dir: str | None) -> str | None:
    """Return the checkpoint from which `train(resume_from_checkpoint=resume)` goes on; None starts anew.

    Raises:
        ValueError: If there is none, or if the one that is named is not complete.
    """
    if resume is None or resume is False:
        return None
    if resume is True:
        last = last_checkpoint(output_dir)
        if last is None:
            passed = [folder.name for folder in _folders(output_dir)]
            raise ValueError(
                f"`resume_from_checkpoint` is True, but `output_dir` {output_dir} holds no complete "
                f"checkpoint (incomplete: {', '.join(passed) or 'none'}); start anew with None, or name "
                "another folder."
            )
        return last
    if not Path(resume).is_dir():
        raise ValueError(
            f"`resume_from_checkpoint` must name a checkpoint's folder, and {resume} is none; name one, or "
            "pass True for the last complete checkpoint in `output_dir`."
        )
    problem = what_is_missing(resume)
    if problem is not None:
        raise ValueError(
            f"`resume_from_checkpoint` {resume} cannot be resumed: {problem}; pass True for the last "
            "complete checkpoint in `output_dir`, or start a new training from a student."
        )
    return str(resume)


def remove_unfinished(output_dir: str | Path, keep: str | Path) -> None:
    """Remove checkpoints whose writing was cut short, because rotation would count them as good ones.

    Args:
        output_dir: The folder of the checkpoints.
        keep: The one that is being written.
    """
    for folder in _folders(output_dir):
        has_state = read_object(folder / TRAINER_STATE_NAME) is not None
        is_listed = (folder / MANIFEST_FILE).exists()
        if folder.resolve() != Path(keep).resolve() and (
            not has_state or (is_listed and what_is_missing(folder, read_all=False) is not None)
        ):
            logger.warning(f"{folder} is incomplete ({what_is_missing(folder)}) and is removed.")
            shutil.rmtree(folder)


def _folders(output_dir: str | Path | None) -> list[Path]:
    """Return the checkpoints of a folder, complete or not, the latest first."""
    if output_dir is None or not Path(output_dir).is_dir():
        return []
    steps = {
        int(match[1]): path
        for path in Path(output_dir).iterdir()
        if path.is_dir() and (match := _FOLDER_NAME.fullmatch(path.name))
    }
    return [steps[step] for step in sorted(steps, reverse=True)]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a checkpoint but the two that close it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (MANIFEST_FILE, TRAINER_STATE_NAME):
            yield path


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(path: Path) -> dict[str, Any] | None:
    """Return a JSON file's object, or None if it is missing, cut or of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_list(path: Path) -> dict[str, list[Any]] | None:
    """Return size and checksum of each file that a list names, or None if it is no such list."""
    content = read_object(path)
    is_list = content is not None and all(isinstance(v, list) and len(v) == 2 for v in content.values())
    return content if is_list else None


def _why_unreadable(path: Path) -> str | None:
    """Say why a file of states cannot be read; None if it can.

    Checksums do not help against somebody who writes the list too. Trainer refuses pickled code as well, but
    in many lines and in the midst of loading.
    """
    if path.suffix not in _TENSORS or path.name == _NOT_READ:
        return None
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):
                return None
        with safe_globals():
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the readers of both formats raise many types
        return f"its {path.name} is damaged, or holds more than tensors and numbers ({type(error).__name__})"
    return None
