"""Time the matching of queries against a training step of the pair that it runs in.

    python scripts/benchmark_matching.py

trains the scenes' RT-DETR student from its teacher, both from scratch and with 300 queries, on random images
for a few steps, and prints the median seconds of a step and of the matching in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForObjectDetection, PreTrainedModel

from hf_structkd import DetectionTask
from hf_structkd.features.forward import run_model
from hf_structkd.losses import match_queries
from hf_structkd.tasks.detectors import final_queries

CONFIGS = Path(__file__).resolve().parents[1] / "examples" / "configs"


def detector(name: str, queries: int) -> PreTrainedModel:
    """Build a detector from scratch with so many queries."""
    config = AutoConfig.from_pretrained(CONFIGS / name)
    config.num_queries = queries
    return AutoModelForObjectDetection.from_config(config)


def batch_of(images: int, size: list[int]) -> dict[str, Any]:
    """Random images, each with five boxes."""
    labels = [
        {"class_labels": torch.zeros(5, dtype=torch.long), "boxes": 0.2 + 0.4 * torch.rand(5, 4)}
        for _ in range(images)
    ]
    return {"pixel_values": torch.randn(images, 3, *size), "labels": labels}


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Run the steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--image_size", type=int, nargs=2, default=[320, 320])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    student = detector("rtdetr-scenes-student", args.queries).train()
    teacher = detector("rtdetr-scenes-teacher", args.queries).eval().requires_grad_(False)
    task = DetectionTask(student.config, teacher.config)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
    batch = batch_of(args.batch, args.image_size)
    with torch.no_grad():
        theirs = run_model(teacher, task.model_inputs(batch), None)

    def step() -> None:
        with torch.no_grad():
            run_model(teacher, task.model_inputs(batch), None)
        ours = task.student_forward(student, batch, None)
        total = task.task_loss(ours.output, batch) + task.pixel_loss(ours, theirs, batch, temperature=1.0)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    queries = [
        value
        for model, output in ((student, student(batch["pixel_values"])), (teacher, theirs.output))
        for value in final_queries(output, model.config)
    ]
    whole = seconds(step, args.steps)
    matching = seconds(
        lambda: match_queries(*queries, student_head="sigmoid", teacher_head="sigmoid"), args.steps
    )
    print(f"{args.batch} images of {args.image_size[0]} × {args.image_size[1]}, {args.queries} queries each:")
    print(f"step {whole:.3f} s, matching {matching:.3f} s, {100 * matching / whole:.1f} % of it")


if __name__ == "__main__":
    main()
