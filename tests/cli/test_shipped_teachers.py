"""The shipped teachers, and the students of the results, are what their pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hf_structkd.cli.main import main

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "examples" / "teachers", ROOT / "docs" / "results" / "students")


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """Name, height, width and score of every model of a page."""
    page = (folder / "README.md").read_text(encoding="utf-8")
    # | [`scenes-depth`](scenes-depth) | GLPN | 64 × 96 | ... | 0.123 |
    return re.findall(r"\| \[`(scenes-\w+)`\].*? \| (\d+) × (\d+) \| .* \| ([\d.]+) \|\n", page)


ROWS = [(folder / name, *row) for folder in FOLDERS for name, *row in rows_of(folder)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_page_lists_every_model(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert [name for name, *_ in rows_of(folder)] == names != []


@pytest.mark.parametrize(
    ("model", "height", "width", "stated"), ROWS, ids=[f"{row[0].parent.name}-{row[0].name}" for row in ROWS]
)
def test_a_shipped_model_is_small_and_reaches_its_score(
    model: Path, height: str, width: str, stated: str, tmp_path: Path
) -> None:
    """A damaged file, or scenes that changed, would make the first thing that a newcomer sees teach noise."""
    assert (model / "model.safetensors").stat().st_size <= 2e6
    quick = ["--max_eval_samples", "12", "--image_size", height, width, "--output_dir", str(tmp_path)]
    main(["evaluate", str(model), *quick, "--no_memory", "--device", "cpu", "--repeats", "1"])
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["models"][0]["scores"][record["metric"]] == pytest.approx(float(stated), abs=0.005)
