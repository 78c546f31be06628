"""From a plan to the table: runs are trained once, and the page says what their files say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from hf_structkd.cli.ablation.one_run import is_finished, train
from hf_structkd.cli.ablation.page import blocks, replace_block, report
from hf_structkd.cli.ablation.plan import WEIGHTS, read_plan
from hf_structkd.cli.ablation.records import records, result_file
from hf_structkd.cli.ablation.summary import summary_lines
from hf_structkd.cli.main import main
from hf_structkd.scenes.scenes import CLASS_NAMES, load_scenes

from ...tiny_models import tiny_segmentation_model

ROOT = Path(__file__).parents[3]
PLANS = sorted((ROOT / "examples" / "ablations").glob("*.yaml"))
RESULTS, PAGE = ROOT / "docs" / "results" / "runs", ROOT / "docs" / "results.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan of two settings, both trained with seed 1."""
    root = tmp_path_factory.mktemp("ablation")
    names = dict(enumerate(CLASS_NAMES))
    scenes = load_scenes(num_train=2, num_validation=2, height=32, width=32)
    datasets.DatasetDict(scenes).save_to_disk(str(root / "data"))
    (root / "data" / "id2label.json").write_text(json.dumps(names))
    tiny_segmentation_model("segformer", id2label=names, seed=1).save_pretrained(root / "teacher")
    tiny_segmentation_model("segformer", id2label=names).config.save_pretrained(root / "student")
    options: dict[str, Any] = {
        "dataset_name": str(root / "data"),
        "student_model_name_or_path": str(root / "student"),
        "teacher_model_name_or_path": str(root / "teacher"),
        "image_size": [32, 32],
        "augmentation_views": 1,
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "eval_strategy": "steps",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    alone = {name: float(name == "task_weight") for name in WEIGHTS}
    experiment = {"title": "Scenes", "task": "segmentation", "chosen_on": "train", "options": options}
    plan = {
        "settings": {"alone": alone, "pixel": {**alone, "pixel_weight": 1.0}},
        "experiments": {"scenes": {**experiment, "settings": ["alone", "pixel"], "seeds": [1]}},
    }
    (root / "plan.yaml").write_text(yaml.safe_dump(plan))
    for run in read_plan(root / "plan.yaml"):
        place = result_file(run, root / "runs")
        train(run, folder=root / run.name, results=place, cache=root / "answers")
    return root


def test_a_run_states_what_decides_its_score_and_the_teachers(world: Path) -> None:
    alone, pixel = records(world / "plan.yaml", world / "runs")["scenes"]
    assert alone["options"] | {"pixel_weight": 1.0} == pixel["options"]
    assert alone["teacher_scores"] is None
    assert 0 <= pixel["teacher_scores"]["mean_iou"] <= 1
    assert pixel["curve"] == [[1, pixel["scores"]["mean_iou"]]]


def test_a_finished_run_is_not_run_again_and_another_is_not_taken_for_it(world: Path) -> None:
    """A file of an older plan would be printed under the numbers of this one."""
    run = read_plan(world / "plan.yaml")[1]
    file = result_file(run, world / "runs")
    assert is_finished(run, file)
    run.options["pixel_weight"] = 2.0  # type: ignore[index]
    with pytest.raises(ValueError, match="must hold the run of the plan, got another options"):
        is_finished(run, file)


def test_a_setting_may_keep_no_answers(world: Path, tmp_path: Path) -> None:
    """The teacher's boxes stand in for labels before the student runs, for which there is no cache."""
    plan = yaml.safe_load((world / "plan.yaml").read_text())
    # No steps are refused, after the settings are written.
    plan["settings"]["pixel"] |= {"teacher_cache": None, "max_steps": 0}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    run = read_plan(tmp_path / "plan.yaml")[1]
    with pytest.raises(ValueError, match="max_steps"):
        train(run, folder=tmp_path / "run", results=tmp_path / "result", cache=tmp_path / "answers")
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["teacher_cache"] is None


def test_the_page_gets_the_tables_and_keeps_the_rest(world: Path) -> None:
    page = world / "results.md"
    page.write_text("# Results\n<!-- runs of plan.yaml -->\nold\n<!-- end of runs of plan.yaml -->\nprose\n")
    report([world / "plan.yaml"], results=world / "runs", page=page)
    text = page.read_text()
    assert text.startswith("# Results\n")
    assert text.endswith("-->\nprose\n")
    assert "old" not in text
    assert "**pixel**: task 1, pixel 1, pairwise 0, holistic 0, mimic 0, channel 0" in text
    assert (world / "scenes.png").stat().st_size > 5000


def test_a_page_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="the page must hold '<!-- a -->'"):
        replace_block("nothing", "a", "text")


@pytest.mark.long
def test_the_command_runs_what_is_missing_in_processes_of_their_own(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "scenes" / "pixel-seed1.json").unlink()
    folders = (("--results", "runs"), ("--output_dir", "out"), ("--cache", "answers"))
    flags = [part for flag, name in folders for part in (flag, str(tmp_path / name))]
    command = [sys.executable, str(ROOT / "scripts" / "ablate.py"), str(world / "plan.yaml"), *flags]
    for line in ("2 runs, 1 of them finished", "2 runs, 2 of them finished"):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[0] == line
    again, first = (records(world / "plan.yaml", root / "runs")["scenes"][1] for root in (tmp_path, world))
    assert again["scores"] == first["scores"]


def test_the_documentation_shows_the_committed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a number outlives the run that it came from, in the table of its plan or in one over all plans."""
    monkeypatch.chdir(ROOT)
    plans = [plan.relative_to(ROOT) for plan in PLANS]
    results = RESULTS.relative_to(ROOT)
    page = PAGE.read_text(encoding="utf-8")
    for name, text in blocks(
        plans, summary_lines(plans, results), results=results, command="python scripts/ablate.py"
    ):
        assert replace_block(page, name, text) == page, f"the block {name!r} is old; write it with --report"


def test_the_documentation_opens_with_the_table_of_all() -> None:
    assert PAGE.read_text(encoding="utf-8").startswith("# Results\n\n<!-- summary of all plans -->\n| task |")


def test_a_page_that_is_not_there_is_begun(world: Path, tmp_path: Path) -> None:
    """A user has no page with two comments in it."""
    page = tmp_path / "new" / "results.md"
    report([world / "plan.yaml"], results=world / "runs", page=page)
    report([world / "plan.yaml"], results=world / "runs", page=page)
    text = page.read_text()
    assert text.startswith("# Results\n")
    assert text.count("`structkd ablate ") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ablate"], "no plan is named"),
        (["ablate", "plan.yaml", "--proceses", "2"], "did you mean '--processes'?"),
        (["ablate", "plan.yaml", "--until", "soon"], "`until` must be a time as HH:MM, got 'soon'"),
        (
            ["ablate", "plan.yaml", "--only", "x"],
            "must match runs of the plans, as 'scenes/alone-seed1'",
        ),
    ],
)
def test_a_slip_is_one_sentence(
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(world)
    with pytest.raises(SystemExit) as end:
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code in (2, 3)
    assert sentence in line
