"""Finds the origin of models and data by their names, on the disk and on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from huggingface_hub import hf_hub_download, metadata_load
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, not declared so
from transformers.utils import logging

from .facts import Origin

logger = logging.get_logger(__name__)


def find_origin(
    name_or_path: str, *, kind: Literal["model", "dataset"], revision: str | None, token: str | None
) -> Origin:
    """Return the name of a Hub id or a folder for a card, and the licences that its own card states.

    Args:
        name_or_path: Folder or file on this machine, otherwise an id if it has the form of one.
        kind: Kind of the repository.
        revision: Branch, tag or commit on the Hub; None means the main branch.
        token: Token of the Hub; None means the token of the environment.
    """
    hub_id, readme = hub_id_of(name_or_path), str(Path(name_or_path) / "README.md")
    licenses: tuple[str, ...] = ()
    try:
        if hub_id is not None:
            readme = hf_hub_download(hub_id, "README.md", repo_type=kind, revision=revision, token=token)
        if Path(readme).is_file():
            licenses = tuple(listed((metadata_load(readme) or {}).get("license")))
    except Exception as error:  # an unknown licence must not stop a push
        logger.info("The card of %s cannot be read: %s.", name_or_path, type(error).__name__)
    return Origin(name_of(name_or_path), hub_id, revision if hub_id else None, licenses)


def hub_id_of(name: str) -> str | None:
    """Return the name if it can be an id on the Hub; None for a local path and any other text."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def name_of(name_or_path: str) -> str:
    """Return a Hub id unchanged, and only the last name of a path, which tells nothing about the machine."""
    return hub_id_of(name_or_path) or Path(name_or_path).expanduser().resolve().name


def listed(value: str | Sequence[str] | None) -> list[str]:
    """Return one text, several texts or None as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
