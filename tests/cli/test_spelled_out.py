"""The command on a card needs no file that lies on one machine only."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hf_structkd.card.command import printable_command
from hf_structkd.cli.script_args import parse_run
from hf_structkd.cli.spelled_out import spelled_out
from hf_structkd.tasks import SegmentationTask

SETTINGS = """
dataset_name: my street
image_size: [96, 128]
learning_rate: 2e-3
seed: 7
compare_baseline: true
do_train: false
teacher_revision: null
teacher_label_map: {auto: car, "lorry van": car}
lr_scheduler_kwargs: {num_cycles: 2}
"""


def test_the_options_of_a_file_come_back_from_the_printed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else has the file, and tomorrow it may say something else."""
    monkeypatch.chdir(tmp_path)
    Path("street.yaml").write_text(SETTINGS)
    flags = ["--seed", "3", "--output-dir=outputs/a b"]
    typed = ["structkd", "distill", "seg", "street.yaml", *flags]
    printed = printable_command(spelled_out(typed))
    assert "street.yaml" not in printed
    again = shlex.split(printed.replace("\\\n", ""))
    assert again[:3] == typed[:3]
    first = parse_run(SegmentationTask, typed[3:], scenes={})
    second = parse_run(SegmentationTask, again[3:], scenes={})
    assert first[:3] == second[:3]
    assert first.training.to_dict() == second.training.to_dict()
    assert (second.training.seed, second.options.image_size) == (3, [96, 128])


@pytest.mark.parametrize(
    "argv",
    [
        ["structkd", "distill", "seg", "--seed", "1"],
        ["run.py", "gone.yaml"],
        ["run.py", "--id2label_path", "names.json"],
    ],
)
def test_a_command_without_a_file_stays_as_it_is(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.json").write_text("{}")
    assert spelled_out(argv) == argv
