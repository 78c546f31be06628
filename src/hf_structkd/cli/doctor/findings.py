"""What the doctor found: lines in sections, what stops the run, and what should be looked at."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..endings import ExitCode, exit_code

_WIDTH = 110
_GOES_UP = (ExitCode.UNEXPECTED, ExitCode.INTERRUPTED)


class Findings(logging.Handler):
    """Gathers sections, errors and warnings; what the library warns of joins them, each sentence once.

    Attributes:
        stops: What stops the run.
        traps: What lets it run, and should be looked at.
    """

    def __init__(self) -> None:
        """Listen to the library until `close`."""
        super().__init__(logging.WARNING)
        self.stops: list[str] = []
        self.traps: list[str] = []
        self._sections: dict[str, Mapping[str, str]] = {}
        self._library = logging.getLogger(__name__.partition(".")[0])
        self._library.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.trap(record.getMessage())

    def close(self) -> None:
        """Listen no longer."""
        self._library.removeHandler(self)
        super().close()

    def trap(self, text: str) -> None:
        """Keep what should be looked at, once."""
        if text not in self.traps:
            self.traps.append(text)

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Keep an error inside the `with` block that would stop the run, and go on behind the block."""
        try:
            yield
        except Exception as error:
            if exit_code(error) in _GOES_UP:
                raise
            text = " ".join(str(error).split()) or type(error).__name__
            self.stops += [] if text in self.stops else [text]

    def add(self, title: str, lines: Mapping[str, str]) -> None:
        """Add a section of lines, text by label."""
        if lines:
            self._sections[title] = lines

    def __str__(self) -> str:
        """Return the sections, then what stops the run and what should be looked at, as numbered lists."""
        parts = [
            "\n".join([title, *(_line(label, text, _label_width(lines)) for label, text in lines.items())])
            for title, lines in self._sections.items()
        ]
        for title, texts in (("what stops the run", self.stops), ("traps", self.traps)):
            numbered = [_line(f"{number}.", text, 3) for number, text in enumerate(texts, 1)]
            parts += ["\n".join([title, *numbered])] if texts else []
        return "\n\n".join(parts if self.stops or self.traps else [*parts, "No trap was found."])


def _label_width(lines: Mapping[str, str]) -> int:
    return min(max(map(len, lines)), _WIDTH // 3)


def _line(label: str, text: str, width: int) -> str:
    """Return a label and its text, wrapped; a label that is too long stands above its text."""
    body = _wrapped(text, " " * (width + 4))
    if len(label) > width:
        return f"{_wrapped(label, '  ')}\n{body}"
    return f"  {label:<{width}}  {body.lstrip()}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
