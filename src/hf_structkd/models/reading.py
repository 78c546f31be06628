"""Say in one sentence why the files of a model cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..hub.access import explained, hub_fault
from .exported_networks import is_exported

_LONGEST = 300  # characters of another library's message that an error repeats


@contextmanager
def readable(what: str, name: str | Path, *, revision: str | None = None) -> Iterator[None]:
    """Say in one sentence why a model, or what lies beside it, could not be read.

    Args:
        what: The argument that names the model, as the sentence calls it.
        name: Hub id or folder.
        revision: Branch, tag or commit that was asked for.

    Raises:
        ValueError: If a revision of a folder is asked for, if it is a file of operations, if a file is
            missing, damaged or contradicts another, or as `hub.access.explained`.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    if revision is not None and Path(name).is_dir():
        raise ValueError(
            f"{what} {name} is a folder, which has no revisions, got {revision!r}; leave the revision out, "
            "or name the model on the Hub."
        )
    if is_exported(name):
        raise ValueError(
            f"{what} {name} is a file of operations, which can teach and not learn; name a folder or a "
            "model on the Hub."
        )
    with explained(what, name, revision=revision):
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # the readers of configurations and weights raise many types
            if hub_fault(error) is not None:
                raise
            if "trust_remote_code" in str(error):
                raise ValueError(
                    f"{what} {name} brings code of its own, which is run only if you trust it; read it, then "
                    "pass --trust_remote_code, or in Python the model that its auto class loads with "
                    "`trust_remote_code=True`."
                ) from error
            said = " ".join(f"{type(error).__name__}: {error}".split())
            said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
            raise ValueError(
                f"{what} {name} cannot be loaded ({said}); check that its files are complete and belong "
                "together, and download or save it again."
            ) from error
