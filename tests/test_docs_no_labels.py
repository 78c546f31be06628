"""The page on training without labels runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hf_structkd.cli.task_words import arguments_of

PAGE = (Path(__file__).parents[1] / "docs" / "no_labels.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"structkd distill ((?:.*\\\n)*.*)", PAGE)


@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")
def test_the_example_on_the_page_agrees_with_its_teacher_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(8):
        colours = np.random.default_rng(number).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        PIL.Image.fromarray(colours).save(f"photos/{number}.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "no_labels.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "no labels: the task term is off" in printed
    assert 0 <= float(printed.strip().splitlines()[-1]) <= 1


@pytest.mark.parametrize("command", COMMANDS, ids=[command.split()[0] for command in COMMANDS])
def test_the_commands_on_the_page_can_be_parsed(command: str) -> None:
    assert len(COMMANDS) == 3
    words = shlex.split(command.replace("\\\n", " "))
    arguments = arguments_of("distill", [*words, "--use_cpu", "--report_to", "none"])
    assert arguments.options.dataset_name == "photos"
