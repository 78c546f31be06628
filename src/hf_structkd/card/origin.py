"""Where models and data came from, as their names, the disk and the Hub tell."""

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
    """Find what a Hub id or a folder is called on a card, and what its own card says of its licence.

    Args:
        name_or_path: What is no folder or file here is an id, if its form allows.
        kind: Which of the two it is.
        revision: Branch, tag or commit on the Hub.
        token: For the Hub; None is that of the environment.
    """
    hub_id, readme = hub_id_of(name_or_path), str(Path(name_or_path) / "README.md")
    licenses: tuple[str, ...] = ()
    try:
        if hub_id is not None:
            readme = hf_hub_download(hub_id, "README.md", repo_type=kind, revision=revision, token=token)
        if Path(readme).is_file():
            licenses = tuple(listed((metadata_load(readme) or {}).get("license")))
    except Exception as error:  # whatever the Hub or the file does, no push is lost for a licence
        logger.info("The card of %s cannot be read: %s.", name_or_path, type(error).__name__)
    return Origin(name_of(name_or_path), hub_id, revision if hub_id else None, licenses)


def hub_id_of(name: str) -> str | None:
    """Return the id on the Hub that a name can be; None for what is here, or has the form of no id."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def name_of(name_or_path: str) -> str:
    """Return a Hub id as it is, and of a path the last name, which says nothing of the machine."""
    return hub_id_of(name_or_path) or Path(name_or_path).expanduser().resolve().name


def listed(value: str | Sequence[str] | None) -> list[str]:
    """Return one, several or no texts as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
