"""What the site does with the pages of `docs/` beside turning them into HTML; `mkdocs.yml` names this file.

- A page may link a file or folder of the repository that is no page, `../examples/camvid.yaml` say. In the
  repository the link leads there. On the site it leads to a page below `source/` that shows the text of the
  file, or the names in the folder, because no public address of the repository is settled to lead to.
- A link that is called like its file, `[scaling.md](scaling.md)`, gets the title that the navigation gives
  the page.
- The changelog is the page `changelog.md`.
- A fenced block of `math` is LaTeX, which becomes MathML: browsers draw it without a script.
- Headings get the anchors that they have in the repository.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHANGELOG = ROOT / "CHANGELOG.md"

_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_SHORT = re.compile(r"<code>([^<\s]{1,32}|--[^<]{1,32})</code>")
_FENCE = re.compile(r"^( *)(```+).*?^\1\2\s*?$", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json", ".sh": "bash", ".slurm": "bash"}
_OF_THE_SITE = (".md", ".png", ".jpg", ".svg")
_HIDDEN = ("__pycache__", ".")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add what YAML cannot name: functions."""
    fence = {"name": "math", "class": "math", "format": math_block}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, and a page for everything outside `docs/` that a page leads to."""
    files.append(_generated(config, "changelog.md", CHANGELOG.read_text(encoding="utf-8")))
    pages = [DOCS / file.src_uri for file in files if file.is_documentation_page() and file.abs_src_path]
    for path in sorted(_linked([*pages, CHANGELOG])):
        files.append(_generated(config, site_uri(path), source_page(path), InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to pages of the site."""
    origin = _origin(page.file.src_uri)
    if origin.suffix != ".md":
        return markdown
    titles = dict(_titles(config.nav or []))
    return outside_fences(
        markdown, lambda text: _LINK.sub(lambda link: _led(link, origin, page.file, titles), text)
    )


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mark short names and options, which the end of a line must not break."""
    return _SHORT.sub(r'<code class="whole">\1</code>', content)


def math_block(source: str, *_: Any, **__: Any) -> str:
    """Return a block of LaTeX as MathML."""
    return f'<div class="math">{convert(source.strip(), display="block")}</div>'


def outside_fences(markdown: str, change: Any) -> str:
    """Return a page whose text outside of fenced code is changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def site_uri(path: Path) -> str:
    """Return which page of the site shows a file or a folder of the repository."""
    if path == CHANGELOG:
        return "changelog.md"
    if path.is_relative_to(DOCS) and path.suffix in _OF_THE_SITE:
        return path.relative_to(DOCS).as_posix()
    place = path.relative_to(ROOT).as_posix()
    return f"source/{place}/index.md" if path.is_dir() else f"source/{place}.md"


def source_page(path: Path) -> str:
    """Return the page that shows a file's text, or the names in a folder."""
    front = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---\n"
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        rows = [
            f"- [{one.name}{'/' * one.is_dir()}]({posixpath.relpath(site_uri(one), f'source/{name}')})"
            for one in children(path)
        ]
        return "\n".join([front, f"# `{name}/`", "", *rows, ""])
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # weights, for example
        return f"{front}\n# `{name}`\n\nA file of {path.stat().st_size:,} bytes that is no text.\n"
    if path.suffix == ".md":
        return front + text
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`{3,}", text)), default=0))
    return f"{front}\n# `{name}`\n\n{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def children(folder: Path) -> list[Path]:
    """Return what stands in a folder of the repository, without what tools leave there."""
    return sorted(one for one in folder.iterdir() if not one.name.startswith(_HIDDEN))


def links(path: Path) -> Iterator[Path]:
    """Yield the files and folders of the repository to which a page in Markdown leads."""
    texts: list[str] = []
    outside_fences(path.read_text(encoding="utf-8"), lambda text: texts.append(text) or "")
    for _, target, _ in _LINK.findall("\n".join(texts)):
        found = _target(path, target)
        if found is not None:
            yield found


def _linked(pages: Iterable[Path]) -> set[Path]:
    """Return all that is no page of `docs/` and to which the pages lead, and to which that leads in turn."""
    found: set[Path] = set()
    waiting = [target for page in pages for target in links(page)]
    while waiting:
        path = waiting.pop()
        if path in found or not site_uri(path).startswith("source/"):
            continue
        found.add(path)
        waiting += children(path) if path.is_dir() else links(path) if path.suffix == ".md" else []
    return found


def _target(origin: Path, target: str) -> Path | None:
    """Return the file or folder of the repository that a link means, or None."""
    if "://" in target:
        return None
    path = (origin.parent / target).resolve()
    return path if path.is_relative_to(ROOT) and path.exists() else None


def _origin(src_uri: str) -> Path:
    """Return the file of the repository that a page shows; a folder has none, and is returned itself."""
    if src_uri == "changelog.md":
        return CHANGELOG
    if not src_uri.startswith("source/"):
        return DOCS / src_uri
    return ROOT / src_uri.removeprefix("source/").removesuffix(".md").removesuffix("/index")


def _titles(nav: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield the pages that the navigation names, and their titles."""
    for entry in nav:
        for title, content in entry.items():
            if isinstance(content, str):
                yield content, title
            else:
                yield from _titles(content)


def _led(link: re.Match[str], origin: Path, file: File, titles: Mapping[str, str]) -> str:
    """Return a link as the site has it."""
    path = _target(origin, link[2])
    if path is None:
        return link.group()
    uri = site_uri(path)
    text = titles.get(uri, link[1]) if posixpath.basename(link[1]) == path.name else link[1]
    target = posixpath.relpath(uri, posixpath.dirname(file.src_uri) or ".")
    return f"[{text}]({target}{link[3] or ''})"


def _generated(
    config: MkDocsConfig, src_uri: str, content: str, inclusion: InclusionLevel = InclusionLevel.INCLUDED
) -> File:
    return File.generated(config, src_uri, content=content, inclusion=inclusion)
