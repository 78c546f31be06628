"""What a test of the trainer needs of a task: a tiny pair and a few rows. Every test runs over every case."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainerCallback

from hf_structkd import StructKDTrainer, StructKDTrainingArguments
from hf_structkd.adversary.critic import Critic
from hf_structkd.models.sharding import whole
from hf_structkd.terms import holistic

from .tiny_detectors import tiny_detector
from .tiny_models import tiny_depth_model, tiny_segmentation_model

NUM_LABELS = 5


class Rows(Dataset):
    """Rows held in memory."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


@dataclass(frozen=True)
class TaskCase:
    """One task, in miniature.

    Attributes:
        name: For the test's id.
        student: Makes a student from a seed, dropout off.
        teacher: Makes a teacher, of another architecture.
        rows: Makes so many rows, every pixel of them labelled.
        metric: A key of what `evaluate()` returns.
        highest: The largest value it can have.
        behind_feature: The student's layers behind the feature map, which the pair-wise term does not reach.
        own_loss: What a plain Trainer is to take as the loss, where the model's own does not run in it.
    """

    name: str
    student: Callable[[int], PreTrainedModel]
    teacher: Callable[[int], PreTrainedModel]
    rows: Callable[[int], Rows]
    metric: str
    highest: float
    behind_feature: tuple[str, ...]
    own_loss: Callable[..., torch.Tensor] | None = None


def _segmentation_rows(count: int) -> Rows:
    generator = torch.Generator().manual_seed(7)
    rows = []
    for _ in range(count):
        coarse = torch.randint(NUM_LABELS, (1, 1, 4, 4), generator=generator)
        labels = nn.functional.interpolate(coarse.float(), size=(64, 64)).long()[0, 0]
        noise = torch.randn(3, 64, 64, generator=generator)
        rows.append({"pixel_values": 0.3 * noise + labels / NUM_LABELS, "labels": labels})
    return Rows(rows)


SEGMENTATION = TaskCase(
    name="segmentation",
    student=lambda seed: tiny_segmentation_model("segformer", num_labels=NUM_LABELS, seed=seed),
    teacher=lambda seed: tiny_segmentation_model("dpt", num_labels=NUM_LABELS, seed=seed),
    rows=_segmentation_rows,
    metric="eval_mean_iou",
    highest=1.0,
    behind_feature=("classifier",),
)


def _depth_rows(count: int) -> Rows:
    generator = torch.Generator().manual_seed(7)
    rows = []
    for _ in range(count):
        coarse = 1 + 4 * torch.rand(1, 1, 4, 4, generator=generator)
        depth = nn.functional.interpolate(coarse, size=(64, 64))[0, 0]
        noise = torch.randn(3, 64, 64, generator=generator)
        rows.append({"pixel_values": 0.3 * noise + depth / 5, "labels": depth})
    return Rows(rows)


def _silog(output: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """GLPN's own loss ends in a root that Trainer multiplies in place, which autograd refuses."""
    error = output.predicted_depth.log() - labels.log()
    return (error.square().mean(dim=(1, 2)) - 0.5 * error.mean(dim=(1, 2)).square()).sqrt().mean() * 1.0


DEPTH = TaskCase(
    name="depth",
    student=lambda seed: tiny_depth_model("glpn", seed=seed),
    teacher=lambda seed: tiny_depth_model("dpt", seed=seed),
    rows=_depth_rows,
    metric="eval_abs_rel",
    highest=math.inf,
    behind_feature=("decoder.stages.1", "decoder.stages.2", "decoder.stages.3", "decoder.fusion", "head."),
    own_loss=_silog,
)


def _detection_rows(count: int) -> Rows:
    """Images of two bright rectangles each: DETR's losses divide by the boxes of a batch, not of an image."""
    generator = torch.Generator().manual_seed(7)
    rows = []
    for _ in range(count):
        image = 0.3 * torch.randn(3, 64, 64, generator=generator)
        sides = 0.2 + 0.3 * torch.rand(2, 2, generator=generator)
        boxes = torch.cat([sides / 2 + (1 - sides) * torch.rand(2, 2, generator=generator), sides], dim=1)
        classes = torch.randint(NUM_LABELS, (2,), generator=generator)
        for (x, y, width, height), label in zip((boxes * 64).tolist(), classes.tolist(), strict=True):
            top, left = round(y - height / 2), round(x - width / 2)
            image[:, top : round(y + height / 2), left : round(x + width / 2)] += 1 + label / NUM_LABELS
        labels = {"class_labels": classes, "boxes": boxes, "canvas_size": torch.tensor([64.0, 64.0])}
        rows.append({"pixel_values": image, "labels": labels})
    return Rows(rows)


DETECTION = TaskCase(
    name="detection",
    # Heads of both kinds, and not as many queries.
    student=lambda seed: tiny_detector("yolos", num_labels=NUM_LABELS, seed=seed),
    teacher=lambda seed: tiny_detector("rt_detr", num_labels=NUM_LABELS, num_queries=12, seed=seed),
    rows=_detection_rows,
    metric="eval_map",
    highest=1.0,
    behind_feature=("class_labels_classifier", "bbox_predictor"),
)

CASES = (SEGMENTATION, DEPTH, DETECTION)


ON_CPU = os.environ.get("STRUCTKD_TEST_DEVICE", "cpu") == "cpu"
"""Whether trainings run on the CPU; scripts/gpu_check.sh says otherwise."""

on_cpu_alone = pytest.mark.skipif(
    not ON_CPU, reason="sums on a GPU have no fixed order, and numbers are not looked at before every step"
)


class StopAt(TrainerCallback):
    """Ends training after a step, as a lost machine would, but with its checkpoint written."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step >= self.step


def freeze_batch_norm(model: PreTrainedModel) -> PreTrainedModel:
    """Keep BatchNorm on its stored statistics: those of a batch depend on how the batch is split."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
    return model


def arguments(folder: Path | str, **overrides: Any) -> StructKDTrainingArguments:
    """All three terms on, two steps of four images, nothing saved or reported."""
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": ON_CPU,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "pixel_weight": 1.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.1,
    }
    return StructKDTrainingArguments(**{**settings, **overrides})


ALONE = {"pixel_weight": 0.0, "pairwise_weight": 0.0, "holistic_weight": 0.0}


def make_trainer(
    case: TaskCase,
    args: StructKDTrainingArguments,
    *,
    student: PreTrainedModel | None = None,
    teacher: PreTrainedModel | None = None,
    rows: int = 8,
    **kwargs: Any,
) -> StructKDTrainer:
    """A trainer over the case's rows; models are made from seeds 0 and 1 unless given."""
    return StructKDTrainer(
        student or freeze_batch_norm(case.student(0)),
        teacher or case.teacher(1),
        args,
        **{"train_dataset": case.rows(rows), "eval_dataset": case.rows(4), **kwargs},
    )


@contextlib.contextmanager
def narrow_critics() -> Iterator[None]:
    """Give critics few channels: the published widths take most of a step, and of a checkpoint."""
    narrow = functools.partial(Critic, widths=(8, 8, 16, 16))
    with mock.patch.object(holistic, "Critic", narrow):
        yield


def state_of(trainer: StructKDTrainer) -> dict[str, torch.Tensor]:
    """Every tensor that training moves: the student's, and those of the terms' networks.

    Of a sharded student every process calls this.
    """
    student = trainer.model.state_dict().items()
    state = {f"student.{name}": whole(value).clone() for name, value in student}
    for term in trainer.terms:
        for number, network in enumerate(term.networks):
            own = network.state_dict().items()
            state |= {f"{term.name}.{number}.{name}": value.clone() for name, value in own}
    return state
