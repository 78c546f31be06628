"""Every command that a page shows is taken by the parser of the program that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from transformers import SegformerConfig

from hf_structkd.cli.ablation.command import AblationArguments
from hf_structkd.cli.commands import COMMANDS
from hf_structkd.cli.commands.export import ExportArguments
from hf_structkd.cli.commands.predict import PredictArguments
from hf_structkd.cli.model_words import parse_models, split_words, words_before_options
from hf_structkd.cli.script_args import parse_arguments, parse_run
from hf_structkd.cli.task_words import arguments_of
from hf_structkd.cli.trained.options import ScoringArguments
from hf_structkd.tasks import TASKS, DepthTask, DetectionTask, SegmentationTask

from .docs_pages import PAGES, ROOT, commands

Words = Sequence[str]

# What stands for something of the reader's.
_PLACEHOLDERS = re.compile(r"(?<=\s)(\.\.\.|OPTIONS|SIZE)(?=\s|$)")
_SEED = re.compile(r"(?<=--seed )N\b")
_HERE = ("--use_cpu", "--report_to", "none")
_MODELS = {"evaluate": ScoringArguments, "compare": ScoringArguments, "export": ExportArguments}
_EXAMPLES = {
    "run_seg_distill.py": SegmentationTask,
    "run_depth_distill.py": DepthTask,
    "run_det_distill.py": DetectionTask,
}
SHOWN = [
    pytest.param(line, id=f"{page.relative_to(ROOT)}-{number}")
    for page in (*PAGES, ROOT / "README.md", ROOT / "examples" / "README.md")
    for number, line in enumerate(commands(page))
]


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what a clone has, and with the files and models that the pages name."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("docs", "examples", "scripts", "src", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for plan in ("street.yaml", "camvid.yaml"):
        (folder / plan).write_text("dataset_name: street\n")
    config = SegformerConfig(architectures=["SegformerForSemanticSegmentation"])
    for model in ("TEACHER", "outputs/street", "outputs/street/alone", "outputs/teacher"):
        config.save_pretrained(folder / model)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("line", SHOWN)
def test_the_parser_takes_the_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that was renamed is found by the reader, after he has trained for a day."""
    words = shlex.split(_SEED.sub("1", _PLACEHOLDERS.sub("", line)))
    while words and re.fullmatch(r"[A-Z_]+=\S+", words[0]):
        words = words[1:]
    check = PROGRAMS.get(words[0])
    if check is not None:
        check(words[1:])


def _structkd(words: Words) -> None:
    name, *rest = words
    if name in ("--help", "--version"):
        return
    assert name in {command.NAME for command in COMMANDS}
    if "--help" in rest or "--help-all" in rest:
        with pytest.raises(SystemExit, match="0"):
            arguments_of(name, rest)
    elif name in _MODELS:
        models, _, _ = parse_models(name, rest, _MODELS[name], examples="")
        assert models
    elif name == "predict":
        pictures, options = split_words(rest)
        (settings,) = parse_arguments(PredictArguments, argv=options)
        assert pictures
        assert settings.model is not None
    elif name == "ablate":
        _ablate(rest)
    else:
        assert arguments_of(name, [*rest, *_HERE]).training.output_dir


def _ablate(words: Words) -> None:
    plans, options = words_before_options(words)
    assert plans
    parse_arguments(AblationArguments, argv=options)


def _launched(words: Words) -> None:
    """`accelerate launch` or `torchrun`: what they launch is a module or a script."""
    rest = list(words[1:] if words[0] == "launch" else words)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2:]
    _python(rest)


def _python(words: Words) -> None:
    if words[0] == "-m":
        if words[1] == "hf_structkd":
            _structkd(words[2:])
        return
    script = Path(words[0])
    assert script.is_file(), words[0]
    if script.name in _EXAMPLES:
        parse_run(_EXAMPLES[script.name], [*words[1:], *_HERE], scenes={})
    elif script.name == "train_teacher.py":
        rest = list(words[1:])
        place = rest.index("--task") if "--task" in rest else None
        name = "segmentation" if place is None else rest[place + 1]
        task = next(one for one in TASKS if one.short_name == name)
        others = rest if place is None else rest[:place] + rest[place + 2 :]
        parse_run(task, [*others, *_HERE], scenes={})
    elif script.name == "ablate.py":
        _ablate(words[1:])
    else:
        text = script.read_text(encoding="utf-8")
        for flag in (word.split("=")[0] for word in words if word.startswith("--")):
            assert f'"{flag}"' in text, f"{script} has no {flag}"


def _pip(words: Words) -> None:
    extras = re.findall(r"\[([\w,]+)\]", " ".join(words))
    known = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)
    assert {extra for one in extras for extra in one.split(",")} <= {*known}


def _make(words: Words) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


PROGRAMS: dict[str, Callable[[Words], None]] = {
    "structkd": _structkd,
    "accelerate": _launched,
    "torchrun": _launched,
    "python": _python,
    "pip": _pip,
    "make": _make,
}
