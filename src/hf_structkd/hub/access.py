"""Say in one sentence what the Hub refuses, and check a push before the training that it ends."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import TrainingArguments

# Files of a run's folder that hold states or weights of other runs, or are private by their underscore.
NOT_PUSHED = ("_*", "checkpoint-*", "alone/*")

# The base class of the HTTP library in use; the client has changed the library before.
_HTTP_ERROR: type[BaseException] = HfHubHTTPError.__bases__[0]
_LOGIN = "log in with `hf auth login`"


@contextmanager
def explained(
    what: str,
    name: str | Path,
    *,
    revision: str | None = None,
    kind: Literal["model", "dataset"] = "model",
) -> Iterator[None]:
    """Say in one sentence what the Hub refused while something was loaded by name.

    Transformers and datasets wrap the client's errors, so the causes of an error are followed. An error
    without a part of the Hub is left as it is.

    Args:
        what: The argument that names the repository, as the sentence calls it.
        name: Hub id or folder.
        revision: Branch, tag or commit that was asked for.
        kind: Kind of the repository.

    Raises:
        ValueError: If there is no such repository or revision, or the user may not read it.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    with _reworded(partial(_as_sentence, what=what, name=str(name), revision=revision, kind=kind)):
        yield


@contextmanager
def _reworded(sentence: Callable[[BaseException], Exception]) -> Iterator[None]:
    """Replace an error by what ``sentence`` makes of the Hub's part in it, if the Hub has one."""
    try:
        yield
    except Exception as error:
        cause = hub_fault(error)
        if cause is None:
            raise
        raise sentence(cause) from error


def hub_fault(error: BaseException) -> BaseException | None:
    """Return the Hub's part in an error, the client's own error among its causes, or None if there is none.

    An answer of the Hub goes before "not reached", because the client says the latter after some answers too.
    """
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, (HfHubHTTPError, HFValidationError)):
            return None if isinstance(cause, EntryNotFoundError) else cause
    unreachable = (LocalEntryNotFoundError, ConnectionError, TimeoutError, _HTTP_ERROR)
    return next((cause for cause in chain if isinstance(cause, unreachable)), None)


def is_failure(fault: BaseException | None) -> bool:
    """Return whether the Hub's part in an error is an answer other than that there is no such thing."""
    absent = (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)
    return isinstance(fault, HfHubHTTPError) and not isinstance(fault, absent)


def reason(error: BaseException) -> str:
    """Say in a few words, without addresses and request ids, why the Hub refused."""
    if isinstance(error, HfHubHTTPError):
        said = f": {error.server_message}" if error.server_message else ""
        return f"the Hub answered {f'{_code(error)} {error.response.reason_phrase}'.strip()}{said}"
    if isinstance(error, _HTTP_ERROR):
        return f"the Hub could not be reached ({type(error).__name__})"
    return str(error).strip().removesuffix(".") or type(error).__name__


def check_push(args: TrainingArguments) -> None:
    """Ask the Hub, before anything is loaded or trained, whether the student can be pushed at the end.

    Nothing changes on the Hub. Only the first process asks, and only with `push_to_hub`.

    Args:
        args: Name the repository and the token.

    Raises:
        ValueError: If there is no token, the Hub does not know it, or it may not write to the repository.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    if not args.push_to_hub or args.process_index != 0:
        return
    token = args.hub_token or get_token()
    if token is None:
        raise ValueError(
            f"`push_to_hub` needs a token that may write, and there is none; {_LOGIN}, or set HF_TOKEN."
        )
    api = HfApi(token=token)
    repo_id = push_target(args)
    with _reworded(partial(_as_push_sentence, repo_id=repo_id)):
        user = api.whoami()
        repo_id = repo_id if "/" in repo_id else f"{user['name']}/{repo_id}"
        try:
            api.auth_check(repo_id, write=True)
            return
        except RepositoryNotFoundError:
            pass  # it is missing or another user's private one; the Hub does not say which
    _check_may_create(repo_id, user)


def open_repository(args: TrainingArguments, *, token: str | None = None, private: bool | None = None) -> str:
    """Make the repository and branch to push to, if they do not exist, and check the right to write.

    Args:
        args: Name the repository and the token.
        token: Replaces `args.hub_token`.
        private: Replaces `args.hub_private_repo`; a repository that exists stays as it is.

    Returns:
        The full id of the repository, "user/name".

    Raises:
        ValueError: If the token may not do so.
        ConnectionError: If the Hub cannot be reached, or fails.
    """
    api = HfApi(token=token or args.hub_token)
    repo_id = push_target(args)
    with _reworded(partial(_as_push_sentence, repo_id=repo_id)):
        is_private = args.hub_private_repo if private is None else private
        repo_id = str(api.create_repo(repo_id, private=is_private, exist_ok=True).repo_id)
        # Creating a repository that exists passes with any token.
        api.auth_check(repo_id, write=True)
        if args.hub_revision is not None:
            api.create_branch(repo_id, branch=args.hub_revision, exist_ok=True)
    return repo_id


def push_target(args: TrainingArguments) -> str:
    """Return the repository to push to: `hub_model_id`, or the name of the output folder.

    Raises:
        ValueError: If no repository can have that name.
    """
    repo_id = args.hub_model_id or Path(str(args.output_dir)).absolute().name
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(
            f"`hub_model_id` must be USER/NAME of letters, digits, '-', '_' and '.', got {repo_id!r}."
        ) from error
    return str(repo_id)


def upload_command(
    repo_id: str,
    folder: str | Path,
    *,
    revision: str | None = None,
    private: bool | None = None,
    exclude: Sequence[str] = (),
) -> str:
    """Return the shell command that pushes a run's folder, without checkpoints; it holds no token."""
    command = ["hf", "upload", repo_id, str(folder), "."]
    command += [part for pattern in (*NOT_PUSHED, *exclude) for part in ("--exclude", pattern)]
    command += ["--revision", revision] if revision is not None else []
    return shlex.join([*command, "--private"] if private else command)


def _as_sentence(
    cause: BaseException, what: str, name: str, revision: str | None, kind: str
) -> ValueError | ConnectionError:
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"
    match cause:
        case GatedRepoError():
            return ValueError(f"{what} {name!r} is gated; ask for access on {page}, and {_LOGIN}.")
        case RepositoryNotFoundError() | HFValidationError():
            return ValueError(
                f"{what} must be a folder, or a {kind} on the Hub that you may read, got {name!r}; check the "
                f"spelling, and {_LOGIN} if it is private."
            )
        case RevisionNotFoundError():
            return ValueError(
                f"{what} {name!r} has no revision {revision!r}; name one of its branches, tags or commits."
            )
        case HfHubHTTPError() if _code(cause) == HTTPStatus.UNAUTHORIZED:
            return ValueError(
                f"the Hub does not know the token with which {what} {name!r} is read: it is mistyped or no "
                f"longer valid; {_LOGIN}, or correct or unset HF_TOKEN."
            )
        case HfHubHTTPError() if _code(cause) == HTTPStatus.FORBIDDEN:
            return ValueError(
                f"{what} {name!r} may not be read with your token ({reason(cause)}); {_LOGIN} with "
                "one that may."
            )
        case HfHubHTTPError():
            return ConnectionError(f"{what} {name!r} could not be read: {reason(cause)}; try again later.")
        case _:
            return ConnectionError(
                f"{what} {name!r} is no folder and not in the cache, and the Hub could not be reached; check "
                "the name and the connection, and HF_ENDPOINT and HF_HUB_OFFLINE where they are set."
            )


def _as_push_sentence(cause: BaseException, repo_id: str) -> ValueError | ConnectionError:
    code = _code(cause) if isinstance(cause, HfHubHTTPError) else None
    if code == HTTPStatus.UNAUTHORIZED:
        return ValueError(
            f"the Hub does not know the token for {repo_id!r}: it is mistyped or no longer valid; "
            f"{_LOGIN}, or correct `hub_token` or HF_TOKEN."
        )
    if code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
        return ValueError(
            f"your token may not write to {repo_id!r}; {_LOGIN} with one that may, or choose another "
            f"`hub_model_id` ({reason(cause)})."
        )
    return ConnectionError(
        f"whether the student can be pushed to {repo_id!r} could not be checked: {reason(cause)}; try again "
        "later, or leave `push_to_hub` out and push by hand."
    )


def _check_may_create(repo_id: str, user: dict[str, Any]) -> None:
    owner = repo_id.split("/")[0]
    if owner not in {user["name"], *(organization["name"] for organization in user.get("orgs", []))}:
        raise ValueError(
            f"`hub_model_id` must lie in your own namespace or in one of an organisation of yours, got "
            f"{repo_id!r} for the user {user['name']!r}; write {user['name']}/{repo_id.split('/')[1]}."
        )
    # Other kinds of token have no role, or a role whose details alone say what they may do.
    if user["auth"].get("accessToken", {}).get("role") == "read":
        raise ValueError(
            f"`push_to_hub` needs a token that may write, and yours may only read; make one on "
            f"{constants.ENDPOINT}/settings/tokens and {_LOGIN}."
        )


def _code(error: HfHubHTTPError) -> int:
    return int(error.response.status_code)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
