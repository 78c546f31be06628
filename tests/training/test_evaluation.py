"""Every image counts once, and predictions are what a model says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ..cases import SEGMENTATION, freeze_batch_norm
from ..evaluation_worker import SIZES, evaluate_all, uneven_rows


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What each process wrote, by the number of processes; the two are launched once."""
    folder = tmp_path_factory.mktemp("evaluation")
    command = [sys.executable, "-m", "tests.evaluation_worker", str(folder)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    evaluate_all(folder)
    return {
        count: [
            json.loads((folder / f"evaluation-{rank}-of-{count}.json").read_text()) for rank in range(count)
        ]
        for count in (1, 2)
    }


def class_maps(model: nn.Module, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each image's predicted and true map, one forward of one image after the other."""
    maps = []
    for row in uneven_rows(SEGMENTATION, count).rows:
        with torch.no_grad():
            logits = model.eval()(pixel_values=row["pixel_values"][None]).logits
        size = tuple(row["labels"].shape)
        logits = nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        maps.append((logits[0].argmax(0).numpy(), row["labels"].numpy()))
    return maps


def mean_iou(maps: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean over the classes of intersection over union, pooled over the images."""
    predicted, true = (np.concatenate([pair[side].ravel() for pair in maps]) for side in (0, 1))
    pairs = [(predicted == k, true == k) for k in range(5)]
    return float(np.mean([(p & t).sum() / (p | t).sum() for p, t in pairs if (p | t).any()]))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", ["stored", "streamed"])
def test_every_image_counts_once(kind: str, processes: int, found: dict[int, list[dict[str, Any]]]) -> None:
    """Else five images count as eight on two GPUs, or a label map is cut to the batch's number of images."""
    student, teacher = freeze_batch_norm(SEGMENTATION.student(0)), SEGMENTATION.teacher(1)
    for facts in found[processes]:
        for count, batch in SIZES:
            fact, maps = facts[f"{kind} {count} {batch}"], class_maps(student, count)
            for way in ("passed", "in a dict", "predicted"):
                assert fact[way] == pytest.approx(mean_iou(maps), abs=1e-6), (count, batch, way)
            assert fact["teacher"] == pytest.approx(mean_iou(class_maps(teacher, count)), abs=1e-6)
            assert fact["classes"] == fact["batches"] == [int(one.sum()) for one, _ in maps]
            assert fact["labels"] == [int(one.sum()) for _, one in maps]
            # A caller's metric sees every box of every image: 2, 3 and 4 of them in turn.
            assert fact["images"] == count
            assert fact["boxes"] == sum(2 + index % 3 for index in range(count))
