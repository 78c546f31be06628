"""What is published: the wheel, the source distribution, and their page on PyPI."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from check_release import faults

ROOT = Path(__file__).parents[1]
PACKAGE = "hf_structkd"
NOT_SOURCE = ("__pycache__", "*.egg-info")
PARTS = ("src", "setup.cfg", "setup.py", "pyproject.toml", "MANIFEST.in")
TEXTS = ("README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE")
VERSION = re.findall(r"^version = (\S+)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)[0]
LINK = r"!?\[[^\]]*\]\(([^)]+)\)"
REPOSITORY = "https://github.com/someone/hf_structkd"
# Each would go into a source distribution that lists nothing.
STRAYS = ("tests/test_stray.py", "examples/stray.py", "outputs/stray.json")


def tree(folder: Path) -> Path:
    """A copy of what is built, because building writes beside the sources; and files that do not belong."""
    for name in (*PARTS, *TEXTS):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(*NOT_SOURCE))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    for name in STRAYS:
        (folder / name).parent.mkdir()
        (folder / name).touch()
    return folder


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files, as `make package` builds them: without a network, and the wheel from the sources."""
    source = tree(tmp_path_factory.mktemp("package") / "tree")
    run("-m", "build", "--no-isolation", cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> ZipFile:
    return ZipFile(next(dist.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_is_the_package_and_nothing_else(wheel: ZipFile) -> None:
    """A missing file breaks installed commands only; `tests` would collide with those of other packages."""
    ours = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"page.css", "page.html.jinja", "page.js", "template.md.jinja", "py.typed"} <= {
        Path(name).name for name in ours
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_the_source_distribution_holds_the_sources_only(dist: Path, wheel: ZipFile) -> None:
    """What lay about in the folder of the release would be public for ever."""
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        files = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    made = {name for name in files if ".egg-info/" in name} | {"PKG-INFO"}
    package = {f"src/{name}" for name in wheel.namelist() if ".dist-info/" not in name}
    assert files - made == package | {*PARTS, *TEXTS} - {"src"}


def test_pypi_accepts_the_files_and_renders_their_page(dist: Path) -> None:
    run("-m", "twine", "check", "--strict", *map(str, dist.iterdir()), cwd=dist)


def test_the_page_on_pypi_has_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    """PyPI resolves no relative link, and shows a broken picture."""
    source = tree(tmp_path / "tree")
    readme = (source / "README.md").read_text(encoding="utf-8")
    own = [link for link in re.findall(LINK, readme) if not link.startswith(("http", "#"))]
    assert any(link.endswith(".png") for link in own)
    page = page_of(source, repository=None)
    assert "## Citation" in page
    assert all(link.startswith(("http", "#")) for link in re.findall(LINK, page))
    page = page_of(source, repository=REPOSITORY)
    for link in own:
        kind = "raw" if link.endswith((".png", ".jpg")) else "blob"
        assert f"]({REPOSITORY}/{kind}/v{VERSION}/{link})" in page


def page_of(source: Path, *, repository: str | None) -> str:
    """The description that an installer reads, with and without an address of the repository in setup.cfg."""
    config = source / "setup.cfg"
    lines = config.read_text(encoding="utf-8").splitlines()
    marked = [line for line in lines if re.match(r" +(# )?Repository = ?(https://github.com/\S+)?$", line)]
    assert len(marked) == 1, "setup.cfg has one place for the address of the repository"
    lines[lines.index(marked[0])] = f"    Repository = {repository}" if repository else "    # Repository ="
    config.write_text("\n".join(lines), encoding="utf-8")
    ask = "from setuptools.build_meta import prepare_metadata_for_build_wheel as ask; print(ask('.'))"
    made = run("-c", ask, cwd=source).split()[-1]
    return str(message_from_bytes((source / made / "METADATA").read_bytes()).get_payload())


def test_every_extra_that_a_text_names_exists(metadata: Message) -> None:
    """pip installs nothing for an extra that there is not, and goes on."""
    known = set(metadata.get_all("Provides-Extra") or [])
    assert {"report", "onnx", "tensorboard"} <= known
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = {
        extra.strip()
        for path in texts
        for extras in re.findall(r"hf_structkd\[([\w, -]+)\]", path.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert named
    assert named <= known


def test_a_tag_is_released_only_where_everything_names_its_version(tmp_path: Path) -> None:
    """A version that went to PyPI under a wrong name cannot be taken back."""
    urls = f"project_urls =\n    Repository = {REPOSITORY}\n"
    whole = {
        "setup.cfg": f"[metadata]\nversion = 1.2.0\n{urls}",
        "CITATION.cff": "version: 1.2.0\n",
        "CHANGELOG.md": "# Changelog\n\n## [1.2.0]\n",
    }
    wrong = {
        "setup.cfg": f"[metadata]\nversion = 1.2.0\nproject_urls =\n    # Repository = {REPOSITORY}\n",
        "CITATION.cff": "version: 1.1.0\n",
        "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n",
    }
    for name, text in whole.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert faults("v1.2.0", tmp_path) == []
    assert len(faults("v1.2.1", tmp_path)) == 1
    for name, text in wrong.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert len(faults("v1.2.0", tmp_path)) == 1, name
        (tmp_path / name).write_text(whole[name], encoding="utf-8")


def test_the_version_to_cite_is_that_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION


@pytest.mark.parametrize("name", ["ci", "release"])
def test_the_workflows_run_what_there_is(name: str) -> None:
    """A workflow that names a missing file fails on the day of the release."""
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    for job in jobs.values():
        assert all(needed in jobs for needed in job.get("needs", []))
    named = re.findall(r"(?:\./)?(\.github/\S+|\.ci/\w+|scripts/\w+\.py|constraints\.txt)", text)
    assert named
    assert all((ROOT / path).is_file() for path in named)
