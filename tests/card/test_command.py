"""The command on a card runs again, and tells no token and no path of the machine."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def test_paths_of_the_machine_are_variables_that_the_shell_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card is public, a home folder names its owner, and a command without its paths does not run."""
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "a" / "b")
    argv = [str(tmp_path / "run.py"), "/home/ann/1.yaml", "--data=/srv/ann/camvid", "--out", out, "../c"]
    argv += ["--more", "/srv/ann/camvid", "/srv/ann/$x", "~/d"]
    printed = printable_command(argv)
    assert "ann" not in printed
    *questions, command = printed.replace(" \\\n   ", "").splitlines()
    assert command == (
        'python run.py "$FILE_1_YAML" --data="$DATA" --out a/b ../c --more "$DATA" "$MORE" "$MORE_2"'
    )
    asked = [question.partition("path of ")[2].removesuffix('}" &&') for question in questions]
    assert asked == ["1.yaml", "camvid", "another name", "d"]


def test_the_printed_command_runs_once_its_paths_are_set(tmp_path: Path) -> None:
    """Also with spaces in them; before that, the shell says which path it wants."""
    script = tmp_path / "a b.py"
    script.write_text("import sys; print(sys.argv[1:])")
    argv = [str(script), "--data", "/srv/x y/cam vid", "--seed", "1"]
    printed = printable_command(argv).replace("python ", f"{sys.executable} ", 1)
    unset = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=False)
    assert unset.returncode != 0
    assert unset.stdout == ""
    assert "A_B_PY: set it to the path of a b.py" in unset.stderr
    paths = {"A_B_PY": str(script), "DATA": "/srv/x y/cam vid"}
    done = subprocess.run(["sh", "-c", printed], capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.strip() == str(argv[1:])


def test_a_command_pasted_into_a_terminal_waits_for_its_paths(tmp_path: Path) -> None:
    """A terminal goes on after a line that fails, and the run would start with empty names."""
    (tmp_path / "run.py").write_text("print('it ran')")
    printed = printable_command(["run.py", "--data", "/srv/x/camvid"]).replace(
        "python ", f"{sys.executable} ", 1
    )
    bash = ["bash", "--norc", "--noprofile", "-i"]
    for variables, ran in (({}, False), ({"DATA": "/srv/x/camvid"}, True)):
        settings: dict[str, Any] = {"cwd": tmp_path, "env": variables, "capture_output": True, "text": True}
        pasted = subprocess.run(bash, input=f"{printed}\n", check=False, **settings)
        assert ("it ran" in pasted.stdout) == ran


@pytest.mark.parametrize("program", ["/opt/venv/bin/structkd", "/opt/venv/hf_structkd/__main__.py"])
def test_the_installed_command_is_printed_by_its_name(program: str) -> None:
    argv = [program, "distill", "seg", "--seed", "1"]
    assert printable_command(argv).startswith("structkd distill seg \\\n")
    several = "torchrun --nproc_per_node 2 -m hf_structkd distill seg \\\n"
    assert printable_command(argv, processes=2).startswith(several)
