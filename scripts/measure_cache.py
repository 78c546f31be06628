"""Measure what storing the teacher's answers changes: the loss curve, the pixel-wise KL, the space.

    python scripts/measure_cache.py --top_k 2 4

trains the demonstration's student on the embedded scenes for some steps without a cache, then with one of
each form, all from the same weights and on the same crops, and prints a table.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hf_structkd.cli.distil import Experiment
from hf_structkd.cli.script_args import parse_run
from hf_structkd.losses import pixel_distillation_loss
from hf_structkd.tasks import SegmentationTask
from hf_structkd.training.trainer import StructKDTrainer

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SETTINGS: dict[str, Any] = {
    "student_model_name_or_path": EXAMPLES / "configs" / "segformer-scenes-student",
    "teacher_dtype": "float32",
    "image_size": [96, 128],
    "scale": [1.0, 1.5],
    "max_train_samples": 64,
    "max_eval_samples": 8,
    "augmentation_views": 2,
    "per_device_train_batch_size": 8,
    "learning_rate": 3e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


class Run(NamedTuple):
    """One training: its losses step by step, and what its cache held."""

    losses: torch.Tensor
    bytes_an_answer: float
    divergence: float
    term_error: float


def measure(arguments: Any, **changes: Any) -> Run:
    """Train once; then compare what the cache answers with what the teacher answers."""
    for name, value in changes.items():
        setattr(arguments.training, name, value)
    trainer = Experiment.load(arguments).trainer(arguments.training, with_teacher=True)
    trainer.train()
    losses = torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    if not changes:
        return Run(losses, float("nan"), 0.0, 0.0)
    store = next(iter(Path(arguments.training.teacher_cache).glob("*/")))
    size = sum(file.stat().st_size for file in store.glob("*.safetensors"))
    answers = next(iter(trainer.teacher._stores.values()))  # type: ignore[union-attr]
    return Run(losses, size / len(answers), *_errors(trainer))


@torch.no_grad()
def _errors(trainer: StructKDTrainer) -> tuple[float, float]:
    """Return the mean KL(teacher || stored), and how far the pixel-wise term is from the exact one."""
    pair, batch = trainer.pair, next(iter(trainer.get_train_dataloader()))
    terms = [term for term, _ in trainer.distillation.active()]
    pair.capture_features(trainer.model.eval(), batch["pixel_values"])
    student = pair.task.student_forward(trainer.model, batch, pair.student_capture)
    assert pair.teacher is not None
    exact = pair.task.logit_maps(student, pair.teacher(batch), batch)
    stored = pair.task.logit_maps(student, pair.answer(batch, student, terms), batch)
    divergence = pixel_distillation_loss(stored.teacher, exact.teacher, mask=exact.mask)
    wanted, found = (
        pixel_distillation_loss(exact.student, one.teacher, mask=exact.mask) for one in (exact, stored)
    )
    return float(divergence), float((found - wanted).abs() / wanted)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--teacher", default=EXAMPLES / "teachers" / "scenes-segmentation")
    parser.add_argument("--steps", type=int, default=48, help="Optimiser steps of each run.")
    parser.add_argument("--top_k", type=int, nargs="*", default=[2, 4])
    options = parser.parse_args(argv)
    logging.getLogger("hf_structkd").setLevel(logging.ERROR)
    forms: dict[str, dict[str, Any]] = {
        "float32": {"teacher_cache_dtype": "float32"},
        "float16": {},
        **{f"float16, {k} classes": {"teacher_cache_top_k": k} for k in options.top_k},
    }
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            **SETTINGS,
            "max_steps": options.steps,
            "output_dir": f"{folder}/run",
            "teacher_model_name_or_path": options.teacher,
        }
        plain = measure(parse_run(SegmentationTask, [], scenes=settings))
        runs = {
            name: measure(
                parse_run(SegmentationTask, [], scenes=settings), teacher_cache=f"{folder}/{name}", **form
            )
            for name, form in forms.items()
        }
    columns = ("stored", "bytes an answer", "KL(teacher, stored)", "error of the pixel-wise term")
    columns += ("loss curve: largest difference", "mean difference")
    print(f"| {' | '.join(columns)} |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, run in runs.items():
        apart = (run.losses - plain.losses).abs() / plain.losses
        print(
            f"| {name} | {run.bytes_an_answer:,.0f} | {run.divergence:.2g} | {run.term_error:.2%} "
            f"| {apart.max():.2%} | {apart.mean():.2%} |"
        )


if __name__ == "__main__":
    main()
