"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import pytest
from transformers import SegformerConfig

from hf_structkd.cli.script_args import parse_run
from hf_structkd.models.named import NAMED
from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes
from hf_structkd.tasks import SegmentationTask

from .tiny_models import tiny_segmentation_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPET = re.search(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("scratch", [False, True], ids=["a saved student", "a configuration alone"])
def test_the_snippet_is_short_and_runs_as_pasted(
    scratch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the first thing a newcomer tries fails."""
    assert SNIPPET is not None
    code = SNIPPET.group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    names = dict(enumerate(CLASS_NAMES))
    for folder, arch in (("student", "segformer"), ("teacher", "mobilenet_v2")):
        tiny_segmentation_model(arch, id2label=names).save_pretrained(tmp_path / folder)
        SegmentationTask.image_processor((64, 64), SegformerConfig()).save_pretrained(tmp_path / folder)
    if scratch:
        for file in (tmp_path / "student").iterdir():
            if file.name != "config.json":
                file.unlink()
    scenes = load_scenes(num_train=8, num_validation=2, height=64, width=64)
    scenes.select_columns(["image", "label"]).save_to_disk(str(tmp_path / "dataset"))
    assert isinstance(scenes, datasets.DatasetDict)
    (tmp_path / "dataset" / "id2label.json").write_text(str(list(CLASS_NAMES)).replace("'", '"'))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    student, teacher = map(float, printed.strip().splitlines()[-1].split())
    assert 0 <= student <= 1
    assert 0 <= teacher <= 1


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", README))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_names_of_students_are_those_that_are_shipped() -> None:
    """A name that is not shipped is looked for on the Hub."""
    assert set(re.findall(r"\b(?:segformer|glpn|rtdetr)-[\d.]*\dm\b", README)) == set(NAMED)


def test_the_file_of_the_walk_sets_what_there_is(tmp_path: Path) -> None:
    """The walk itself is walked in `test_readme_walk.py`; this is the part that takes no time."""
    settings = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert settings is not None
    (tmp_path / "street.yaml").write_text(settings[1], encoding="utf-8")
    run = parse_run(SegmentationTask, [str(tmp_path / "street.yaml"), "--use_cpu"], scenes={})
    assert run.models.student_model_name_or_path in NAMED
    assert run.models.compare_baseline


def test_every_interval_is_that_of_the_results() -> None:
    """Runs that are added change the table there, and the README goes on to promise the old gain."""
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    gains = re.findall(r"[+−][\d.]+ \[[+−][\d.]+, [+−][\d.]+\]", README)
    assert gains
    assert all(gain.replace("−", "-") in results for gain in gains)


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"\b[A-Z]+_[A-Z_]{3,}\b", README)
