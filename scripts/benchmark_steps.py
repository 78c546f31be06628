"""Training steps of three pairs of models, for `benchmark.py`: whole steps in turns, and what is in them.

The floor of a pair is transformers' own `Trainer` with the same student, which also runs the teacher. A
student that reads its teacher's answers from a cache is compared with the student trained alone. Models start
from random weights, which changes no time. Every variant trains in the same process and waits for its turn
after each step, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from step_operations import Operations, operations_of
from torch.utils.data import Dataset
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    PreTrainedModel,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.losses import detection

CLASSES = 19
BATCH = 2
DEPTH_SETTINGS = {"holistic_weight": 0.1}  # off by default for depth
ALONE = {"pixel_weight": 0.0, "pairwise_weight": 0.0, "holistic_weight": 0.0}


@dataclass(frozen=True)
class Pair:
    """Two models, the size of their images, and how many times the floor a step may take.

    Attributes:
        title: What the table calls it.
        teacher: Makes the teacher.
        student: Makes the student.
        label: Makes the labels of an image of this side.
        side: Height and width of the images in pixels.
        goal: Limit of the full step over the floor.
        settings: Further training arguments.
    """

    title: str
    teacher: Callable[[], PreTrainedModel]
    student: Callable[[], PreTrainedModel]
    label: Callable[[int], Any]
    side: int
    goal: float
    settings: dict[str, Any]


def segformer(depths: list[int], widths: list[int], decoder: int) -> PreTrainedModel:
    """Return a SegFormer with random weights."""
    config = SegformerConfig(
        depths=depths, hidden_sizes=widths, decoder_hidden_size=decoder, num_labels=CLASSES
    )
    return SegformerForSemanticSegmentation(config)


def dpt(width: int, layers: int, side: int) -> PreTrainedModel:
    """Return a DPT for depth with random weights."""
    config = DPTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        image_size=side,
        backbone_out_indices=[layers // 4 - 1 + i * layers // 4 for i in range(4)],
        neck_hidden_sizes=[width // 4, width // 2, width, width],
        fusion_hidden_size=width // 2,
    )
    return DPTForDepthEstimation(config)


def detr(depths: list[int], width: int, layers: int, kind: str) -> PreTrainedModel:
    """Return a DETR on a ResNet with random weights."""
    sizes = [256, 512, 1024, 2048] if kind == "bottleneck" else [64, 128, 256, 512]
    backbone = ResNetConfig(depths=depths, layer_type=kind, hidden_sizes=sizes, out_features=["stage4"])
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        num_labels=CLASSES,
    )
    return DetrForObjectDetection(config)


def _boxes(side: int) -> dict[str, torch.Tensor]:
    sides = 0.1 + 0.3 * torch.rand(7, 2)
    boxes = torch.cat([sides / 2 + (1 - sides) * torch.rand(7, 2), sides], dim=1)
    canvas = torch.tensor([float(side), float(side)])
    return {"class_labels": torch.randint(CLASSES, (7,)), "boxes": boxes, "canvas_size": canvas}


def _classes(side: int) -> torch.Tensor:
    return torch.randint(CLASSES, (side, side))


def _depth(side: int) -> torch.Tensor:
    return 1 + 9 * torch.rand(side, side)


B0 = lambda: segformer([2, 2, 2, 2], [32, 64, 160, 256], 256)  # noqa: E731
B2 = lambda: segformer([3, 4, 6, 3], [64, 128, 320, 512], 768)  # noqa: E731
PAIRS = {
    "segmentation": Pair("SegFormer B2 to B0, 256 x 256", B2, B0, _classes, 256, 1.08, {}),
    "segmentation512": Pair("SegFormer B2 to B0, 512 x 512", B2, B0, _classes, 512, 1.08, {}),
    "depth": Pair(
        "DPT 384/12 to 192/8, 256 x 256",
        lambda: dpt(384, 12, 256),
        lambda: dpt(192, 8, 256),
        _depth,
        256,
        1.05,
        DEPTH_SETTINGS,
    ),
    "detection": Pair(
        "DETR R50 to R18, 256 x 256",
        lambda: detr([3, 4, 6, 3], 256, 6, "bottleneck"),
        lambda: detr([2, 2, 2, 2], 128, 3, "basic"),
        _boxes,
        256,
        1.10,
        {},
    ),
}


def small_pair(task: str, side: int) -> Pair:
    """Return small models of a task, beside which what distillation adds can be measured at any size."""
    depths, widths = [1, 1, 1, 1], [16, 32, 64, 96]
    if task == "depth":
        heads = [1, 2, 4, 4]
        config = GLPNConfig(
            depths=depths, hidden_sizes=widths, decoder_hidden_size=16, num_attention_heads=heads
        )
        return Pair(task, *[lambda: GLPNForDepthEstimation(config)] * 2, _depth, side, 1.0, DEPTH_SETTINGS)
    if task == "detection":
        small = lambda: detr([1, 1, 1, 1], 32, 1, "basic")  # noqa: E731
        return Pair(task, small, small, _boxes, side, 1.0, {})
    small = lambda: segformer(depths, widths, 48)  # noqa: E731
    return Pair(task, small, small, _classes, side, 1.0, {})


class Rows(Dataset[dict[str, Any]]):
    """Random images with labels, the same in every epoch."""

    views = 1

    def __init__(self, pair: Pair, count: int) -> None:
        """Make the rows."""
        self._rows = [
            {"pixel_values": torch.randn(3, pair.side, pair.side), "labels": pair.label(pair.side)}
            for _ in range(count)
        ]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a row."""
        return self._rows[index]


class Floor(Trainer):
    """Transformers' own trainer, with the task's loss; `teacher` runs beside the student, or is None."""

    teacher: PreTrainedModel | None = None
    task: Any

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the task's loss, after the teacher's forward."""
        if self.teacher is not None:
            with torch.no_grad():
                self.teacher(**self.task.model_inputs(inputs))
        return self.task.task_loss(self.task.student_forward(model, inputs, None).output, inputs)


class Turns(TrainerCallback):
    """Lets a trainer take one step and then waits until all others have taken theirs.

    Args:
        number: This trainer's place in the row.
        turn: Whose turn it is, shared by all.
        changed: Tells the others.
        device: Waits for its work before the clock is read.
    """

    def __init__(self, number: int, turn: list[int], changed: threading.Condition, device: str) -> None:
        """Start without a time."""
        self.seconds: list[float] = []
        self.megabytes: list[float] = []
        self._number, self._turn, self._changed, self._device = number, turn, changed, device
        self._start, self._held = 0.0, 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the turn, and start the clock."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn[0] == self._number)
        wait_for(self._device)
        self._held = start_memory(self._device)
        self._start = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop the clock, and hand the turn on."""
        wait_for(self._device)
        self.seconds.append(time.perf_counter() - self._start)
        self.megabytes.append(peak_memory(self._device) - self._held)
        with self._changed:
            self._turn[0] = (self._turn[0] + 1) % self._turn[1]
            self._changed.notify_all()


def wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def start_memory(device: str) -> float:
    """Forget the peak of before; return the megabytes that are held now (of the process, on a CPU)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark (Linux)
    return peak_memory(device)


def peak_memory(device: str) -> float:
    """Return the megabytes at the peak since `start_memory`."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def settings(folder: str, steps: int, device: str) -> dict[str, Any]:
    """Return the training arguments that all variants share."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": BATCH,
        "use_cpu": device == "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
    }


VARIANTS = ("full", "holistic 0", "cached", "floor", "alone")


def operations(pair: Pair) -> tuple[Operations, Operations]:
    """Return the operations of a step of the floor and of the full step, on the CPU."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        variants = trainers(pair, 2, folder, "cpu", ("floor", "full"))
        return operations_of(variants["floor"]), operations_of(variants["full"])


def trainers(pair: Pair, steps: int, folder: str, device: str, names: Sequence[str]) -> dict[str, Trainer]:
    """Return a trainer for each of these variants of a pair."""
    rows, common, teacher = Rows(pair, 4 * BATCH), settings(folder, steps, device), pair.teacher()

    def ours(**own: Any) -> StructKDTrainer:
        args = StructKDTrainingArguments(**{**common, **pair.settings, **own})
        return StructKDTrainer(pair.student(), teacher, args, train_dataset=rows)

    full = ours()

    def plain(runs: PreTrainedModel | None) -> Trainer:
        args = TrainingArguments(**common)
        trainer = Floor(pair.student(), args, train_dataset=rows, data_collator=full.task.collate)
        trainer.task, trainer.teacher = full.task, None if runs is None else runs.to(args.device)
        return trainer

    makers: dict[str, Callable[[], Trainer]] = {
        "full": lambda: full,
        "holistic 0": lambda: ours(holistic_weight=0.0),
        "cached": lambda: ours(teacher_cache=f"{folder}/cache"),
        "floor": lambda: plain(teacher),
        "alone": lambda: plain(None),
    }
    return {name: makers[name]() for name in names}


def measure(
    pair: Pair, steps: int, device: str, names: Sequence[str] = VARIANTS, *, warm_up: int = 5
) -> dict[str, tuple[float, float]]:
    """Return the median seconds and megabytes of a step of each variant.

    The first steps do not count; 5 fill the cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        variants = trainers(pair, steps, folder, device, names)
        turn, changed = [0, len(variants)], threading.Condition()
        callbacks = {name: Turns(number, turn, changed, device) for number, name in enumerate(variants)}
        threads = []
        for name, trainer in variants.items():
            trainer.add_callback(callbacks[name])
            threads.append(threading.Thread(target=trainer.train, daemon=True))
        with redirect_stdout(io.StringIO()):  # the start tables
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return {
        name: (statistics.median(one.seconds[warm_up:]), statistics.median(one.megabytes[warm_up:]))
        for name, one in callbacks.items()
    }


class Stopwatch(TrainerCallback):
    """Adds up the seconds that named calls take in each step; calls inside calls count in both.

    Args:
        device: Waits for its work before the clock is read.
    """

    def __init__(self, device: str) -> None:
        """Start without a step."""
        self.steps: dict[str, list[float]] = defaultdict(list)
        self._now: Counter[str] = Counter()
        self._device = device
        self._last = 0.0

    def time(self, owner: Any, method: str, name: str) -> None:
        """Replace a method by one that is timed."""
        call = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            wait_for(self._device)
            start = time.perf_counter()
            result = call(*args, **kwargs)
            wait_for(self._device)
            self._now[name] += time.perf_counter() - start
            return result

        setattr(owner, method, timed)

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Count what passed since the last step as waiting for data."""
        self._now.clear()
        self._now["waiting for data"] = time.perf_counter() - self._last if self._last else 0.0

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Keep the step's seconds."""
        for name, seconds in self._now.items():
            self.steps[name].append(seconds)
        self._last = time.perf_counter()


def shares(pair: Pair, steps: int, device: str) -> dict[str, float]:
    """Return the median seconds of the parts of a full step; the terms share the backward pass."""
    watch = Stopwatch(device)
    with tempfile.TemporaryDirectory() as folder:
        args = StructKDTrainingArguments(**{**settings(folder, steps, device), **pair.settings})
        trainer = StructKDTrainer(pair.student(), pair.teacher(), args, train_dataset=Rows(pair, 4 * BATCH))
        watch.time(trainer.pair.teacher, "answer", "teacher")
        watch.time(trainer.task, "student_forward", "student")
        watch.time(trainer.accelerator, "backward", "backward")
        watch.time(trainer.task, "score_maps", "maps of the critic")
        watch.time(trainer.distillation, "after_backward", "critic's gradient and penalty")
        watch.time(trainer.distillation, "step", "critic's step")
        watch.time(detection, "match_queries", "matching")
        for check in ("before_micro_step", "watch", "before_optimizer"):
            watch.time(trainer._guard, check, "finite checks")
        watch.time(trainer.task, "check_training_batch", "label checks")
        for term in trainer.terms:
            watch.time(type(term), "__call__", f"term {term.name}")
        watch.time(trainer, "training_step", "whole step without the optimiser")
        trainer.add_callback(watch)
        with redirect_stdout(io.StringIO()):  # the start table
            trainer.train()
    return {name: statistics.median(seconds[2:]) for name, seconds in watch.steps.items()}
