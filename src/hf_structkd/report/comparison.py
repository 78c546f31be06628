"""Teacher, student alone and distilled student in one table, and the numbers that go into it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_UNKNOWN = "n/a"
# Gaps below this share of the metric are rounding, not a better teacher.
_SMALLEST_GAP = 1e-6
_SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True)
class ComparisonRow:
    """One model of the table.

    Attributes:
        name: what the table calls it; `comparison_table` finds the teacher and the student alone by it.
        metrics: name -> value, as the Trainer's `evaluate()` returns them.
        parameters: see `models.parameters.count_parameters`; `None` if unknown.
        milliseconds: for one image, see `milliseconds_per_image`; `None` if unknown.
    """

    name: str
    metrics: Mapping[str, float]
    parameters: int | None = None
    milliseconds: float | None = None


def comparison_table(
    rows: Sequence[ComparisonRow],
    *,
    metric: str,
    metric_label: str,
    higher_is_better: bool = True,
    extra: Sequence[tuple[str, str]] = (),
    teacher: str = "teacher",
    alone: str = "alone",
) -> str:
    """A Markdown table, aligned so that it also reads as plain text, one line for each model.

    The columns: the metric; the share of its gap closed, for every row but the teacher's and the student
    alone's; the extra metrics; the parameters; the milliseconds an image. A column that no row can fill is
    left out. The share is "n/a" where the teacher is not better than the student alone, or better by less
    than the table prints.

    Args:
        rows: the models, in the order of the lines.
        metric: key in each row's `metrics`.
        metric_label: the metric's name for people.
        higher_is_better: False for an error.
        extra: key and name of each further metric, printed without a share.
        teacher: name of the teacher's row.
        alone: name of the row of the student trained without a teacher.

    Returns:
        The table, and under it the formula of the share where the table has one. No newline at the end.

    Raises:
        ValueError: if there are no rows, two share a name, or one lacks a metric.

    Example:
        >>> rows = [
        ...     ComparisonRow("teacher", {"mean_iou": 0.667}),
        ...     ComparisonRow("alone", {"mean_iou": 0.6}),
        ...     ComparisonRow("distilled", {"mean_iou": 0.64}),
        ... ]
        >>> print(comparison_table(rows, metric="mean_iou", metric_label="mean IoU").splitlines()[4])
        | distilled |                       0.640 |                    60 % |
    """
    _check_rows(rows, [metric, *(key for key, _ in extra)])
    scores = {row.name: float(row.metrics[metric]) for row in rows}
    direction = "higher" if higher_is_better else "lower"
    columns = [
        ["model", *scores],
        [f"{metric_label} ({direction} is better)", *_same_precision(scores).values()],
    ]
    has_share = teacher in scores and alone in scores and len(rows) > 2
    shares = _shares(scores, teacher, alone, higher_is_better=higher_is_better) if has_share else {}
    if has_share:
        columns.append(["share of the gap closed", *shares.values()])
    for key, label in extra:
        printed = _same_precision({row.name: float(row.metrics[key]) for row in rows})
        columns.append([label, *printed.values()])
    if any(row.parameters is not None for row in rows):
        columns.append(["parameters", *(_parameters(row.parameters) for row in rows)])
    if any(row.milliseconds is not None for row in rows):
        columns.append(["ms an image", *(_milliseconds(row.milliseconds) for row in rows)])
    table = _markdown(columns)
    if has_share:
        table += f"\n\nShare of the gap closed: (row − {alone}) / ({teacher} − {alone})."
        if _UNKNOWN in shares.values():
            table += f" {_UNKNOWN}: no gap to close, or no score."
    return table


def share_of_gap_closed(
    teacher: float, alone: float, distilled: float, *, higher_is_better: bool = True
) -> float | None:
    """How far distillation took the student from its score alone (0) to the teacher's (1).

    The share is (distilled − alone) / (teacher − alone): negative if distillation hurt, above 1 if the
    student beat its teacher.

    Args:
        teacher: the teacher's metric.
        alone: the metric of the same student, trained without a teacher.
        distilled: the distilled student's metric.
        higher_is_better: False for an error.

    Returns:
        The share, or `None` where it means nothing: a number is not finite, or the teacher is not better than
        the student alone by more than a millionth of the larger of the two.

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


def milliseconds_per_image(
    model: nn.Module, pixel_values: Tensor, *, repeats: int = 20, warmup: int = 3
) -> float:
    """Median time of one forward pass of one image, in milliseconds.

    The model runs in evaluation mode without gradients, on the device it is on, and every module gets its own
    mode back, also after an error. On CUDA each pass is waited for.

    Args:
        model: called as `model(pixel_values)`.
        pixel_values: (1, 3, H, W), on the model's device.
        repeats: passes timed, at least 1.
        warmup: passes before these, not timed.

    Returns:
        The median of the `repeats` times. It depends on the machine, the number of threads and its load.

    Raises:
        ValueError: if `pixel_values` is not one image, `repeats` is below 1 or `warmup` is negative.
    """
    if pixel_values.ndim != 4 or pixel_values.shape[0] != 1:
        raise ValueError(
            f"`pixel_values` must be one image (1, 3, H, W), got shape {tuple(pixel_values.shape)}; "
            "pass `pixel_values[:1]`."
        )
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}; raise it.")
    if warmup < 0:
        raise ValueError(f"`warmup` must not be negative, got {warmup}; pass 0 for none.")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            times = [_timed_pass(model, pixel_values) for _ in range(warmup + repeats)][warmup:]
    finally:
        for module, training in modes.items():
            module.training = training
    return 1000 * statistics.median(times)


def _timed_pass(model: nn.Module, pixel_values: Tensor) -> float:
    _wait_for(pixel_values.device)
    start = time.perf_counter()
    model(pixel_values)
    _wait_for(pixel_values.device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check_rows(rows: Sequence[ComparisonRow], metrics: Sequence[str]) -> None:
    if not rows:
        raise ValueError("`rows` must hold at least one model, got none; pass a list of ComparisonRow.")
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        raise ValueError(f"`rows` must have different names, got {names}; rename the repeated one.")
    for row in rows:
        for name in metrics:
            if name not in row.metrics:
                raise ValueError(
                    f"`metric` and `extra` must be in the metrics of every row, got {name!r} where "
                    f"{row.name!r} has {sorted(row.metrics)}; name one that all rows have."
                )


def _shares(
    scores: Mapping[str, float], teacher: str, alone: str, *, higher_is_better: bool
) -> dict[str, str]:
    """The share of the gap that each row closed, empty for the two that span it."""
    printed = _same_precision(scores)
    shares = dict.fromkeys(scores, "")
    for name in scores.keys() - {teacher, alone}:
        if printed[teacher] == printed[alone]:
            shares[name] = _UNKNOWN
        else:
            shares[name] = _percent(
                share_of_gap_closed(
                    scores[teacher], scores[alone], scores[name], higher_is_better=higher_is_better
                )
            )
    return shares


def _same_precision(scores: Mapping[str, float]) -> dict[str, str]:
    """Print all scores with as many decimals as give the largest one three significant digits."""
    largest = max((abs(score) for score in scores.values() if math.isfinite(score)), default=0.0)
    magnitude = math.ceil(math.log10(largest)) if largest > 0 else 0
    decimals = max(0, _SIGNIFICANT_DIGITS - magnitude)
    return {
        name: f"{score:.{decimals}f}" if math.isfinite(score) else _UNKNOWN for name, score in scores.items()
    }


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.0f} %"


def _parameters(count: int | None) -> str:
    if count is None:
        return _UNKNOWN
    if count < 100_000:
        return f"{count / 1e3:.1f} k"
    millions = count / 1e6
    return f"{millions:.2f} M" if millions < 10 else f"{millions:.1f} M"


def _milliseconds(milliseconds: float | None) -> str:
    if milliseconds is None or not math.isfinite(milliseconds):
        return _UNKNOWN
    return f"{milliseconds:.1f}" if milliseconds >= 1 else f"{milliseconds:.2g}"


def _markdown(columns: Sequence[Sequence[str]]) -> str:
    """Pad the cells of each column to one width: names to the left, numbers to the right."""
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
