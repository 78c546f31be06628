"""The pages of the documentation, taken apart: their code, their commands, their links and their anchors."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^( *)(```+)(\w*)[^\n]*\n(.*?)^\1\2\s*?$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}|\t)[^\n]*\n|\n(?= {4}))+")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page_name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for _, _, of, text in _FENCE.findall(page.read_text(encoding="utf-8")) if of == language]


def prose(page: Path) -> str:
    """The page without fenced code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> list[str]:
    """The anchors of the headings, as repositories and the site make them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    slugs = [_slug(heading) for heading in headings]
    return [slug for slug, count in Counter(slugs).items() if count == 1]  # another one has a number


def commands(page: Path) -> list[str]:
    """What the page shows for a shell, each command in one line, without the words that explain it."""
    texts = [*blocks(page, "bash"), *_INDENTED.findall(prose(page))]
    lines = [line for text in texts for line in re.sub(r"\\\n\s*", "\\ ", text).splitlines()]
    told = [re.split(r"\s{3,}|\s#\s", line.strip().replace("\\ ", " "))[0] for line in lines]
    return [line for line in told if line]


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
