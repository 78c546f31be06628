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
_COMMAND, _PACKAGE = "structkd", __name__.partition(".")[0]
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
    like a token is blanked out. An absolute path inside the working directory becomes relative to it; any
    other becomes a variable of the option's name. The shell asks for one that is not set by the last name of
    its path, so that the command runs as it is printed on the machine of the run and elsewhere.

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
    paths: dict[str, str] = {}
    launcher, arguments = _launcher(argv, processes)
    text = " ".join(launcher)
    option, after_token_flag = "", False
    for argument in arguments:
        is_option = argument.startswith("--")
        flag, equals, value = argument.partition("=") if is_option else ("", "", argument)
        option = flag if is_option else option
        names_token = _TOKEN_FLAG.fullmatch(flag if is_option else argument) is not None
        if is_option and not value:
            printed = redact_tokens(argument, secrets)
        elif (names_token and is_option) or (after_token_flag and not is_option):
            printed = f"{flag}{equals}{TOKEN_VARIABLE}"
        else:
            printed = f"{flag}{equals}{_quoted(value, option, paths, secrets)}"
        after_token_flag = names_token and not value if is_option else names_token
        text += (_NEXT_LINE if is_option else " ") + printed
    return "".join(_question(name, path, secrets) for path, name in paths.items()) + text


def _launcher(argv: Sequence[str], processes: int) -> tuple[list[str], Sequence[str]]:
    """Return the words that start the processes, and the arguments after them."""
    several = ["torchrun", "--nproc_per_node", str(processes)]
    program = Path(argv[0])
    if program.name == _COMMAND or program.parts[-2:] == (_PACKAGE, "__main__.py"):
        return ([_COMMAND] if processes == 1 else [*several, "-m", _PACKAGE]), argv[1:]
    return (["python"] if processes == 1 else several), argv


def _quoted(value: str, option: str, paths: dict[str, str], secrets: Collection[str]) -> str:
    """Return a value for the shell; a path of this machine becomes a variable that `paths` gathers."""
    path = Path(value).expanduser() if value.startswith("~") else Path(value)
    if path.is_absolute() and not path.is_relative_to(Path.cwd()):
        if str(path) not in paths:
            name = re.sub(r"\W", "_", redact_tokens(option.lstrip("-") or path.name, secrets)).upper()
            name = name if re.match("[A-Z_]", name) else f"FILE_{name}"
            count = sum(re.fullmatch(rf"{name}(_\d+)?", known) is not None for known in paths.values())
            paths[str(path)] = f"{name}_{count + 1}" if count else name
        return f'"${paths[str(path)]}"'
    inside = str(path.relative_to(Path.cwd())) if path.is_absolute() else value
    return shlex.quote(redact_tokens(inside, secrets))


def _question(name: str, path: str, secrets: Collection[str]) -> str:
    last = redact_tokens(Path(path).name, secrets)
    what = last if re.fullmatch(r"[\w. -]+", last) else "another name"
    # Pasted into a terminal, lines that are not joined run on after the first one fails.
    return f': "${{{name}:?set it to the path of {what}}}" &&\n'
