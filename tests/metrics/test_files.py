"""A metric keeps its state in memory, and reaches for neither the disk nor the network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluate
import pytest

from hf_structkd.metrics import DepthErrors, MeanAveragePrecision, MeanIoU

BOX = {"boxes": [[1.0, 2.0, 5.0, 8.0]], "labels": [0]}


@pytest.mark.parametrize(
    ("make", "prediction", "reference", "score", "expected"),
    [
        (lambda: MeanIoU(2), [[0]], [[0]], "mean_iou", 1.0),
        (DepthErrors, [[1.0]], [[1.0]], "rmse", 0.0),
        (lambda: MeanAveragePrecision({0: "cat"}), {**BOX, "scores": [0.5]}, BOX, "map", 1.0),
    ],
    ids=["segmentation", "depth", "detection"],
)
def test_no_file_is_written_and_nothing_is_downloaded(
    make: Callable[[], evaluate.Metric],
    prediction: Any,
    reference: Any,
    score: str,
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read-only or full home, or two runs sharing it, would stop an evaluation."""

    def refuse(*_: object) -> None:
        raise AssertionError("the metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    metric = make()
    metric.add(prediction=prediction, reference=reference)
    assert metric.compute()[score] == expected
    assert metric.data_dir == str(tmp_path / "metrics")  # so the folder watched is the one it would use
    assert list(tmp_path.rglob("*")) == []
