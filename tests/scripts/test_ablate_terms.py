"""Each row of the ablation is the run that its name says, and no run is printed as two rows."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import parse_arguments
from hf_structkd.terms import BUILT_IN_TERMS

SCRIPT = Path(__file__).parents[2] / "scripts" / "ablate_terms.py"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("ablate_terms", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ablate_terms"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ablate_terms"]


def parsed(flags: list[str], folder: Path) -> StructKDTrainingArguments:
    argv = [*flags, "--output_dir", str(folder), "--use_cpu", "true", "--report_to", "none"]
    return parse_arguments(StructKDTrainingArguments, argv=argv)[0]


def test_every_row_passes_the_weight_of_every_term(script: ModuleType, tmp_path: Path) -> None:
    """A weight that is left out is the default of the day: two rows were one run, printed as two."""
    names = [f"{term.name}_weight" for term in BUILT_IN_TERMS]
    for row in script.ROWS:
        assert {f"--{name}" for name in names} <= set(row.flags)
        args = parsed(row.flags, tmp_path)
        assert {name: getattr(args, name) for name in names} == row.weights


def test_a_row_is_called_by_its_numbers(script: ModuleType) -> None:
    assert (
        script.Row(1, 1, 10, 0.01, 0, 0).name
        == "task 1, pixel 1, pairwise 10, holistic 0.01, mimic 0, channel 0"
    )
    assert (
        script.Row.of_preset("cirkd").name
        == "preset cirkd: task 1, pixel 1, pairwise 10, holistic 0.001, mimic 0, channel 0"
    )


def test_a_preset_passes_its_own_weights(script: ModuleType, tmp_path: Path) -> None:
    for row in script.ROWS:
        if row.preset is not None:
            published = parsed(["--preset", row.preset], tmp_path).to_dict()
            assert parsed(row.flags, tmp_path).to_dict() == published


def test_no_two_rows_are_one_run(script: ModuleType) -> None:
    script.refuse_equal_rows(script.ROWS)
    for again in script.ROWS:
        with pytest.raises(ValueError, match="are the same run; remove one"):
            script.refuse_equal_rows([*script.ROWS, again])


def test_a_finished_run_with_other_weights_is_refused(script: ModuleType, tmp_path: Path) -> None:
    """A folder of an older table would be printed under the numbers of this one."""
    row, other = script.ROWS[3], script.ROWS[4]
    torch.save(parsed(row.flags, tmp_path), tmp_path / "training_args.bin")
    script.refuse_other_weights(row, tmp_path)
    with pytest.raises(ValueError, match=r"'holistic_weight': 0\.01.* and its row states .* remove the run"):
        script.refuse_other_weights(other, tmp_path)
