"""Prints a command line for other people: without tokens and paths of one machine, and ready to run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

TOKEN_VARIABLE = '"$HF_TOKEN"'
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
_TOKEN_FLAG = re.compile(r"--?[\w-]*token", re.IGNORECASE)
_REDACTED = "hf_***"
_NEXT_LINE = " \\\n    "


def redact_tokens(text: str, secrets: Collection[str] = ()) -> str:
    """Blank out all text that looks like a token of the Hub, and every known secret.

    Args:
        text: Any text.
        secrets: Known tokens; empty ones are skipped.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, _REDACTED)
    return _TOKEN.sub(_REDACTED, text)


def printable_command(argv: Sequence[str], *, processes: int = 1, secrets: Collection[str] = ()) -> str:
    r"""Return the command that started a run, with one option on each line, ready for a POSIX shell.

    The value of every option that ends in "token" becomes the variable HF_TOKEN, and other text that looks
    like a token is blanked out. An absolute path inside the working directory becomes relative to it; of any
    other absolute path only the last name stays.

    Args:
        argv: The script and its arguments, as `sys.argv` has them.
        processes: Number of processes that were started.
        secrets: Known tokens.

    Example:
        >>> print(printable_command(["run.py", "--hub_token", "x", "--seed", "1"]))
        python run.py \
            --hub_token "$HF_TOKEN" \
            --seed 1
    """
    words = ["python"] if processes == 1 else ["torchrun", "--nproc_per_node", str(processes)]
    text = " ".join(words)
    after_token_flag = False
    for argument in argv:
        is_option = argument.startswith("--")
        flag, equals, value = argument.partition("=") if is_option else ("", "", argument)
        names_token = _TOKEN_FLAG.fullmatch(flag if is_option else argument) is not None
        if is_option and not value:
            printed = redact_tokens(argument, secrets)
        elif (names_token and is_option) or (after_token_flag and not is_option):
            printed = f"{flag}{equals}{TOKEN_VARIABLE}"
        else:
            printed = f"{flag}{equals}{shlex.quote(redact_tokens(_off_this_machine(value), secrets))}"
        after_token_flag = names_token and not value if is_option else names_token
        text += (_NEXT_LINE if is_option else " ") + printed
    return text


def _off_this_machine(value: str) -> str:
    path = Path(value).expanduser() if value.startswith("~") else Path(value)
    if not path.is_absolute():
        return value
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
