"""Say what keeps a tag from being released; the workflow of a release runs it before it builds.

    python scripts/check_release.py v0.1.0

The version stands in `setup.cfg`. The tag, `CITATION.cff` and a section of the changelog must name the same
one, and `setup.cfg` the repository, to which the links and pictures on PyPI lead. The exit status is 1 if one
does not.
"""

from __future__ import annotations

import re
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """Return a sentence for everything that is missing.

    Args:
        tag: Tag of the release, "v" and the version.
        root: Folder of the repository.
    """
    config = ConfigParser(interpolation=None)
    config.read(root / "setup.cfg", encoding="utf-8")
    metadata = config["metadata"]
    version = metadata["version"]
    cited = re.findall(r"^version: (\S+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag!r}, and setup.cfg has the version {version}; tag v{version}.")
    if cited != [version]:
        found.append(f"CITATION.cff has the version {', '.join(cited)}, and setup.cfg {version}.")
    if f"\n## [{version}]" not in changelog:
        found.append(f"CHANGELOG.md has no section [{version}]; rename [Unreleased].")
    if not re.search(r"^Repository *= *https://", metadata["project_urls"], re.MULTILINE):
        found.append("`project_urls` of setup.cfg names no Repository; write its address there.")
    return found


def main() -> int:
    """Print the faults of the tag that is named on the command line."""
    if len(sys.argv) != 2:
        print("usage: python scripts/check_release.py TAG", file=sys.stderr)
        return 2
    found = faults(sys.argv[1])
    print("\n".join(found) if found else f"{sys.argv[1]} can be released.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
