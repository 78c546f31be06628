"""The table that compares teacher, student alone and distilled student, and the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..metrics import AGREEMENT
from .latency import side_by_side

_UNKNOWN = "n/a"
_TEACHER, _ALONE = "teacher", "alone"
# A gap below this share of the metric is due to rounding; it does not show a better teacher.
_SMALLEST_GAP = 1e-6
_SIGNIFICANT_DIGITS = 3
SHARE = "share of the gap closed"
"""Header of the column that says how much of the gap between teacher and student alone is closed."""


class Headline(NamedTuple):
    """The metric by which a model is judged, and further metrics for the table.

    Attributes:
        metric: Key of the metric in the scores.
        label: Name of the metric for people.
        higher_is_better: False if the metric is an error.
        further: Key and label of each further metric, which gets no share of the gap.
    """

    metric: str
    label: str
    higher_is_better: bool = True
    further: Sequence[tuple[str, str]] = ()

    def of_agreement(self) -> Headline:
        """Return the same of a student that is compared with its teacher's answers in place of labels."""
        label = f"agreement with the teacher, {self.label}"
        return self._replace(metric=f"{AGREEMENT}{self.metric}", label=label, further=())


class ComparisonRow(NamedTuple):
    """One model of the table.

    Attributes:
        name: Name in the table, different from those of the other rows. `comparison_table` knows the teacher
            by the name "teacher" and the student that was trained without a teacher by the name "alone".
        metrics: Name -> value, as the Trainer's `evaluate()` returns them, without a prefix.
        parameters: Number of parameters, see `models.parameters.count_parameters`.
        milliseconds: Milliseconds for one image, see `milliseconds_per_image`.
        further: Text of further columns, by their titles; all rows have the same.
    """

    name: str
    metrics: Mapping[str, float]
    parameters: int
    milliseconds: float
    further: Mapping[str, str] = {}


def comparison_table(rows: Sequence[ComparisonRow], headline: Headline) -> str:
    """Return a Markdown table with a line for each model, aligned so that it also reads as plain text.

    The columns are the metric, the share of the gap closed (for every row except the teacher and the student
    alone, and only if both are there), the further metrics, the parameters, the milliseconds for an image,
    and what the rows add. The share is "n/a" if the teacher is not better than the student alone, or if the
    table prints the same score for both.

    Args:
        rows: The models, in the order of the lines.
        headline: The metrics of the table.

    Returns:
        The table, and under it the formula of the share if it has one. There is no newline at the end.

    Raises:
        ValueError: If a row lacks a metric.

    Example:
        >>> rows = [
        ...     ComparisonRow("teacher", {"mean_iou": 0.667}, 13_677_192, 41.23),
        ...     ComparisonRow("alone", {"mean_iou": 0.6}, 780_000, 9.26),
        ...     ComparisonRow("distilled", {"mean_iou": 0.64}, 780_000, 9.31),
        ... ]
        >>> print(comparison_table(rows, Headline("mean_iou", "mean IoU")).splitlines()[4][:66])
        | distilled |                       0.640 |                    60 % |
    """
    columns, note = comparison_columns(rows, headline)
    table = _markdown(columns)
    return f"{table}\n\n{note}" if note else table


def comparison_columns(rows: Sequence[ComparisonRow], headline: Headline) -> tuple[list[list[str]], str]:
    """Return the columns of `comparison_table`, each from its header down, and the note under them."""
    scores = _column(rows, headline.metric)
    direction = "higher" if headline.higher_is_better else "lower"
    columns = [
        ["model", *scores],
        [f"{headline.label} ({direction} is better)", *_same_precision(scores)],
    ]
    has_share = {_TEACHER, _ALONE} < scores.keys()
    shares = _shares(scores, higher_is_better=headline.higher_is_better) if has_share else []
    if has_share:
        columns.append([SHARE, *shares])
    columns += [[label, *_same_precision(_column(rows, key))] for key, label in headline.further]
    columns.append(["parameters", *(_parameters(row.parameters) for row in rows)])
    columns.append(["ms an image", *(_milliseconds(row.milliseconds) for row in rows)])
    columns += [[title, *(row.further[title] for row in rows)] for title in rows[0].further]
    note = f"Share of the gap closed: (row − {_ALONE}) / ({_TEACHER} − {_ALONE})." if has_share else ""
    return columns, f"{note} {_UNKNOWN}: no gap to close, or no score." if _UNKNOWN in shares else note


def share_of_gap_closed(
    teacher: float, alone: float, distilled: float, *, higher_is_better: bool = True
) -> float | None:
    """Return (distilled − alone) / (teacher − alone), the share of the gap that distillation closed.

    The share is negative if distillation made the student worse, and above 1 if the student is better than
    its teacher. It is None if a number is not finite, or if the teacher is not better than the student alone
    by more than a millionth of the larger score.

    Example:
        >>> share_of_gap_closed(0.75, 0.5, 0.625)
        0.5
        >>> share_of_gap_closed(0.5, 0.75, 0.625) is None
        True
    """
    if not all(map(math.isfinite, (teacher, alone, distilled))):
        return None
    gap = teacher - alone
    advantage = gap if higher_is_better else -gap
    if advantage <= _SMALLEST_GAP * max(abs(teacher), abs(alone)):
        return None
    return (distilled - alone) / gap


def milliseconds_per_image(models: Sequence[tuple[nn.Module, Tensor]], *, repeats: int = 10) -> list[float]:
    """Return for each model the median time of one forward pass of one image, in milliseconds.

    The models take turns, so that what disturbs the machine disturbs all of them, see `latency.side_by_side`.
    They run in evaluation mode, without gradients, on their own devices. Every module gets its former mode
    back, also after an error.

    Args:
        models: Each model and what it is called with, (1, 3, H, W) on its device.
        repeats: Number of passes of each that are measured, at least 1.

    Returns:
        The medians. They depend on the machine, its load and the number of threads.
    """
    modes = {module: module.training for model, _ in models for module in model.modules()}
    for model, _ in models:
        model.eval()
    try:
        times = side_by_side([partial(model, image) for model, image in models], repeats=repeats)
    finally:
        for module, training in modes.items():
            module.training = training
    return [time.median for time in times]


def how_timed(device: torch.device) -> str:
    """Return the sentence under a table that says how its milliseconds were measured."""
    threads = torch.get_num_threads()
    on_cpu = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    place = on_cpu if device.type == "cpu" else device.type.upper()
    return f"ms an image: median of single passes of one image on {place}; the models take turns."


def _column(rows: Sequence[ComparisonRow], metric: str) -> dict[str, float]:
    """Return the value of the metric by the name of the row."""
    for row in rows:
        if metric not in row.metrics:
            raise ValueError(
                f"the metrics of every model must hold the task's {metric!r}, got {sorted(row.metrics)} for "
                f"{row.name!r}; pass all that `evaluate()` returned."
            )
    return {row.name: float(row.metrics[metric]) for row in rows}


def _shares(scores: Mapping[str, float], *, higher_is_better: bool) -> list[str]:
    """Return the printed share of each row; it is empty for the teacher and the student alone."""
    printed = dict(zip(scores, _same_precision(scores), strict=True))
    shares = []
    for name, score in scores.items():
        share = None
        if printed[_TEACHER] != printed[_ALONE]:
            ends = scores[_TEACHER], scores[_ALONE]
            share = share_of_gap_closed(*ends, score, higher_is_better=higher_is_better)
        text = _UNKNOWN if share is None else f"{100 * share:.0f} %"
        shares.append("" if name in (_TEACHER, _ALONE) else text)
    return shares


def _same_precision(scores: Mapping[str, float]) -> list[str]:
    """Print all scores with the number of decimals that gives the largest score three significant digits."""
    largest = max((abs(score) for score in scores.values() if math.isfinite(score)), default=0.0)
    magnitude = math.ceil(math.log10(largest)) if largest > 0 else 0
    decimals = max(0, _SIGNIFICANT_DIGITS - magnitude)
    return [f"{score:.{decimals}f}" if math.isfinite(score) else _UNKNOWN for score in scores.values()]


def _parameters(count: int) -> str:
    if count < 100_000:
        return f"{count / 1e3:.1f} k"
    return f"{count / 1e6:.{2 if count < 1e7 else 1}f} M"


def _milliseconds(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds >= 1 else f"{milliseconds:.2g}"


def _markdown(columns: Sequence[Sequence[str]]) -> str:
    """Return the table, with names aligned to the left and numbers to the right."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in column] for column in columns]
    widths = [max(map(len, column)) for column in cells]
    lines = [
        [
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in zip(*cells, strict=True)
    ]
    rule = ["-" * width if j == 0 else "-" * (width - 1) + ":" for j, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
