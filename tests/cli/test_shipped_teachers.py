"""The teachers that are shipped with the examples are what their page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hf_structkd.cli.main import main

FOLDER = Path(__file__).parents[2] / "examples" / "teachers"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
# | [`scenes-depth`](scenes-depth) | GLPN | 64 × 96 | ... | 0.123 |
ROWS = re.findall(r"\| \[`(scenes-\w+)`\].*? \| (\d+) × (\d+) \| .* \| ([\d.]+) \|\n", PAGE)


def test_the_page_lists_every_teacher() -> None:
    assert [name for name, *_ in ROWS] == sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


@pytest.mark.parametrize(("name", "height", "width", "stated"), ROWS, ids=[row[0] for row in ROWS])
def test_a_shipped_teacher_is_small_and_reaches_its_score(
    name: str, height: str, width: str, stated: str, tmp_path: Path
) -> None:
    """A damaged file, or scenes that changed, would make the first thing that a newcomer sees teach noise."""
    assert (FOLDER / name / "model.safetensors").stat().st_size <= 2e6
    quick = ["--max_eval_samples", "12", "--image_size", height, width, "--output_dir", str(tmp_path)]
    main(["evaluate", str(FOLDER / name), *quick, "--no_memory", "--device", "cpu", "--repeats", "1"])
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["models"][0]["scores"][record["metric"]] == pytest.approx(float(stated), abs=0.005)
