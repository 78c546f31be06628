"""How a command ends: an error becomes one sentence on stderr and an exit code that says its kind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import torch
from accelerate.utils.memory import should_reduce_batch_size
from huggingface_hub.errors import HfHubHTTPError
from tqdm import tqdm

from ..hub.pushing import PushError

DEBUG_FLAG = "--debug"


class UsageError(ValueError):
    """A command line, or the file that stands in it, that cannot be understood."""


class ExitCode(IntEnum):
    """What a command returns to the shell; 0 means that all went well."""

    UNEXPECTED = 1
    USAGE = 2
    INPUT = 3
    FILES = 4
    HUB = 5
    NOT_FINITE = 6
    MEMORY = 7
    INTERRUPTED = 130


_KINDS: tuple[tuple[type[BaseException], ExitCode], ...] = (  # the first that fits counts
    (UsageError, ExitCode.USAGE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (PushError, ExitCode.HUB),
    (HfHubHTTPError, ExitCode.HUB),
    (ConnectionError, ExitCode.HUB),
    (FloatingPointError, ExitCode.NOT_FINITE),
    (torch.OutOfMemoryError, ExitCode.MEMORY),
    (MemoryError, ExitCode.MEMORY),
    (OSError, ExitCode.FILES),
    (ValueError, ExitCode.INPUT),
    (TypeError, ExitCode.INPUT),
)


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an error's kind."""
    if isinstance(error, Exception) and should_reduce_batch_size(error):
        return ExitCode.MEMORY  # on a CPU this is a plain RuntimeError
    return next((code for kind, code in _KINDS if isinstance(error, kind)), ExitCode.UNEXPECTED)


@contextmanager
def one_sentence(argv: list[str]) -> Iterator[None]:
    """End an error inside the `with` block in one sentence on stderr and its exit code.

    Args:
        argv: The command line. A `--debug` without a value is taken out of it, and then the error itself
            leaves the block. With a value the flag belongs to `TrainingArguments`.

    Raises:
        SystemExit: In place of every error.
    """
    debug = _take_debug(argv)
    try:
        yield
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            raise
        _say(str(end.code))
        sys.exit(ExitCode.USAGE)
    except BaseException as error:
        if debug:
            raise
        code = exit_code(error)
        _say(_sentence(error, code))
        sys.exit(code)


def _take_debug(argv: list[str]) -> bool:
    for place, word in enumerate(argv):
        if word == DEBUG_FLAG and (place + 1 == len(argv) or argv[place + 1].startswith("-")):
            del argv[place]
            return True
    return False


def _sentence(error: BaseException, code: ExitCode) -> str:
    text = " ".join(str(error).split())
    if code is ExitCode.INTERRUPTED:
        return "interrupted; `--resume_from_checkpoint true` continues from the last checkpoint."
    if code is ExitCode.MEMORY:
        return (
            f"the memory is too small ({text}); lower `--per_device_train_batch_size` and raise "
            "`--gradient_accumulation_steps` in its place, or lower `--image_size`."
        )
    if code is ExitCode.UNEXPECTED:
        return f"{type(error).__name__}: {text}; {DEBUG_FLAG} shows where this comes from."
    return text or type(error).__name__


def _say(sentence: str) -> None:
    tqdm.write(f"structkd: error: {sentence}", file=sys.stderr)  # on a line of its own, beside progress bars
