"""The command `structkd`: its help, its endings, and that it trains."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import TrainingArguments

from hf_structkd import PushError, StructKDTrainingArguments
from hf_structkd.cli.commands import COMMANDS
from hf_structkd.cli.endings import ExitCode, exit_code, one_sentence
from hf_structkd.cli.main import main
from hf_structkd.scenes.scenes import CLASS_NAMES
from hf_structkd.tasks import SegmentationTask

from ..tiny_models import tiny_segmentation_model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command line that ends the process; return the exit code, stdout and stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(words)
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def test_the_console_script_is_this_function() -> None:
    """Else the command that pip installs is missing, or starts something else."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["options.entry_points"]["console_scripts"].strip() == "structkd = hf_structkd.cli.main:main"


def test_without_words_every_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    printed = capsys.readouterr().out
    for command in COMMANDS:
        assert command.SUMMARY in printed
        assert f"structkd {command.NAME}" in PAGE


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("distil",), "'distil' is no command of structkd; did you mean 'distill'?"),
        (("distill",), "wants a task, segmentation, depth, detection, got nothing"),
        (("distill", "dept", "--pixel_wieght", "3"), "is no option; did you mean '--pixel_weight'?"),
        (("train-teacher", "seg"), "--student_model_name_or_path is missing"),
        (("distill", "segg"), "got 'segg'; did you mean 'segmentation'?"),
        (("distill", "detecting"), "got 'detecting'; did you mean 'detection'?"),
        (("distill", "seg", "gone.yaml"), "there is no file gone.yaml"),
        (("distill", "seg", "--output_dir", "x"), "--teacher_model_name_or_path is missing"),
        (("cache", "seg", "--teacher_cache", "x"), "--augmentation_views is missing"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)  # fmt: skip
def test_a_slip_is_named_with_what_was_meant(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback of forty lines hides a misspelt word, and a usage of two hundred flags hides it too."""
    code, _, error = said(capsys, *words)
    assert code == ExitCode.USAGE
    assert len(error.splitlines()) == 1
    assert error.startswith("structkd: error: ")
    assert sentence in error


def test_a_value_that_is_no_number_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = said(capsys, "distill", "seg", "--image_size", "wide")
    assert code == ExitCode.USAGE
    (line,) = error.splitlines()
    assert line.startswith("structkd distill seg: error: argument --image_size")
    assert line.endswith("invalid int value: 'wide'; see --help.")


@pytest.mark.parametrize("task", ["seg", "depth", "det"])
def test_the_help_shows_what_matters_and_the_other_help_all(
    task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody finds the twenty options that matter among two hundred."""
    _, short, _ = said(capsys, "distill", task, "--help")
    assert 18 <= len(re.findall(r"^  --\w", short, re.MULTILINE)) <= 23
    for group in ("models", "data", "terms", "training", "run", "examples"):
        assert f"\n{group}:\n" in f"\n{short}"
    code, full, _ = said(capsys, "distill", task, "--help-all")
    assert code == 0
    assert "\nother:\n" not in full
    by_group = dict(re.findall(r"^([\w ]+):\n((?:  .*\n)+)", full, re.MULTILINE))
    trainers = {one.name for one in fields(TrainingArguments)}
    ours = {one.name for one in fields(StructKDTrainingArguments) if one.init} - trainers
    shown = {group: set(re.findall(r"^  --(\w+)", text, re.MULTILINE)) for group, text in by_group.items()}
    of_library = shown["terms"] | shown["critic"] | shown["teacher"]
    assert ours - of_library <= shown["training"] | shown["devices and precision"]
    assert not trainers & of_library


def test_the_page_states_every_exit_code() -> None:
    """A script that starts runs must know what a code means."""
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == {0, *ExitCode}


ENDINGS = {
    ExitCode.UNEXPECTED: KeyError("x"),
    ExitCode.INPUT: ValueError("`x` must\n  be 1, got 2."),
    ExitCode.FILES: FileNotFoundError(2, "No such file", "x"),
    ExitCode.HUB: PushError("refused"),
    ExitCode.NOT_FINITE: FloatingPointError("`loss_task` is NaN"),
    ExitCode.MEMORY: torch.OutOfMemoryError("CUDA out of memory"),
    ExitCode.INTERRUPTED: KeyboardInterrupt(),
}


@pytest.mark.parametrize("code", ENDINGS)
def test_each_kind_of_error_has_its_code_and_one_line(
    code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, one_sentence(["structkd"]):
        raise ENDINGS[code]
    assert end.value.code == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(type(ENDINGS[code])), one_sentence(["structkd", "--debug", "--seed", "1"]):
        raise ENDINGS[code]


def test_errors_of_the_hub_and_of_a_cpus_memory_have_their_kinds() -> None:
    """Both are subclasses of, or plain, errors of another kind."""
    assert exit_code(ConnectionError("no route")) is ExitCode.HUB
    assert exit_code(RepositoryNotFoundError.__new__(RepositoryNotFoundError)) is ExitCode.HUB
    assert exit_code(RuntimeError("DefaultCPUAllocator: can't allocate memory")) is ExitCode.MEMORY


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["run", "--debug"], ["run"]),
        (["--debug", "--seed", "1"], ["--seed", "1"]),
        (["--debug", "underflow_overflow"], ["--debug", "underflow_overflow"]),
    ],
)
def test_debug_with_a_value_belongs_to_the_trainer(words: list[str], left: list[str]) -> None:
    with one_sentence(words):
        assert words == left


def settings_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a tiny pair and `run.json` for it into the folder, and go there."""
    names = dict(enumerate(CLASS_NAMES))
    for folder, arch in (("student", "segformer"), ("teacher", "mobilenet_v2")):
        model = tiny_segmentation_model(arch, id2label=names)
        model.save_pretrained(tmp_path / folder)
        SegmentationTask.image_processor((64, 64), model.config).save_pretrained(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    settings = {"teacher_cache": "answers", "augmentation_views": 2, "image_size": [64, 64], "max_steps": 2}
    settings |= {"teacher_model_name_or_path": "teacher", "student_model_name_or_path": "student"}
    settings |= {"max_train_samples": 2, "max_eval_samples": 2, "output_dir": "out", "report_to": "none"}
    settings |= {"use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "holistic_weight": 0}
    Path("run.json").write_text(json.dumps(settings))


def test_a_cache_filled_by_one_command_serves_the_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options that meant something else to one of them would miss every answer."""
    settings_for(tmp_path, monkeypatch)
    main(["cache", "seg", "run.json"])
    assert "4 answers" in capsys.readouterr().out
    assert not Path("out", "model.safetensors").exists()
    main(["distill", "seg", "run.json", "--per_device_train_batch_size", "2"])
    printed = capsys.readouterr().out
    assert "teacher (read from cache)" in printed
    assert "4 of 4 answers" in printed
    assert (tmp_path / "out" / "model.safetensors").is_file()
