"""Everything stands in `setup.cfg`; here the README becomes the description that PyPI shows.

PyPI resolves no relative link. Where `project_urls` in `setup.cfg` names the repository, links and pictures
lead there, at the tag of the version; where it does not, links become plain text and pictures are left out.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)")


def description(readme: str, repository: str, tag: str) -> str:
    """Return the README without relative links and pictures; code blocks stay as they are.

    Args:
        readme: The text of `README.md`.
        repository: Address of the repository on GitHub; empty if it has none.
        tag: Tag of the version.
    """

    def absolute(found: re.Match[str]) -> str:
        mark, text, path = found.groups()
        if not repository:
            return "" if mark else text
        return f"{mark}[{text}]({repository}/{'raw' if mark else 'blob'}/{tag}/{path})"

    parts = _FENCED.split(readme)
    parts[::2] = [_LINK.sub(absolute, part) for part in parts[::2]]
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def main() -> None:
    """Hand the description to setuptools, which reads the rest from `setup.cfg`."""
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    metadata = config["metadata"]
    urls = dict(re.findall(r"^(\w+) *= *(\S+)$", metadata["project_urls"], re.MULTILINE))
    repository = urls.get("Repository", "").rstrip("/")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(long_description=description(readme, repository, f"v{metadata['version']}"))


main()
