"""The command on a card runs again, and tells no token and no path of the machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hf_structkd.card.command import printable_command

TOKEN = "hf_" + "AbCd" * 8 + "Xy"


def test_the_command_runs_again() -> None:
    """Read back by a shell, it is what was typed."""
    argv = [
        "run.py",
        "a.yaml",
        "--image_size",
        "180",
        "240",
        "--note=it's",
        "--label_map",
        '{"a": "b c"}',
        "",
    ]
    printed = printable_command(argv)
    assert printed.splitlines()[0] == "python run.py a.yaml \\"
    assert shlex.split(printed.replace("\\\n", "")) == ["python", *argv]
    assert printable_command(["run.py"], processes=4) == "torchrun --nproc_per_node 4 run.py"


@pytest.mark.parametrize(
    "argv",
    [
        ["--hub_token", "secret-word"],
        ["--hub-token=secret-word"],
        ["--token", "secret-word"],
        ["--TOKEN=secret-word"],
        ["-token", "secret-word"],
        ["--note", f"see {TOKEN}."],
        [f"--{TOKEN}"],
        [f"--name={TOKEN}", TOKEN],
        ["--other", "known-secret"],
    ],
)
def test_no_token_is_in_the_command(argv: list[str]) -> None:
    """A card is public, and so would the account be."""
    printed = printable_command(["run.py", *argv, "--seed", "1"], secrets=["known-secret", ""])
    assert "secret" not in printed
    assert TOKEN not in printed
    assert "1" in shlex.split(printed.replace("\\\n", ""))


def test_a_token_option_reads_the_environment_instead() -> None:
    printed = printable_command(
        ["run.py", "--hub_token", "x", "--seed", "1", "--token=y", "--hub_token", "--a"]
    )
    assert printed == (
        'python run.py \\\n    --hub_token "$HF_TOKEN" \\\n    --seed 1 \\\n    --token="$HF_TOKEN" \\\n'
        "    --hub_token \\\n    --a"
    )


def test_the_name_of_the_library_is_no_token() -> None:
    argv = ["run.py", "--output_dir", "outputs/hf_structkd", "--hub_model_id", "user/hf_structkd-student"]
    assert shlex.split(printable_command(argv).replace("\\\n", "")) == ["python", *argv]


def test_paths_of_the_machine_are_not_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv = [
        str(tmp_path / "run.py"),
        f"--data=/srv/{'x'}/camvid",
        "--out",
        str(tmp_path / "a" / "b"),
        "../c",
        "~/d",
    ]
    assert printable_command(argv).replace(" \\\n   ", "") == "python run.py --data=camvid --out a/b ../c d"
