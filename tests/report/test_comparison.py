"""The table's numbers are the models' numbers, and it claims no more than they show."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from hf_structkd.report import (
    ComparisonRow,
    Headline,
    comparison_table,
    milliseconds_per_image,
    share_of_gap_closed,
)
from hf_structkd.report.comparison import how_timed

GAP = "share of the gap closed"


def parse(table: str) -> dict[str, dict[str, str]]:
    """Row name -> column -> cell, read back from the Markdown."""
    header, rule, *body = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    assert all(set(cell) <= {"-", ":"} for cell in rule)
    return {cells[0]: dict(zip(header[1:], cells[1:], strict=True)) for cells in body}


def row(
    name: str, metrics: dict[str, float], parameters: int = 10, milliseconds: float = 1.0
) -> ComparisonRow:
    return ComparisonRow(name, metrics, parameters, milliseconds)


def rows(teacher: float, alone: float, distilled: float) -> list[ComparisonRow]:
    values = {"teacher": teacher, "alone": alone, "distilled": distilled}
    return [row(name, {"m": value}) for name, value in values.items()]


def table(models: list[ComparisonRow], label: str = "mean IoU", **options: Any) -> str:
    return comparison_table(models, Headline("m", label, **options))


def test_the_table_holds_what_the_rows_hold() -> None:
    models = [
        row("teacher", {"m": 0.667}, 13_677_192, 41.23),
        row("alone", {"m": 0.6}, 780_000, 9.26),
        row("distilled", {"m": 0.64}, 780_000, 9.31),
    ]
    metric = "mean IoU (higher is better)"
    assert parse(table(models)) == {
        "teacher": {metric: "0.667", GAP: "", "parameters": "13.7 M", "ms an image": "41.2"},
        "alone": {metric: "0.600", GAP: "", "parameters": "0.78 M", "ms an image": "9.3"},
        "distilled": {metric: "0.640", GAP: "60 %", "parameters": "0.78 M", "ms an image": "9.3"},
    }


def test_all_lines_of_the_table_are_equally_long() -> None:
    """It is also read in a terminal."""
    lines = [line for line in table(rows(0.7, 0.5, 0.6)).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1


def test_the_formula_stands_under_a_table_with_a_share() -> None:
    text = table(rows(0.7, 0.5, 0.6))
    assert text.endswith("Share of the gap closed: (row − alone) / (teacher − alone).")


@pytest.mark.parametrize(
    ("teacher", "alone", "distilled", "higher", "expected"),
    [
        (0.75, 0.50, 0.625, True, 0.5),
        (0.75, 0.50, 0.75, True, 1.0),
        (0.75, 0.50, 0.8125, True, 1.25),
        (0.75, 0.50, 0.4375, True, -0.25),
        (2.0, 4.0, 3.5, False, 0.25),
        (2.0, 4.0, 5.0, False, -0.5),
        (-1.0, -3.0, -2.0, True, 0.5),
    ],
)
def test_the_share_agrees_with_numbers_by_hand(
    teacher: float, alone: float, distilled: float, higher: bool, expected: float
) -> None:
    assert share_of_gap_closed(teacher, alone, distilled, higher_is_better=higher) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("teacher", "alone", "distilled", "higher"),
    [
        (0.5, 0.75, 0.6, True),
        (0.75, 0.5, 0.6, False),
        (0.5, 0.5, 0.9, True),
        (0.5 + 1e-8, 0.5, 0.9, True),
        (0.0, 0.0, 0.5, True),
        (math.nan, 0.5, 0.6, True),
        (0.7, math.inf, 0.6, False),
        (0.7, 0.5, math.nan, True),
    ],
)
def test_without_a_better_teacher_there_is_no_share(
    teacher: float, alone: float, distilled: float, higher: bool
) -> None:
    """Dividing by rounding, or by a negative gap, prints a share that looks like a success."""
    assert share_of_gap_closed(teacher, alone, distilled, higher_is_better=higher) is None


@pytest.mark.parametrize("models", [rows(0.5, 0.75, 0.6), rows(0.6001, 0.6, 0.7), rows(0.7, 0.5, math.nan)])
def test_a_share_that_means_nothing_is_na_and_explained(models: list[ComparisonRow]) -> None:
    """0.6001 against 0.6 prints as a tie; 1000 % of it would be read as a triumph."""
    text = table(models)
    assert parse(text)["distilled"][GAP] == "n/a"
    assert text.endswith("n/a: no gap to close, or no score.")


def test_a_lower_is_better_table_says_so_and_computes_the_share() -> None:
    parsed = parse(table(rows(2.0, 4.0, 3.5), label="RMSE", higher_is_better=False))
    assert (parsed["distilled"]["RMSE (lower is better)"], parsed["distilled"][GAP]) == ("3.50", "25 %")


def test_extra_metrics_follow_the_share_without_one_of_their_own() -> None:
    """A share beside each would read as three results where the run has one."""
    models = [
        row("teacher", {"m": 0.1, "rmse": 0.512, "delta": 0.9}, 10),
        row("alone", {"m": 0.3, "rmse": 1.2, "delta": math.nan}, 10),
        row("distilled", {"m": 0.2, "rmse": 0.8, "delta": 0.75}, 10),
    ]
    parsed = parse(table(models, higher_is_better=False, further=[("rmse", "RMSE (m)"), ("delta", "δ1")]))
    assert list(parsed["alone"]) == [
        "mean IoU (lower is better)",
        GAP,
        "RMSE (m)",
        "δ1",
        "parameters",
        "ms an image",
    ]
    assert [cells["RMSE (m)"] for cells in parsed.values()] == ["0.51", "1.20", "0.80"]
    assert [cells["δ1"] for cells in parsed.values()] == ["0.900", "n/a", "0.750"]
    assert parsed["distilled"][GAP] == "50 %"


def test_a_metric_that_is_not_finite_is_na() -> None:
    assert parse(table(rows(0.7, math.nan, 0.6)))["alone"]["mean IoU (higher is better)"] == "n/a"


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ((66.71, 60.04, 64.0), ["66.7", "60.0", "64.0"]),
        ((0.0123, 0.0045, 0.01), ["0.0123", "0.0045", "0.0100"]),
        ((1.0, 0.5, 0.75), ["1.000", "0.500", "0.750"]),
        ((1234.4, 900.0, 1000.0), ["1234", "900", "1000"]),
        ((0.0, 0.0, 0.0), ["0.000", "0.000", "0.000"]),
    ],
)
def test_scores_share_one_number_of_decimals(values: tuple[float, float, float], printed: list[str]) -> None:
    column = "mean IoU (higher is better)"
    assert [cells[column] for cells in parse(table(rows(*values))).values()] == printed


def test_every_distilled_row_gets_its_share() -> None:
    models = [*rows(0.75, 0.5, 0.6), row("pixel only", {"m": 0.55})]
    parsed = parse(table(models))
    assert [parsed[name][GAP] for name in ("distilled", "pixel only")] == ["40 %", "20 %"]


def test_without_the_student_alone_there_is_no_share() -> None:
    """An empty column suggests that a gap was measured."""
    parsed = parse(table(rows(0.7, 0.5, 0.6)[::2]))
    assert list(parsed["distilled"]) == ["mean IoU (higher is better)", "parameters", "ms an image"]


@pytest.mark.parametrize(
    ("count", "printed"),
    [(23_885, "23.9 k"), (780_000, "0.78 M"), (3_714_658, "3.71 M"), (84_600_000, "84.6 M")],
)
def test_parameters_keep_three_digits(count: int, printed: str) -> None:
    assert parse(table([row("s", {"m": 0.5}, count)]))["s"]["parameters"] == printed


@pytest.mark.parametrize(("milliseconds", "printed"), [(0.0123, "0.012"), (9.26, "9.3"), (512.0, "512.0")])
def test_milliseconds_are_readable(milliseconds: float, printed: str) -> None:
    assert parse(table([row("s", {"m": 0.5}, 10, milliseconds)]))["s"]["ms an image"] == printed


def test_a_name_with_a_bar_or_a_line_break_does_not_break_the_table() -> None:
    text = table([row("a|b\nc", {"m": 0.5})])
    assert "| a\\|b c |" in text
    assert len(text.splitlines()) == 3


def test_a_metric_missing_from_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must hold the task's 'm', got \['iou'\] for 'b'"):
        table([row("a", {"m": 0.5}), row("b", {"iou": 0.6})])
    with pytest.raises(ValueError, match=r"must hold the task's 'rmse', got \['m'\] for 'a'"):
        table([row("a", {"m": 0.5})], further=[("rmse", "RMSE")])


class Recorder(nn.Module):
    """Notes what each call looked like from inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.calls: list[tuple[bool, bool, int]] = []

    def forward(self, pixel_values: Tensor) -> Tensor:
        self.calls.append((self.training or self.norm.training, torch.is_grad_enabled(), len(pixel_values)))
        return self.norm(self.layer(pixel_values))


@pytest.fixture
def image() -> Tensor:
    return torch.zeros(1, 3, 4, 4)


def test_timing_runs_in_eval_mode_without_gradients_one_image_at_a_time(image: Tensor) -> None:
    """Training mode would change the model's statistics, gradients would time something else."""
    model = Recorder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert min(milliseconds_per_image([(model, image)], repeats=4)) > 0
    assert len(model.calls) > 4
    assert set(model.calls) == {(False, False, 1)}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_every_module_gets_its_own_mode_back(image: Tensor, training: bool) -> None:
    """`model.train()` would wake a frozen BatchNorm in the middle of a training run."""
    model = Recorder().train(training)
    model.norm.eval()
    milliseconds_per_image([(model, image)], repeats=1)
    assert (model.training, model.layer.training, model.norm.training) == (training, training, False)


def test_the_mode_comes_back_after_an_error() -> None:
    model = Recorder()
    with pytest.raises(RuntimeError, match="channels"):
        milliseconds_per_image([(model, torch.zeros(1, 5, 4, 4))])
    assert model.training


def test_the_time_is_the_median_of_single_passes_in_turns(
    image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass that a busy machine held up must not decide the number, nor which model is the faster."""
    seconds = iter([0.002, 0.005, 0.5, 0.6, 0.003, 0.006])
    timed: list[int] = []

    def timeit(timer: Timer, number: int) -> Any:
        timed.append(number)
        return SimpleNamespace(median=next(seconds))

    monkeypatch.setattr(Timer, "timeit", timeit)
    first, second = Recorder(), Recorder()
    times = milliseconds_per_image([(first, image), (second, image)], repeats=3)
    assert times == pytest.approx([3.0, 6.0])
    assert timed == [1] * 6


def test_timing_uses_the_threads_that_the_table_states(image: Tensor) -> None:
    """The timer's own default is one thread, whatever a model that is used would have."""
    threads: list[int] = []
    model = nn.Identity()
    model.register_forward_hook(lambda *_: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        milliseconds_per_image([(model, image)], repeats=1)
        assert "2 CPU threads" in how_timed(torch.device("cpu"))
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        assert "on 1 CPU thread;" in how_timed(torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {2}
    assert "on CUDA" in how_timed(torch.device("cuda:1"))
