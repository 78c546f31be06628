"""Shard student and teacher over two processes, and write what came of it.

python -m tests.sharding_worker FOLDER WORK [TASK], where WORK names a function below
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer
from hf_structkd.models import load_teacher
from hf_structkd.models.sharding import local, shard_model, whole
from hf_structkd.report import write_report
from hf_structkd.tasks import SegmentationTask

from .cases import (
    CASES,
    NUM_LABELS,
    SEGMENTATION,
    StopAt,
    TaskCase,
    arguments,
    make_trainer,
    narrow_critics,
    state_of,
)
from .distributed_worker import ACCUMULATIONS, train
from .tiny_detectors import TEACHER_ARCHITECTURES, tiny_detector
from .tiny_models import (
    DEPTH_MODELS,
    SEGMENTATION_ARCHITECTURES,
    smallest_image,
    tiny_depth_model,
    tiny_segmentation_model,
)
from .tiny_universal import UNIVERSAL, tiny_universal_model
from .two_processes import run_in_two

BOTH = ["student", "teacher"]

# With its usual epsilon AdamW makes a step of the rounding of a gradient that is 0.
STEADY = {"adam_epsilon": 1e-3, "critic_optimizer": "sgd", "mimic_weight": 1.0}

REFUSED: dict[str, dict[str, Any]] = {
    "torch_compile": {"torch_compile": True},
    "auto_find_batch_size": {"auto_find_batch_size": True},
    "optim": {"optim": "adafactor"},
    "accelerator_config": {"accelerator_config": {"even_batches": False}},
}


def write(folder: Path, name: str, facts: Any) -> None:
    """Write what this process found."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = torch.distributed.get_rank()
    (folder / f"{name}-{rank}.json").write_text(json.dumps(facts))


def share(model: nn.Module) -> float:
    """Return which share of a model's weights this process holds."""
    return sum(local(p).numel() for p in model.parameters()) / sum(p.numel() for p in model.parameters())


def message(call: Callable[[], Any]) -> str:
    """Return the sentence by which something is refused, or an empty text."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def train_sharded(case: TaskCase, folder: Path, accumulation: int) -> StructKDTrainer:
    """Train as two plain processes do; save the student, and write what each process holds."""
    trainer = train(case, folder, accumulation, processes=2, shard=BOTH)
    assert trainer.teacher is not None
    trainer.save_model(str(folder / "student"))
    write(folder, "shares", [share(trainer.model), share(trainer.teacher.model)])
    return trainer


def quick(folder: Path) -> None:
    """Train one task, and try what is refused."""
    trainer = train_sharded(SEGMENTATION, folder / SEGMENTATION.name, 1)
    refused = {
        name: message(partial(arguments, folder, shard=BOTH, **settings))
        for name, settings in REFUSED.items()
    }
    refused["trainer"] = message(partial(write_report, trainer, {}))
    refused["model"] = message(partial(make_trainer, SEGMENTATION, arguments(folder), student=trainer.model))
    args = arguments(folder, shard=BOTH)
    student = SEGMENTATION.student(0)
    optimizers = (torch.optim.SGD(student.parameters(), lr=0.1), None)
    refused["optimizers"] = message(
        partial(make_trainer, SEGMENTATION, args, student=student, optimizers=optimizers)
    )
    write(folder, "refused", refused)


def task(folder: Path, case: TaskCase) -> None:
    """Train a task, with and without accumulation."""
    for accumulation in ACCUMULATIONS:
        train_sharded(case, folder / str(accumulation), accumulation)


def saving(folder: Path, **overrides: Any) -> Any:
    """Arguments of a run of five steps with checkpoints, in an optimiser that has states."""
    settings = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, **STEADY, **overrides}
    return arguments(folder, per_device_train_batch_size=2, shard=BOTH, **settings)


def checkpoints(folder: Path, case: TaskCase) -> None:
    """Train through, and stop and go on; also keep the best of five students."""
    rank = torch.distributed.get_rank()
    through = make_trainer(case, saving(folder / "through", save_strategy="no"))
    through.train()
    make_trainer(case, saving(folder / "cut", save_steps=3), callbacks=[StopAt(3)]).train()
    resumed = make_trainer(case, saving(folder / "cut", save_steps=5))
    resumed.train(resume_from_checkpoint=True)
    again = make_trainer(case, saving(folder / "cut", save_steps=5))
    again.train(resume_from_checkpoint=str(folder / "cut" / "checkpoint-3"))
    again.train(resume_from_checkpoint=str(folder / "cut" / "checkpoint-3"))  # into the shards
    best = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    kept = make_trainer(case, saving(folder / "best", **best))
    kept.train()
    states = {"whole": through, "resumed": resumed, "again": again, "best": kept}
    torch.save({name: state_of(run) for name, run in states.items()}, folder / f"states-{rank}.pt")
    write(folder, "best", kept.state.best_model_checkpoint)


PRECISIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "student in bfloat16": {"bf16": True},
    "teacher in bfloat16": {"teacher_dtype": "bfloat16"},
    "checkpointed": {"activation_checkpointing": True},
    "all": {"bf16": True, "teacher_dtype": "bfloat16", "activation_checkpointing": True},
}


def precisions(folder: Path, case: TaskCase) -> None:
    """Train each combination sharded and under DDP, with running statistics that move."""
    for name, settings in PRECISIONS.items():
        if not case.student(0).supports_gradient_checkpointing:
            settings = {key: value for key, value in settings.items() if not key.startswith("activation")}
        logs, states = [], []
        for shard in ([], BOTH):
            args = arguments(folder / "runs", per_device_train_batch_size=2, shard=shard, **settings)
            trainer = make_trainer(case, args, student=case.student(0))
            trainer.train()
            logs.append(trainer.state.log_history[:2])
            states.append(state_of(trainer))
        plain, sharded = states
        apart = [
            float((value - sharded[key]).abs().max()) for key, value in plain.items() if "running" in key
        ]
        write(folder, name, {"logs": logs, "running": max(apart, default=0.0)})


def cached(folder: Path) -> None:
    """Train without a cache, into one, and from one that only the first process has."""
    rank = torch.distributed.get_rank()
    for name in ("plain", "first", "later"):
        place = folder / f"cache-{rank * (name == 'later')}"
        cache = {"teacher_cache": str(place), "teacher_cache_dtype": "float32"}
        args = arguments(
            folder / name,
            per_device_train_batch_size=2,
            max_steps=4,
            shard=BOTH,
            **({} if name == "plain" else cache),
        )
        trainer = make_trainer(SEGMENTATION, args)
        trainer.train()
        trainer.evaluate_teacher()
        torch.save(state_of(trainer), folder / name / f"state-{rank}.pt")


def teachers() -> Iterator[tuple[str, PreTrainedModel, torch.Tensor]]:
    """Yield every teacher of every task with images for it."""
    names = [f"class {number}" for number in range(NUM_LABELS)]
    for arch in SEGMENTATION_ARCHITECTURES:
        yield (
            arch,
            tiny_segmentation_model(arch, num_labels=NUM_LABELS),
            torch.rand(2, 3, *smallest_image(arch)),
        )
    for arch in UNIVERSAL:
        wrapped = load_teacher(tiny_universal_model(arch, names), SegmentationTask)
        yield arch, wrapped, torch.rand(2, 3, 32, 32)
    for arch in DEPTH_MODELS:
        yield arch, tiny_depth_model(arch), torch.rand(2, 3, *smallest_image(arch))
    for arch in TEACHER_ARCHITECTURES:
        yield arch, tiny_detector(arch), torch.rand(2, 3, 64, 64)


def outcome(model: PreTrainedModel, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a model's answer and its gradient for all weights, in whole tensors."""
    model.zero_grad()
    answer = {name: value for name, value in model(images).items() if isinstance(value, torch.Tensor)}
    torch.stack([one.square().mean() for one in answer.values() if one.requires_grad]).sum().backward()
    gradients = {
        name: whole(parameter.grad).clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {name: value.detach().clone() for name, value in answer.items()} | gradients


def architectures(folder: Path) -> None:
    """Run every teacher whole and sharded, and back; in single precision, rounding grows in attentions."""
    found = {}
    torch.set_default_dtype(torch.float64)
    for arch, model, images in teachers():
        model.eval().double()
        before = outcome(model, images.double())
        shard_model(model, torch.device("cpu"))
        after = outcome(model, images.double())
        assert before.keys() == after.keys(), arch
        apart = [
            float((after[name] - value).abs().max() / value.abs().max().clamp(min=1e-3))
            for name, value in before.items()
        ]
        found[f"{type(model).__name__} {arch}"] = [share(model), max(apart)]
    write(folder, "architectures", found)


WORK: dict[str, Callable[..., None]] = {
    work.__name__: work for work in (quick, task, checkpoints, precisions, cached, architectures)
}


def work(folder: Path, name: str, *tasks: str) -> None:
    """Be one of two processes."""
    PartialState(cpu=True)
    with narrow_critics():
        WORK[name](folder, *(case for case in CASES if case.name in tasks))


if __name__ == "__main__":
    run_in_two(partial(work, Path(sys.argv[1]), *sys.argv[2:]))
