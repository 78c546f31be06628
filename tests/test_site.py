"""The site is built without a warning, fetches nothing, and fits a phone and a desktop.

`make docs` builds it too. These tests need what the extra `docs` installs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .docs_pages import PAGES, ROOT, page_name
from .report.chromium import Chromium, find_chromium

for package in ("mkdocs", "material", "mkdocstrings_handlers", "latex2mathml"):
    pytest.importorskip(package, reason='the site needs pip install -e ".[docs]"')

PROGRAM = find_chromium()
NAMES = [*(page_name(page) for page in PAGES), "changelog.md", "source/examples/custom_term.py.md"]

# A table that is wider than the window, and has no box around it that the reader can scroll.
CUT_TABLES = """[...document.querySelectorAll('table')].filter(table => {
  if (table.getBoundingClientRect().width <= innerWidth) return false
  for (let box = table.parentElement; box; box = box.parentElement)
    if (/auto|scroll/.test(getComputedStyle(box).overflowX) && box.clientWidth <= innerWidth) return false
  return true
}).map(table => table.innerText.slice(0, 40))"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def html_of(name: str) -> str:
    return name.replace("README.md", "index.md").removesuffix("md") + "html"


def test_every_page_and_every_linked_file_is_there(site: Path) -> None:
    for name in NAMES:
        assert (site / html_of(name)).is_file(), name


def test_nothing_is_fetched(site: Path) -> None:
    """Where there is no network, a page with foreign fonts or scripts waits for them."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*>", text)
        foreign = [tag for tag in tags if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag)]
        assert [tag for tag in foreign if 'rel="canonical"' not in tag] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?https?:|@import", sheet.read_text(encoding="utf-8")), sheet.name


def test_no_markup_is_left_as_text(site: Path) -> None:
    """Roles and formulas of docstrings would be read as they are written."""
    for page in site.rglob("*.html"):
        text = re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for mark in (":func:", ":class:", ":math:", ".. math", "\\frac", ":::"):
            assert mark not in text, f"{page.name} shows {mark}"


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Chromium]:
    if PROGRAM is None:
        pytest.skip("no Chromium on the PATH or in STRUCTKD_CHROMIUM")
    browser = Chromium(PROGRAM, tmp_path)
    yield browser
    browser.close()
    assert browser.console == []


def test_the_search_finds_an_option_where_the_site_is_a_folder(chromium: Chromium, site: Path) -> None:
    """Browsers start no worker from a file, and the search would stay empty in silence."""
    chromium.open(site / "index.html", 1280)
    search = """new Promise(found => {
      const results = () => [...document.querySelectorAll('.md-search-result__link')].map(a => a.pathname)
      const look = () => results().length && found(results())
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true })
      document.querySelector('[data-md-toggle=search]').click()
      const field = document.querySelector('.md-search__input')
      field.focus()
      field.value = 'granularity'
      field.dispatchEvent(new KeyboardEvent('keyup', { bubbles: true }))
    })"""
    answer = chromium.call("Runtime.evaluate", expression=search, awaitPromise=True, returnByValue=True)
    assert any(path.endswith("/api.html") for path in answer["result"]["value"])


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_a_phone_and_a_desktop(chromium: Chromium, site: Path, width: int) -> None:
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # a server's, which has its files at the root
            continue
        chromium.open(page, width)
        assert chromium.run("document.documentElement.scrollWidth") <= width, page
        lost = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert chromium.run(lost) == [], page
        assert chromium.run(CUT_TABLES) == [], page
