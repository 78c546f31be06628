"""Functions that the card's template calls: values as Markdown."""

from __future__ import annotations

import json

from .facts import Origin

_HUB = "https://huggingface.co"


def link(origin: Origin, *, dataset: bool = False) -> str:
    """Link to an origin on the Hub; the name alone of one that is not there."""
    if origin.hub_id is None:
        return escape(origin.name) if origin.generated else f"`{origin.name}`"
    place = f"{_HUB}/{'datasets/' if dataset else ''}{origin.hub_id}"
    revision = "" if origin.revision is None else f" at `{origin.revision}`"
    return f"[{origin.name}]({place}){revision}"


def escape(text: str) -> str:
    """Return text in which no underscore or star of a name turns into emphasis, and no angle into HTML."""
    for mark in "_*<[":
        text = text.replace(mark, f"\\{mark}")
    return text


def cell(text: str) -> str:
    """Return text that stays in one cell of a table."""
    return text.replace("|", "\\|")


def quote(text: str) -> str:
    """Return text as a literal of Python."""
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """Write a score with three decimals, or with three digits of what they would hide."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"


def counted(count: float, noun: str) -> str:
    """Write a number of things; an int in full, a float with at most four digits."""
    text = f"{count:,}" if isinstance(count, int) else f"{count:.4g}"
    return f"{text} {noun}{'' if text == '1' else 's'}"


def millions(count: int) -> str:
    """Write a number of parameters in millions; a small one in full."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"
