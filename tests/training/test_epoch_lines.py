"""While a student trains, each epoch is one line that says what it learned and how long it still takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainerControl, TrainerState

from hf_structkd.report import Headline
from hf_structkd.training.epoch_lines import EpochLines, QuietBar, headline_scores, shorten_table
from tests.cases import SEGMENTATION, StopAt, arguments, make_trainer

IOU = Headline("mean_iou", "mean IoU")


def trainer_of(folder: Path, *, seconds: float = 10.0, **settings: Any) -> Any:
    """A trainer of two steps an epoch, whose clock moves by so many seconds a step."""
    settings = {"report_to": "none", "max_steps": -1, "num_train_epochs": 2, **settings}
    trainer = make_trainer(SEGMENTATION, arguments(folder, **settings))
    trainer.remove_callback(PrinterCallback)

    def clock() -> float:
        return seconds * trainer.state.global_step

    trainer.add_callback(EpochLines(trainer.distillation, trainer.accelerator, clock=clock))
    return trainer


def lines(text: str) -> list[list[str]]:
    """The parts of every line of an epoch."""
    return [line.split(" | ") for line in text.splitlines() if line.startswith("epoch ")]


def numbers(part: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"(\S+) (-?[\d.e+-]+)", part)}


def test_an_epoch_is_one_line_with_terms_rate_score_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it a person sees dictionaries of forty numbers, of which none says how long it takes."""
    trainer = trainer_of(tmp_path, eval_strategy="epoch", logging_steps=1)
    trainer.train()
    said = capsys.readouterr().out
    first, second = lines(said)
    assert "{" not in said
    assert (first[:2], second[:2]) == (["epoch 1/2", "step 2/4"], ["epoch 2/2", "step 4/4"])
    assert (first[-1], second[-1]) == ("20 s left", "took 40 s")
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for line, of_epoch in ((first, logs[:2]), (second, logs[2:])):
        terms = numbers(line[2])
        assert list(terms) == ["task", "pixel", "pairwise", "holistic"]
        for name, value in terms.items():
            mean = sum(log[f"loss_{name}"] for log in of_epoch) / 2
            assert value == pytest.approx(mean, rel=1e-3), name
        assert numbers(line[3]) == {"lr": pytest.approx(of_epoch[-1]["learning_rate"], rel=1e-2)}
    scores = [log["eval_mean_iou"] for log in trainer.state.log_history if "eval_mean_iou" in log]
    assert [line[-2] for line in (first, second)] == [f"mean IoU {score:.4f}" for score in scores]


def test_a_resumed_run_measures_its_own_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps of before, which cost nothing now, would promise an end that never comes."""
    settings = {"num_train_epochs": 4, "save_strategy": "epoch"}
    first = trainer_of(tmp_path, **settings)
    first.add_callback(StopAt(4))
    first.train()
    capsys.readouterr()
    trainer_of(tmp_path, **settings).train(resume_from_checkpoint=True)
    assert [(line[1], line[-1]) for line in lines(capsys.readouterr().out)] == [
        ("step 6/8", "20 s left"),
        ("step 8/8", "took 40 s"),
    ]


def test_the_bar_of_a_resumed_run_starts_where_the_checkpoint_is() -> None:
    """Trainer's own bar counts the steps of before into its pace, which is then far too fast."""
    bar, state = QuietBar(), TrainerState(global_step=500, max_steps=1000, is_world_process_zero=True)
    bar.on_train_begin(None, state, TrainerControl())
    try:
        assert (bar.training_bar.initial, bar.training_bar.n) == (500, 500)
        state.global_step = 501
        bar.on_step_end(None, state, TrainerControl())
        assert bar.training_bar.n == 501
    finally:
        bar.training_bar.close()


@pytest.mark.parametrize(("is_terminal", "is_disabled"), [(True, False), (False, False), (True, True)])
def test_the_lines_stand_once_and_a_bar_beside_them_on_a_terminal_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    is_disabled: bool,
) -> None:
    """What the bar prints too would stand there twice, and a log file would hold thousands of bars."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    settings = {"report_to": "none", "max_steps": -1, "num_train_epochs": 2, "eval_strategy": "epoch"}
    make_trainer(SEGMENTATION, arguments(tmp_path, disable_tqdm=is_disabled, **settings)).train()
    said = capsys.readouterr()
    assert len(lines(said.out)) == 2
    assert "{" not in said.out + said.err
    assert ("4/4" in said.err) is (is_terminal and not is_disabled)


def test_who_removes_the_printer_has_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that silences Trainer is to silence this trainer."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for disabled in (True, False):
        trainer = make_trainer(
            SEGMENTATION, arguments(tmp_path, disable_tqdm=disabled, report_to="none", max_steps=1)
        )
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        trainer.train()
        said = capsys.readouterr()
        assert lines(said.out) == []
        assert said.err == ""


@pytest.mark.parametrize(("seconds", "steps"), [(10.0, ["4/4"]), (61.0, ["1/4", "2/4", "3/4", "4/4"])])
def test_a_long_epoch_is_not_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: float, steps: list[str]
) -> None:
    """The only epoch of a stream may last for days."""
    trainer = trainer_of(tmp_path, seconds=seconds, max_steps=4, num_train_epochs=1, logging_steps=1)
    trainer.train_dataset = SEGMENTATION.rows(16)
    trainer.train()
    found = lines(capsys.readouterr().out)
    assert [line[1] for line in found] == [f"step {step}" for step in steps]
    assert all("task" in line[2] for line in found)


def test_every_evaluation_is_said_and_one_at_the_end_of_an_epoch_in_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = trainer_of(tmp_path, eval_strategy="steps", eval_steps=1, eval_on_start=True)
    trainer.train()
    trainer.evaluate()  # outside a training its caller has the scores
    found = lines(capsys.readouterr().out)
    assert [line[1] for line in found] == [f"step {step}/4" for step in range(5)]
    assert all(any(part.startswith("mean IoU ") for part in line) for line in found)
    assert found[0][0] == "epoch 0/2"
    assert not any("left" in part for part in found[0])


def test_only_the_first_process_speaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight processes would say everything eight times."""
    trainer = trainer_of(tmp_path)
    speaker = EpochLines(trainer.distillation, trainer.accelerator)
    state = TrainerState(global_step=2, max_steps=4, num_train_epochs=2, is_world_process_zero=False)
    for event in ("on_train_begin", "on_epoch_end", "on_train_end"):
        getattr(speaker, event)(trainer.args, state, TrainerControl())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("metrics", "best", "expected"),
    [
        ({"eval_loss": 2.0, "eval_mean_iou": 0.5, "eval_runtime": 1.0}, None, {"mean IoU": 0.5}),
        ({"eval_b_loss": 2.0, "eval_b_mean_iou": 0.5, "eval_b_runtime": 1.0}, None, {"b: mean IoU": 0.5}),
        (
            {"eval_agreement_mean_iou": 0.5, "eval_runtime": 1.0},
            None,
            {"agreement with the teacher, mean IoU": 0.5},
        ),
        ({"eval_loss": 2.0, "eval_dice": 0.5, "eval_runtime": 1.0}, "dice", {"dice": 0.5}),
        ({"eval_loss": 2.0, "eval_dice": 0.5, "eval_runtime": 1.0}, None, {"evaluation loss": 2.0}),
        ({"eval_runtime": 1.0}, None, {}),
    ],
)
def test_the_score_of_a_line_is_the_headline(
    metrics: dict[str, float], best: str | None, expected: dict[str, float]
) -> None:
    """A number of another set, or of a class, under its name would be believed."""
    assert headline_scores(metrics, IOU, best) == expected


def test_a_notebooks_table_has_terms_and_headline_and_no_column_for_each_class(tmp_path: Path) -> None:
    """A table of 150 classes is as wide as thirty screens, and hides the one number that counts."""

    class Table(TrainerCallback):
        def on_evaluate(self, *args: Any, metrics: dict[str, float], **kwargs: Any) -> None:
            shown.append(dict(metrics))
            metrics.clear()  # as Trainer's own table does with some of them

    def evaluations() -> Iterator[dict[str, float]]:
        return (log for log in trainer.state.log_history if "eval_loss" in log)

    shown: list[dict[str, float]] = []
    table = Table()
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, report_to="none", eval_strategy="steps"))
    shorten_table(table, trainer.distillation)
    trainer.add_callback(table)
    trainer.train()
    terms = ["term_task", "term_pixel", "term_pairwise", "term_holistic"]
    assert [list(columns) for columns in shown] == [[*terms, "eval_loss", "eval_mean_iou"]] * 2
    for columns, log in zip(shown, evaluations(), strict=True):
        assert columns["eval_mean_iou"] == log["eval_mean_iou"]


@pytest.mark.parametrize(("max_grad_norm", "is_said"), [(1e-3, True), (1e6, False), (0.0, False)])
def test_a_line_says_what_clipping_leaves_of_the_gradient(
    max_grad_norm: float, is_said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weight that drowns the labels shows nowhere else: the losses fall, and the score is poor."""
    trainer = trainer_of(tmp_path, max_grad_norm=max_grad_norm, num_train_epochs=1, logging_steps=1)
    trainer.train()
    (line,) = lines(capsys.readouterr().out)
    said = [part for part in line if part.startswith("gradient clipped to ")]
    assert bool(said) is is_said
    if said:
        norm = [log["grad_norm"] for log in trainer.state.log_history if "grad_norm" in log][-1]
        assert float(said[0].split()[-1]) == pytest.approx(max_grad_norm / norm, rel=0.05)
