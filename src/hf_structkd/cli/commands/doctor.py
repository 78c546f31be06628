"""`structkd doctor`: a few steps that nothing is kept of, and what they say of a run before it begins."""

from __future__ import annotations

import logging
import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, has_length

from ...features.forward import Batch
from ...features.probe import probing
from ...models.parameters import count_parameters
from ...training.arguments import StructKDTrainingArguments
from ...training.trainer import StructKDTrainer
from ..distil import Experiment
from ..endings import UsageError
from ..task_words import arguments_of

NAME = "doctor"
SUMMARY = "try a few steps, keep nothing, and say what the run will be; the options are those of distill"

_STATUS = Path("/proc/self/status")
_STEPS = 4
_MOST_IDS = 20


def run(argv: Sequence[str]) -> None:
    """Load everything, run a few steps on a student that is thrown away, and print what was found.

    Raises:
        UsageError: If no teacher is named.
    """
    warnings = _Warnings()
    arguments = arguments_of(NAME, argv)
    if arguments.models.teacher_model_name_or_path is None:
        raise UsageError("--teacher_model_name_or_path is missing: name a Hub id or a folder.")
    experiment = Experiment.load(arguments)
    args = arguments.training
    trainer = experiment.trainer(args, with_teacher=True)
    steps = _planned_steps(trainer)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    with tempfile.TemporaryDirectory() as folder:
        _keep_nothing(args, folder)
        clock = _Clock()
        trainer.add_callback(clock)
        trainer.train()
    lines = {
        **{f"class {name}": how for name, how in trainer.task.taught_classes().items()},
        **_labels(batch),
        "student": _size(trainer.model, trainer.task.model_inputs(batch)),
        **_teacher(trainer, batch),
        **_peak_memory(args.device),
        **_length(steps, clock.seconds, args),
    }
    width = max(map(len, lines))
    print("\n".join(f"{label:<{width + 2}}{text}" for label, text in lines.items()))  # noqa: T201
    traps = [f"{number}. {text}" for number, text in enumerate(warnings.texts, 1)]
    print("\n".join(["", "traps:", *traps] if traps else ["", "No trap was found."]))  # noqa: T201


class _Warnings(logging.Handler):
    """Gathers what the library warns of, each sentence once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        logging.getLogger(__name__.partition(".")[0]).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if (text := record.getMessage()) not in self.texts:
            self.texts.append(text)


class _Clock(TrainerCallback):
    """Takes the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._begin = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._begin)


def _keep_nothing(args: StructKDTrainingArguments, folder: str) -> None:
    args.output_dir, args.max_steps, args.resume_from_checkpoint = folder, _STEPS, None
    args.save_strategy, args.eval_strategy = SaveStrategy.NO, IntervalStrategy.NO
    args.logging_strategy, args.load_best_model_at_end = IntervalStrategy.NO, False


def _planned_steps(trainer: StructKDTrainer) -> int | None:
    args: StructKDTrainingArguments = trainer.args
    loader: Any = trainer.get_train_dataloader()
    if args.max_steps > 0:
        return int(args.max_steps)
    if not has_length(loader):
        return None
    steps: int = math.ceil(args.num_train_epochs * math.ceil(len(loader) / args.gradient_accumulation_steps))
    return steps


def _labels(batch: Batch) -> dict[str, str]:
    """Say what the labels of the first batch hold."""
    labels = batch.get("labels")
    if "labeled" in batch and not bool(batch["labeled"].any()):
        return {"labels": "none: the teacher alone teaches"}
    if isinstance(labels, Tensor) and labels.is_floating_point():
        known = labels[labels > 0]
        if not known.numel():
            return {"depth": "none is labelled in the first batch"}
        share = known.numel() / labels.numel()
        return {"depth": f"{known.min():.3g} to {known.max():.3g} m, {share:.0%} of the pixels"}
    if isinstance(labels, Tensor):
        ids = torch.unique(labels).tolist()
        more = ", …" if len(ids) > _MOST_IDS else ""
        return {"label ids": ", ".join(map(str, ids[:_MOST_IDS])) + more}
    if not labels:
        return {"labels": "none in the first batch"}
    boxes = torch.cat([one["boxes"] for one in labels])
    if not len(boxes):
        return {"boxes": "none in the first batch"}
    sides = boxes[:, 2:].amin().item(), boxes[:, 2:].amax().item()
    return {
        "boxes": f"{len(boxes)} in {len(labels)} images, sides {sides[0]:.1%} to {sides[1]:.1%} of the image"
    }


def _size(model: nn.Module, inputs: Mapping[str, Any]) -> str:
    one = {name: value[:1] for name, value in inputs.items()}
    with probing(model), FlopCounterMode(display=False) as counter:
        model(**one)
    return (
        f"{count_parameters(model) / 1e6:.2f} M parameters, {counter.get_total_flops() / 1e9:.3g} GFLOPs an "
        "image (matrix products and convolutions, two a multiply-add)"
    )


def _teacher(trainer: StructKDTrainer, batch: Batch) -> dict[str, str]:
    teacher = trainer.teacher
    if teacher is None:
        return {}
    if not teacher.source.is_loaded:
        return {"teacher": f"{teacher.source.description}, read from the cache"}
    return {"teacher": _size(teacher.model, teacher.inputs(batch))}


def _peak_memory(device: torch.device) -> dict[str, str]:
    """Say how much memory was taken at most; without an accelerator Linux alone tells it."""
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    if not peak and _STATUS.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"))
        peak = int(found[1]) * 1024 if found else 0
    return {"peak memory": f"{peak / 2**30:.2f} GiB"} if peak else {}


def _length(steps: int | None, seconds: Sequence[float], args: StructKDTrainingArguments) -> dict[str, str]:
    """Say how long a step takes, the first left out, and the whole run without its evaluations."""
    a_step = median(seconds[1:] or seconds)
    text = f"{a_step:.3g} s (median of {len(seconds[1:]) or 1}; {args.global_batch_size} images"
    lines = {"a step": f"{text}, {torch.get_num_threads()} CPU threads, {args.device.type})"}
    if steps is not None:
        lines["the run"] = f"{steps} steps, about {steps * a_step / 60:.1f} minutes without evaluations"
    return lines
