"""The pages of the documentation hang together: navigation, links, anchors, and nothing that nobody runs."""

from __future__ import annotations

import pydoc
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import hf_structkd
from hf_structkd.cli.ablation.command import AblationArguments
from hf_structkd.cli.commands.export import ExportArguments
from hf_structkd.cli.commands.predict import PredictArguments
from hf_structkd.cli.script_args import ModelArguments
from hf_structkd.cli.trained.options import ScoringArguments
from hf_structkd.data import DataOptions, DepthOptions, DetectionOptions, SegmentationOptions
from hf_structkd.tasks import DepthTask, SegmentationTask
from hf_structkd.terms import BUILT_IN_TERMS
from hf_structkd.training.presets import PRESETS

from .docs_pages import DOCS, PAGES, ROOT, anchors, blocks, commands, links, page_name
from .test_docs_python import RUN_HERE

RUN_ELSEWHERE = {
    "extending.md": "tests/test_docs.py",
    "hub.md": "tests/hub/test_hub_docs.py",
    "no_labels.md": "tests/test_docs_no_labels.py",
    "own_models.md": "tests/test_own_models_page.py",
    "teachers.md": "tests/test_models_page.py",
}
LINKING = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md"]


def test_every_page_is_in_the_navigation() -> None:
    """A page that no menu names is found by nobody."""
    tree = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w/]+\.md", str(tree))
    assert sorted(named) == sorted([*map(page_name, PAGES), "changelog.md"]), "changelog.md is CHANGELOG.md"


@pytest.mark.parametrize("page", LINKING, ids=page_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page_name(page)} leads to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page_name(page)} leads to {link}"


def test_every_block_of_python_is_run() -> None:
    """What is pasted from a page and fails is the last that is tried."""
    with_python = {page_name(page) for page in PAGES if blocks(page, "python")}
    assert with_python == {*RUN_HERE, *RUN_ELSEWHERE}
    for page, file in RUN_ELSEWHERE.items():
        assert page in (ROOT / file).read_text(encoding="utf-8")


def test_every_block_says_its_language() -> None:
    """One that does not is neither run nor coloured."""
    known = {"bash", "bibtex", "math", "python", "text", "yaml"}
    for page in PAGES:
        opened = re.findall(r"^ *```+(\w*)", page.read_text(encoding="utf-8"), re.MULTILINE)[::2]
        assert set(opened) <= known, page_name(page)


def test_the_api_page_documents_every_public_name() -> None:
    documented = re.findall(r"^::: ([\w.]+)", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    public = {f"hf_structkd.{name}" for name in hf_structkd.__all__ if name != "__version__"}
    assert public <= {*documented}
    assert [name for name in documented if pydoc.locate(name) is None] == []


def test_the_method_states_the_weights_that_run() -> None:
    """Else who sets a weight starts from another one than he thinks."""
    page = (DOCS / "method.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| \w+ \| `(\w+_weight)` \| ([^|]+) \|", page, re.MULTILINE))
    assert list(stated) == [f"{term.name}_weight" for term in BUILT_IN_TERMS]
    for term in BUILT_IN_TERMS:
        written = stated[f"{term.name}_weight"].split("; depth: ")
        defaults = [term().default_weight_for(task) for task in (SegmentationTask, DepthTask)]
        assert [float(written[0]), float(written[-1])] == defaults


def test_the_method_states_the_presets() -> None:
    page = (DOCS / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \([^|]+\| ([\d.]+)[^|]*\| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    names = ("pixel_weight", "pairwise_weight", "holistic_weight")
    assert {row[0]: [*map(float, row[1:])] for row in rows} == {
        name: [preset[weight] for weight in names] for name, preset in PRESETS.items()
    }


def test_the_options_that_the_pages_name_exist() -> None:
    """A flag that was renamed stays in the prose, where no command shows it."""
    known = _options()
    for page in PAGES:
        for name in re.findall(r"`--([a-z]\w*)", page.read_text(encoding="utf-8")):
            assert name.replace("-", "_") in known, f"{page_name(page)} names --{name}"


def test_the_data_page_states_the_defaults() -> None:
    page = (DOCS / "data.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| ([\d. ]+) \|", page, re.MULTILINE))
    assert stated.keys() >= {"image_size", "flip_probability", "color_jitter"}
    options = DataOptions()
    for name, value in stated.items():
        default = getattr(options, name)
        numbers = [*map(float, value.split())]
        assert numbers == (default if isinstance(default, list) else [default])


def test_the_options_page_states_the_defaults() -> None:
    page = (DOCS / "options.md").read_text(encoding="utf-8")
    args = hf_structkd.StructKDTrainingArguments("unused", use_cpu=True)
    defaults = {one.name: getattr(args, one.name) for one in fields(args)}
    weights = {f"{term.name}_weight": term().default_weight_for(SegmentationTask) for term in BUILT_IN_TERMS}
    defaults |= weights
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \| ", page, re.MULTILINE)
    stated = {
        name: value
        for names, values in rows
        if not names.startswith("`--")
        for name, value in zip(re.findall(r"`(\w+)`", names), values.split(", "), strict=True)
    }
    assert len(stated) > 30
    for name, value in stated.items():
        default = defaults[name][0] if name == "granularity" else defaults[name]
        assert _written(default) == value.strip(), name


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return "4e-4" if value == 4e-4 else f"{value:g}"
    return str(value or "–")


def _options() -> set[str]:
    kinds = (
        *(ModelArguments, hf_structkd.StructKDTrainingArguments, SegmentationOptions, DepthOptions),
        *(DetectionOptions, AblationArguments, ExportArguments, PredictArguments, ScoringArguments),
    )
    names = {one.name for kind in kinds for one in fields(kind)}
    of_others = {"help", "help_all", "preset", "version"}
    return names | {f"no_{name}" for name in names} | of_others | _flags_of_scripts()


def _flags_of_scripts() -> set[str]:
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "scripts").glob("*.*")]
    return {flag.replace("-", "_") for text in texts for flag in re.findall(r"--([a-z][\w-]*)", text)}


def test_commands_are_found() -> None:
    """Else the checks of commands pass because there are none to check."""
    assert commands(DOCS / "quickstart.md")[0] == "pip install -e ."
    assert any(line.startswith("structkd ablate") for line in commands(DOCS / "command.md"))
