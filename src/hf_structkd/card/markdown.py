"""Functions that write values as Markdown; the template of the card calls them."""

from __future__ import annotations

import json
import math

from .facts import Origin

_HUB = "https://huggingface.co"


def link(origin: Origin, *, dataset: bool = False) -> str:
    """Return a link to an origin on the Hub, or the name of an origin that is not there."""
    if origin.hub_id is None:
        return escape(origin.name) if origin.generated else f"`{origin.name}`"
    place = f"{_HUB}/{'datasets/' if dataset else ''}{origin.hub_id}"
    revision = "" if origin.revision is None else f" at `{origin.revision}`"
    return f"[{origin.name}]({place}){revision}"


def escape(text: str) -> str:
    """Return text in which the marks of Markdown and HTML have no effect."""
    for mark in "_*<[":
        text = text.replace(mark, f"\\{mark}")
    return text


def quote(text: str) -> str:
    """Return text as a Python literal."""
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """Return a score with three decimals; one below 0.01 has three significant digits, and NaN is "n/a"."""
    if not math.isfinite(value):
        return "n/a"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def counted(count: float, noun: str) -> str:
    """Return a number and its noun; an int is written in full, a float with at most four digits."""
    text = f"{count:,}" if isinstance(count, int) else f"{count:.4g}"
    return f"{text} {noun}{'' if text == '1' else 's'}"


def millions(count: int) -> str:
    """Return a number of parameters in millions; a number below 10,000 is written in full."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"
