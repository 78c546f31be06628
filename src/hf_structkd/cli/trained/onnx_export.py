"""Turn a trained model into an ONNX file that gives its answers, with as many free axes as it allows."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...matching.alignment import resize_map
from ...tasks.uses import Use
from ..extras import optional

OPSET = 18
TOLERANCE = 1e-3
"""Largest difference from PyTorch's answers, as a share of the largest of these."""

_INPUT = "pixel_values"
_AXES = {"batch": 0, "height": 2, "width": 3}
_FREE: tuple[tuple[str, ...], ...] = (("batch", "height", "width"), ("batch",), ())
# Models that halve the image five times take sides that are a multiple of it.
_FURTHER = (32, 64)
_LONGEST = 200
_STDOUT = 1

Session = Callable[[Tensor], tuple[Tensor, ...]]


class Exported(NamedTuple):
    """An ONNX file.

    Attributes:
        path: The file.
        exporter: How it was made: "traced", or "captured" where tracing refuses the model.
        free: Names of the axes of the images that may have another length than in the export.
        difference: The largest difference from PyTorch, as a share of the largest value.
        refused: Why further axes are not free, one reason for each attempt.
    """

    path: Path
    exporter: str
    free: tuple[str, ...]
    difference: float
    refused: tuple[str, ...]


class Plain(nn.Module):
    """A model that takes images alone and returns plain tensors.

    Args:
        model: The model.
        use: Says which of its outputs a program needs.
    """

    def __init__(self, model: nn.Module, use: Use) -> None:
        """Keep both."""
        super().__init__()
        self.model = model
        self._use = use

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors that a program needs."""
        return tuple(self._use.exported(self.model(pixel_values=pixel_values)).values())


@torch.no_grad()
def export_onnx(model: nn.Module, use: Use, images: Sequence[Tensor], path: Path) -> Exported:
    """Write the file; an axis is left free where the file then gives PyTorch's answers at other lengths too.

    Args:
        model: The model, in evaluation mode on the CPU.
        use: Says which of its outputs a program needs.
        images: Two images or more (1, 3, H, W) of one size, on which both are compared.
        path: The file to write.

    Raises:
        UsageError: If a package of the extra `onnx` is missing.
        ValueError: If the model cannot be exported, or the file gives other answers than PyTorch.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        optional(package, extra="onnx", needed_for="an export to ONNX")
    plain = Plain(model, use).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    refused: list[str] = []
    for free, (exporter, write) in itertools.product(_FREE, _EXPORTERS.items()):
        what = f"{exporter}, with {' and '.join(free) or 'no axis'} free"
        try:
            with _quiet():
                write(plain, use, images, path, free)
            run = onnx_session(path)
            worst = max(_difference(plain(one), run(one)) for one in _trials(images, free))
        except Exception as error:  # the exporter, its checks and the runtime raise many types
            refused.append(f"{what}: {_short(error)}")
            continue
        if worst <= TOLERANCE:
            return Exported(path, exporter, free, worst, tuple(refused))
        refused.append(f"{what}: its answers differ by {worst:.2g}")
    path.unlink(missing_ok=True)
    last = "; ".join(refused[-len(_EXPORTERS) :])
    raise ValueError(
        f"{type(model).__name__} cannot be exported to ONNX ({last}); deploy it with PyTorch, or choose a "
        "student of another architecture."
    )


def onnx_session(path: Path) -> Session:
    """Return what runs a file with PyTorch's number of threads."""
    runtime = optional("onnxruntime", extra="onnx", needed_for="an ONNX file")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(one) for one in session.run(None, {_INPUT: images.numpy()}))

    return run


def as_model(session: Session, use: Use) -> Callable[..., Any]:
    """Return what answers in the place of the model that the file was made of."""

    def run(pixel_values: Tensor, **_: Any) -> Any:
        return SimpleNamespace(**dict(zip(use.axes, session(pixel_values), strict=True)))

    return run


def _trace(plain: Plain, use: Use, images: Sequence[Tensor], path: Path, free: Sequence[str]) -> None:
    """Write what the model does with one batch; fast, and refuses some operators."""
    axes = {_INPUT: {_AXES[name]: name for name in free}}
    for output, names in use.axes.items():
        axes[output] = {
            place: name
            for place, name in enumerate(names)
            if any(name == one or name.endswith(f"_{one}") for one in free)
        }
    torch.onnx.export(
        plain,
        (_example(images, free),),
        str(path),
        input_names=[_INPUT],
        output_names=list(use.axes),
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )


def _capture(plain: Plain, use: Use, images: Sequence[Tensor], path: Path, free: Sequence[str]) -> None:
    """Write the program of the model; slow, and knows every operator."""
    shapes = {_AXES[name]: torch.export.Dim.DYNAMIC for name in free}
    torch.onnx.export(
        plain,
        (_example(images, free),),
        str(path),
        input_names=[_INPUT],
        output_names=list(use.axes),
        dynamic_shapes=(shapes,) if shapes else None,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


_EXPORTERS = {"traced": _trace, "captured": _capture}
"""Ways to write a file; of two with the same freedom the first is taken."""


def _example(images: Sequence[Tensor], free: Sequence[str]) -> Tensor:
    return torch.cat(list(images[:2])) if "batch" in free else images[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep an exporter from warning, and from printing a graph of many pages where it fails."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    sys.stdout.flush()
    stdout = os.dup(_STDOUT)  # the graph is written by code that is not Python's
    try:
        with open(os.devnull, "wb") as nothing, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of the file is compared with PyTorch
            os.dup2(nothing.fileno(), _STDOUT)
            yield
    finally:
        os.dup2(stdout, _STDOUT)
        os.close(stdout)
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _trials(images: Sequence[Tensor], free: Sequence[str]) -> list[Tensor]:
    """Return batches on which the file must agree with PyTorch: one for each freedom that it has."""
    if "batch" not in free:
        return list(images)
    trials = [*images, torch.cat([*images, images[0]])]
    if "height" in free:
        height, width = images[0].shape[-2:]
        trials += [resize_map(images[0], (height + _FURTHER[0], width + _FURTHER[1]))]
    return trials


def _difference(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> float:
    return max(
        float((a.float() - b.float()).abs().max() / a.abs().max().clamp(min=1e-6))
        for a, b in zip(ours, theirs, strict=True)
    )


def _short(error: Exception) -> str:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
