"""The shipped teachers, and the students of the results, are what their pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hf_structkd.cli.main import main
from hf_structkd.tasks import find_task

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "examples" / "teachers", ROOT / "docs" / "results" / "students")


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """Name, height, width and score of every model of a page."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    # | [`scenes-depth`](scenes-depth) | GLPN | 64 × 96 | ... | 0.123 |
    return re.findall(r"\| \[`(scenes-\w+)`\].*? \| (\d+) × (\d+) \| .* \| ([\d.]+) \|\n", page)


ROWS = [(folder / name, *row) for folder in FOLDERS for name, *row in rows_of(folder)]


MODELS = [path for folder in FOLDERS for path in sorted(folder.iterdir()) if path.is_dir()]


@pytest.mark.filterwarnings("ignore:You'd better set embed_dim")
@pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])
def test_the_page_lists_every_model_which_loads(model: Path) -> None:
    """A file that is damaged, or that nobody finds, is of no use to a newcomer."""
    page = (model.parent / "README.md").read_text(encoding="utf-8")
    assert f"| [`{model.name}`]({model.name}) |" in page
    assert (model / "model.safetensors").stat().st_size <= 2e6
    architecture = json.loads((model / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    _, told = find_task(architecture).auto_model.from_pretrained(model, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_the_models_of_the_scenes_are_scored() -> None:
    assert [row[0] for row in ROWS] == [model for model in MODELS if model.name.startswith("scenes-")]


@pytest.mark.parametrize(
    ("model", "height", "width", "stated"), ROWS, ids=[f"{row[0].parent.name}-{row[0].name}" for row in ROWS]
)
def test_a_shipped_model_reaches_its_score(
    model: Path, height: str, width: str, stated: str, tmp_path: Path
) -> None:
    """Scenes that changed would make the first thing that a newcomer sees teach noise."""
    quick = ["--max_eval_samples", "12", "--image_size", height, width, "--output_dir", str(tmp_path)]
    main(["evaluate", str(model), *quick, "--no_memory", "--device", "cpu", "--repeats", "1"])
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["models"][0]["scores"][record["metric"]] == pytest.approx(float(stated), abs=0.005)
