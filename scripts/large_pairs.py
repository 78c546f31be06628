"""Pairs of the sizes that people train: what `gpu_check.py` measures and `traffic.py` counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmark_steps import CLASSES, Pair, dpt, segformer
from transformers import PreTrainedModel, RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig


def rt_detr(depths: list[int], kind: str, width: int, layers: int) -> PreTrainedModel:
    """Return an RT-DETR on a ResNet with random weights."""
    sizes = [256, 512, 1024, 2048] if kind == "bottleneck" else [64, 128, 256, 512]
    backbone = RTDetrResNetConfig(
        depths=depths, layer_type=kind, hidden_sizes=sizes, out_features=["stage2", "stage3", "stage4"]
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=sizes[1:],
        encoder_hidden_dim=width,
        decoder_in_channels=[width] * 3,
        decoder_layers=layers,
        num_labels=CLASSES,
    )
    return RTDetrForObjectDetection(config)


def classes(side: int) -> torch.Tensor:
    """Return a class for each pixel."""
    return torch.randint(CLASSES, (side, side))


def metres(side: int) -> torch.Tensor:
    """Return a depth for each pixel."""
    return 1 + 9 * torch.rand(side, side)


def boxes(side: int) -> dict[str, torch.Tensor]:
    """Return seven boxes with their classes."""
    sides = 0.1 + 0.3 * torch.rand(7, 2)
    found = torch.cat([sides / 2 + (1 - sides) * torch.rand(7, 2), sides], dim=1)
    canvas = torch.tensor([float(side), float(side)])
    return {"class_labels": torch.randint(CLASSES, (7,)), "boxes": found, "canvas_size": canvas}


def _pair(
    title: str,
    teacher: Callable[[], PreTrainedModel],
    student: Callable[[], PreTrainedModel],
    label: Callable[[int], Any],
    side: int,
) -> Pair:
    return Pair(f"{title}, {side} x {side}", teacher, student, label, side, 1.10, {})


def b5() -> PreTrainedModel:
    """Return the largest SegFormer."""
    return segformer([3, 6, 40, 3], [64, 128, 320, 512], 768)


def b0() -> PreTrainedModel:
    """Return the smallest SegFormer."""
    return segformer([2, 2, 2, 2], [32, 64, 160, 256], 256)


LARGE = {
    "b5_512": _pair("SegFormer B5 to B0", b5, b0, classes, 512),
    "b5_1024": _pair("SegFormer B5 to B0", b5, b0, classes, 1024),
    "dpt": _pair("DPT 1024/24 to 384/12", lambda: dpt(1024, 24, 384), lambda: dpt(384, 12, 384), metres, 384),
    "rt_detr": _pair(
        "RT-DETR R101 to R18",
        lambda: rt_detr([3, 4, 23, 3], "bottleneck", 384, 6),
        lambda: rt_detr([2, 2, 2, 2], "basic", 256, 3),
        boxes,
        640,
    ),
}

# The same architectures at a size that a CPU takes in a second, to try the path.
TINY = {
    "b5_512": _pair(
        "SegFormer",
        lambda: segformer([1, 1, 1, 1], [16, 16, 32, 32], 32),
        lambda: segformer([1, 1, 1, 1], [8, 8, 16, 16], 16),
        classes,
        64,
    ),
    "dpt": _pair("DPT", lambda: dpt(128, 4, 64), lambda: dpt(64, 4, 64), metres, 64),
    "rt_detr": _pair(
        "RT-DETR",
        lambda: rt_detr([1, 1, 1, 1], "basic", 64, 2),
        lambda: rt_detr([1, 1, 1, 1], "basic", 64, 1),
        boxes,
        160,
    ),
}
