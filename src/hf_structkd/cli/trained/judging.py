"""Score and measure models side by side."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from accelerate.utils import send_to_device
from transformers.utils import logging

from ...data import DataOptions
from ...models.parameters import count_parameters
from ...models.teacher_forms import class_name
from ...report import ComparisonRow, comparison_table
from ...report.comparison import how_timed
from ...report.latency import Latency, side_by_side
from ...report.trade_off import Point, plot_trade_off
from ..costs import operations
from .loading import Trained, short_names
from .memory import peak_in_own_process
from .options import ScoringArguments
from .scoring import Scored, prepare, score

logger = logging.get_logger(__name__)


class Judged(NamedTuple):
    """One model and all that was found out about it."""

    name: str
    trained: Trained
    scored: Scored
    scores: Mapping[str, float]
    flops: int
    latency: Latency
    bytes: int | None


def judge(models: Sequence[Trained], options: DataOptions, settings: ScoringArguments) -> list[Judged]:
    """Score every model, then time all of them side by side, then measure their memory.

    Raises:
        ValueError: If a model cannot be scored on the data.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    prepared = [prepare(one, options, settings) for one in models]
    found = []
    for one, scored in zip(models, prepared, strict=True):
        logger.info("Scoring %s on %s images.", one.name, scored.size)
        found.append(
            score(
                one.model,
                scored,
                device=one.device,
                batch_size=settings.batch_size,
                workers=settings.num_workers,
            )
        )
    inputs = [
        send_to_device(scored.first_image(), one.device) for one, scored in zip(models, prepared, strict=True)
    ]
    _warn_of_a_busy_machine()
    timed = [partial(one.model, **image) for one, image in zip(models, inputs, strict=True)]
    latencies = side_by_side(timed, repeats=settings.repeats)
    names = short_names([one.name for one in models])
    return [
        Judged(
            names[one.name],
            one,
            scored,
            scores,
            operations(one.model, image),
            latency,
            _memory_of(one, scored.size) if settings.memory else None,
        )
        for one, scored, scores, image, latency in zip(
            models, prepared, found, inputs, latencies, strict=True
        )
    ]


def _memory_of(one: Trained, size: tuple[int, int]) -> int | None:
    return peak_in_own_process(one.name, size, one.device, trusts_code=one.trusts_code)


def table(judged: Sequence[Judged]) -> str:
    """Return the Markdown table of the models, with what must be known of its numbers below it."""
    rows = [
        ComparisonRow(
            one.name,
            one.scores,
            count_parameters(one.trained.model),
            one.latency.median,
            {
                "10 % to 90 %": f"{one.latency.low:.3g} to {one.latency.high:.3g}",
                "GFLOPs an image": f"{one.flops / 1e9:.3g}",
                **({} if one.bytes is None else {"peak MiB": f"{one.bytes / 2**20:.0f}"}),
                "images": "{} × {}".format(*one.scored.size),
            },
        )
        for one in judged
    ]
    device = judged[0].trained.device
    notes = [
        f"{how_timed(device)} The models took turns, pass by pass.",
        "GFLOPs: matrix products and convolutions, two a multiply-add.",
    ]
    if any(one.bytes is not None for one in judged):
        what = "memory of the device" if device.type == "cuda" else "what a process of its own takes for"
        notes.append(f"peak MiB: {what} the model, its loading, and one image.")
    for one in judged:
        note = one.scored.task.score_note(has_teacher=True)
        notes += [f"{one.name}, which stands in the teacher's place here: {note}"] if note else []
    return "\n\n".join([comparison_table(rows, judged[0].trained.kind.headline), "\n".join(notes)])


def write(judged: Sequence[Judged], options: DataOptions, folder: Path) -> None:
    """Write `scores.json`, and `trade_off.png` where there are several models."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(
        json.dumps(record(judged, options), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    headline = judged[0].trained.kind.headline
    if len(judged) > 1:
        plot_trade_off(
            [
                Point(
                    one.name,
                    one.scores[headline.metric],
                    (one.latency.median, one.latency.low, one.latency.high),
                    count_parameters(one.trained.model),
                )
                for one in judged
            ],
            folder / "trade_off.png",
            label=headline.label,
            higher_is_better=headline.higher_is_better,
            note=how_timed(judged[0].trained.device),
        )


def record(judged: Sequence[Judged], options: DataOptions) -> dict[str, Any]:
    """Return all that was found as JSON values."""
    first = judged[0]
    return {
        "task": first.trained.kind.short_name,
        "dataset": options.dataset_name or "the embedded scenes",
        "split": first.scored.rows.split,
        "metric": first.trained.kind.headline.metric,
        "higher_is_better": first.trained.kind.headline.higher_is_better,
        "device": first.trained.device.type,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "models": [
            {
                "name": one.name,
                "path": one.trained.name,
                "class": class_name(one.trained.model),
                "image_size": list(one.scored.size),
                "parameters": count_parameters(one.trained.model),
                "flops": one.flops,
                "milliseconds": one.latency._asdict(),
                "peak_bytes": one.bytes,
                "scores": dict(one.scores),
            }
            for one in judged
        ],
    }


def _warn_of_a_busy_machine() -> None:
    if not hasattr(os, "getloadavg"):
        return
    load, free = os.getloadavg()[0], (os.cpu_count() or 1) - torch.get_num_threads()
    if load > free + torch.get_num_threads() + 0.5:
        logger.warning(
            "Other programs keep this machine busy (its load is %.1f, with %d processors): times are too "
            "long, for all models alike; measure again when it is idle.",
            load,
            os.cpu_count(),
        )
