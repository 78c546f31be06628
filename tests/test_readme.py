"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import datasets
import pytest
from transformers import SegformerConfig

from hf_structkd import StructKDTrainingArguments
from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes
from hf_structkd.tasks import SegmentationTask
from hf_structkd.terms import built_in_terms

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
    assert len(code.strip().splitlines()) <= 15
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


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_options_table_names_fields_and_their_defaults() -> None:
    """Else the documented default is not the one that runs."""
    fields = StructKDTrainingArguments.__dataclass_fields__
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", README, re.MULTILINE)
    named = [name for names, _ in rows for name in re.findall(r"`(\w+)`", names)]
    assert set(named) - set(fields) <= {"preset", "teacher_label_map", "teacher_prompts"}
    weights = next(defaults for names, defaults in rows if "task_weight" in names)
    stated = [float(value) for value in weights.split(",")]
    args = StructKDTrainingArguments("unused", use_cpu=True)
    assert stated == [term.weight_for(SegmentationTask) for term in built_in_terms(args)]


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"\b[A-Z]+_[A-Z_]{3,}\b", README)
