"""Evaluate and predict stored and streamed images in every way, in two processes.

A test runs `python -m tests.evaluation_worker FOLDER`, and calls `evaluate_all` for one process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset

from .cases import ALONE, DETECTION, SEGMENTATION, Rows, TaskCase, arguments, freeze_batch_norm, make_trainer
from .two_processes import run_in_two

# Images and images of one process's batch: with two processes a remainder of 0, 1, more than one batch of
# one process, and less than one image for each process.
SIZES = ((5, 4), (4, 2), (1, 2), (7, 3), (9, 4))


class Stream(IterableDataset[Any]):
    """The rows of a list, as a stream without a length."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows.rows)


def uneven_rows(case: TaskCase, count: int) -> Rows:
    """Rows whose label maps differ in size, and whose images have 2, 3 and 4 boxes."""
    rows = []
    for index, row in enumerate(case.rows(count).rows):
        labels = row["labels"]
        if isinstance(labels, dict):
            boxes = torch.cat([labels["boxes"], labels["boxes"][:1].repeat(index % 3, 1)])
            classes = torch.cat([labels["class_labels"], labels["class_labels"][:1].repeat(index % 3)])
            labels = {**labels, "boxes": boxes, "class_labels": classes}
        else:
            labels = labels.repeat_interleave(2, dim=1)[: 40 + index, : 64 + 3 * index]
        rows.append({**row, "labels": labels})
    return Rows(rows)


def counted(prediction: Any) -> dict[str, float]:
    """A metric of a caller's, called once: how many images and labels there are."""
    labels = [one for batch in prediction.label_ids for one in batch]
    return {"images": len(labels), "boxes": sum(len(one["boxes"]) for one in labels)}


def evaluate_all(folder: Path) -> None:
    """Write, for every number of images and kind of data, the scores and what was predicted."""
    facts: dict[str, Any] = {}
    pair = {"student": freeze_batch_norm(SEGMENTATION.student(0)), "teacher": SEGMENTATION.teacher(1)}
    detectors = {"student": freeze_batch_norm(DETECTION.student(0)), "teacher": DETECTION.teacher(1)}
    for kind, wrap in (("stored", lambda rows: rows), ("streamed", Stream)):
        for count, batch in SIZES:
            options = {"per_device_eval_batch_size": batch, "dataloader_drop_last": True}
            args = arguments(folder, **options, dataloader_num_workers=int(count == 7))
            data = wrap(uneven_rows(SEGMENTATION, count))
            # The constructor sees stored rows alone.
            trainer = make_trainer(SEGMENTATION, args, eval_dataset={"a": data}, **pair)
            found = trainer.predict(data)
            one = {
                "passed": trainer.evaluate(data)["eval_mean_iou"],
                "in a dict": trainer.evaluate()["eval_a_mean_iou"],
                "predicted": found.metrics["test_mean_iou"],
                "teacher": trainer.evaluate_teacher()["a_mean_iou"],
                "classes": [int(map_.sum()) for map_ in found.predictions],
                "labels": [int(map_.sum()) for map_ in found.label_ids],
                "batches": [int(m.sum()) for part in trainer.predict_batches(data) for m in part.predictions],
            }
            args = arguments(folder, **ALONE, per_device_eval_batch_size=batch, eval_do_concat_batches=False)
            boxes = wrap(uneven_rows(DETECTION, count))
            alone = make_trainer(DETECTION, args, compute_metrics=counted, **detectors)
            one |= {name: alone.evaluate(boxes)[f"eval_{name}"] for name in ("images", "boxes")}
            facts[f"{kind} {count} {batch}"] = one
    name = f"evaluation-{args.process_index}-of-{args.world_size}.json"
    (folder / name).write_text(json.dumps(facts))


if __name__ == "__main__":
    run_in_two(partial(evaluate_all, Path(sys.argv[1])))
