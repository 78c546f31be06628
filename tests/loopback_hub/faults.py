"""Failures on demand: which requests they meet, how often, and what happens to those."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from .wire import Request, Response


@dataclass(frozen=True)
class Answer:
    """Another answer than the right one; the request is not carried out."""

    response: Response


@dataclass(frozen=True)
class Hold:
    """The right answer, late: when the fault is released or after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class HangUp:
    """No answer: the connection ends before the request is carried out."""


@dataclass(frozen=True)
class LoseAnswer:
    """No answer: the connection ends after the request was carried out."""


@dataclass(frozen=True)
class DropUpload:
    """The connection ends when so many bytes of the request's body came in."""

    after: int


@dataclass(frozen=True)
class DropDownload:
    """The connection ends when so many bytes of the answer's body went out."""

    after: int


Action = Answer | Hold | HangUp | LoseAnswer | DropUpload | DropDownload


@dataclass
class Fault:
    """A failure that waits for its requests.

    Args:
        methods: Names of the methods it meets, separated by spaces.
        pattern: Regular expression to be found in the percent-encoded path and query.
        action: What happens.
        times: How many requests it meets before it is spent.
        hits: How many it has met.
    """

    methods: str
    pattern: str
    action: Action
    times: int
    hits: int = field(default=0, init=False)
    _met: threading.Event = field(default_factory=threading.Event, init=False)
    _released: threading.Event = field(default_factory=threading.Event, init=False)

    def meets(self, request: Request) -> bool:
        """Whether a request is one of those, and the fault not yet spent."""
        named = request.method in self.methods.split() and re.search(self.pattern, request.target) is not None
        return named and self.hits < self.times

    def hit(self) -> None:
        """Count one more request."""
        self.hits += 1
        self._met.set()

    def wait_for_hit(self, seconds: float) -> bool:
        """Wait until it has met a request, at most so long: before a held answer is released, say."""
        return self._met.wait(seconds)

    def release(self) -> None:
        """Let every held answer go, and hold none from here on."""
        self._released.set()

    def wait(self, seconds: float) -> None:
        """Wait until released, at most so long."""
        self._released.wait(seconds)


class Faults:
    """The failures that are waiting, in the order in which they were ordered."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Order a failure."""
        with self._lock:
            self._waiting.append(fault)
        return fault

    def take(self, request: Request) -> Fault | None:
        """The first failure that meets a request, counted as one hit; `None` where all goes well."""
        with self._lock:
            for fault in self._waiting:
                if fault.meets(request):
                    fault.hit()
                    return fault
            return None

    def clear(self) -> None:
        """Forget all of them, and let held answers go."""
        with self._lock:
            for fault in self._waiting:
                fault.release()
            self._waiting.clear()
