"""The table that compares teacher, student alone and distilled student, and the numbers in it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer

_UNKNOWN = "n/a"
_TEACHER, _ALONE = "teacher", "alone"
# A gap below this share of the metric is due to rounding; it does not show a better teacher.
_SMALLEST_GAP = 1e-6
_SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True)
class ComparisonRow:
    """One model of the table.

    Attributes:
        name: Name in the table. `comparison_table` knows the teacher by the name "teacher" and the student
            that was trained without a teacher by the name "alone".
        metrics: Name -> value, as the Trainer's `evaluate()` returns them, without a prefix.
        parameters: Number of parameters, see `models.parameters.count_parameters`; None if unknown.
        milliseconds: Milliseconds for one image, see `milliseconds_per_image`; None if unknown.
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
) -> str:
    """Return a Markdown table with a line for each model, aligned so that it also reads as plain text.

    The columns are the metric, the share of the gap closed (for every row except the teacher and the student
    alone), the extra metrics, the parameters, and the milliseconds for an image. A column that no row can
    fill is left out. The share is "n/a" if the teacher is not better than the student alone, or if the table
    prints the same score for both.

    Args:
        rows: The models, in the order of the lines.
        metric: Key of the metric in each row's `metrics`.
        metric_label: Name of the metric for people.
        higher_is_better: False if the metric is an error.
        extra: Key and name of each further metric, which gets no share.

    Returns:
        The table, and under it the formula of the share if it has one. There is no newline at the end.

    Raises:
        ValueError: If there are no rows, two rows have the same name, or a row lacks a metric.

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
    columns = [["model", *scores], [f"{metric_label} ({direction} is better)", *_same_precision(scores)]]
    has_share = {_TEACHER, _ALONE} < scores.keys()
    shares = _shares(scores, higher_is_better=higher_is_better) if has_share else []
    if has_share:
        columns.append(["share of the gap closed", *shares])
    for key, label in extra:
        columns.append([label, *_same_precision({row.name: float(row.metrics[key]) for row in rows})])
    if any(row.parameters is not None for row in rows):
        columns.append(["parameters", *(_parameters(row.parameters) for row in rows)])
    if any(row.milliseconds is not None for row in rows):
        columns.append(["ms an image", *(_milliseconds(row.milliseconds) for row in rows)])
    table = _markdown(columns)
    if has_share:
        table += f"\n\nShare of the gap closed: (row − {_ALONE}) / ({_TEACHER} − {_ALONE})."
        if _UNKNOWN in shares:
            table += f" {_UNKNOWN}: no gap to close, or no score."
    return table


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


def milliseconds_per_image(model: nn.Module, pixel_values: Tensor, *, repeats: int = 10) -> float:
    """Return the median time of one forward pass of one image, in milliseconds.

    PyTorch's benchmark timer runs two passes that it does not count before each pass that it measures. It
    uses as many threads as PyTorch does and waits for an accelerator. The model runs in evaluation mode,
    without gradients, on its own device. Every module gets its former mode back, also after an error.

    Args:
        model: The model, which is called as `model(pixel_values)`.
        pixel_values: (1, 3, H, W), on the model's device.
        repeats: Number of passes that are measured, at least 1.

    Returns:
        The median of the `repeats` times. It depends on the machine, its load and the number of threads.

    Raises:
        ValueError: If `pixel_values` is not one image or `repeats` is below 1.
    """
    if pixel_values.ndim != 4 or pixel_values.shape[0] != 1:
        raise ValueError(
            f"`pixel_values` must be one image (1, 3, H, W), got shape {tuple(pixel_values.shape)}; "
            "pass `pixel_values[:1]`."
        )
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}; raise it.")
    timer = Timer(
        "model(pixel_values)",
        globals={"model": model, "pixel_values": pixel_values},
        num_threads=torch.get_num_threads(),
    )
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return 1000 * statistics.median(timer.timeit(1).median for _ in range(repeats))
    finally:
        for module, training in modes.items():
            module.training = training


def how_timed(device: torch.device) -> str:
    """Return the sentence under a table that says how its milliseconds were measured."""
    threads = torch.get_num_threads()
    on_cpu = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    place = on_cpu if device.type == "cpu" else device.type.upper()
    return f"ms an image: median of single passes of one image on {place}."


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


def _shares(scores: Mapping[str, float], *, higher_is_better: bool) -> list[str]:
    """Return the printed share of each row; it is empty for the teacher and the student alone."""
    printed = dict(zip(scores, _same_precision(scores), strict=True))
    shares = []
    for name, score in scores.items():
        if name in (_TEACHER, _ALONE):
            shares.append("")
        elif printed[_TEACHER] == printed[_ALONE]:
            shares.append(_UNKNOWN)
        else:
            share = share_of_gap_closed(
                scores[_TEACHER], scores[_ALONE], score, higher_is_better=higher_is_better
            )
            shares.append(_percent(share))
    return shares


def _same_precision(scores: Mapping[str, float]) -> list[str]:
    """Print all scores with the number of decimals that gives the largest score three significant digits."""
    largest = max((abs(score) for score in scores.values() if math.isfinite(score)), default=0.0)
    magnitude = math.ceil(math.log10(largest)) if largest > 0 else 0
    decimals = max(0, _SIGNIFICANT_DIGITS - magnitude)
    return [f"{score:.{decimals}f}" if math.isfinite(score) else _UNKNOWN for score in scores.values()]


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
