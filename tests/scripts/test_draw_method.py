"""The figures of the page on the method are those that the script draws."""

from __future__ import annotations

from pathlib import Path

import draw_method

DOCS = Path(__file__).parents[2] / "docs"


def test_the_script_draws_every_figure_of_the_page(tmp_path: Path) -> None:
    """A figure that nobody can draw again keeps its faults."""
    draw_method.main(["--output_dir", str(tmp_path)])
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {file.name for file in DOCS.glob("method-*.svg")}
    page = (DOCS / "method.md").read_text(encoding="utf-8")
    assert all(f"({name})" in page for name in drawn)
