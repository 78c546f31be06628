"""The notebook of the examples is what its reader gets: it runs, and what is committed is what it printed."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"


def cells(notebook: dict[str, Any], kind: str = "code") -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def kinds(notebook: dict[str, Any]) -> set[str]:
    """The kinds of what the cells have put out."""
    found = set()
    for cell in cells(notebook):
        for output in cell["outputs"]:
            found |= set(output.get("data", {})) | {output["output_type"]}
    return found


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return read


def test_every_cell_of_code_parses_and_was_run_in_order(notebook: dict[str, Any]) -> None:
    """Outputs of cells that were run twice, or in another order, are not what the reader gets."""
    for number, cell in enumerate(cells(notebook), start=1):
        ast.parse("".join(cell["source"]))
        assert cell["execution_count"] == number


def test_what_is_committed_has_outputs_and_is_small(notebook: dict[str, Any]) -> None:
    """A page on the web shows what is in the file, and nothing else."""
    assert NOTEBOOK.stat().st_size < 500_000
    assert kinds(notebook) >= {"text/html", "image/png"}
    assert "error" not in kinds(notebook)
    assert not [cell for cell in cells(notebook) if "stderr" in {one.get("name") for one in cell["outputs"]}]


def test_the_notebook_names_no_path_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w./:])/(?:home|root|tmp|work|usr|Users|mnt|opt|var)/[\w.]+", text) == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Else the first thing that a newcomer tries ends in a traceback."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    for folder in ("configs", "teachers"):
        shutil.copytree(NOTEBOOK.parent / folder, tmp_path / folder)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert kinds(fresh) >= {"text/html", "image/png"}
    assert (tmp_path / "outputs" / "notebook" / "report.html").is_file()
