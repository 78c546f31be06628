"""The set loss that a detector computes inside its forward: over the labelled images of a batch alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PretrainedConfig
from transformers.loss import loss_for_object_detection as set_losses
from transformers.loss import loss_lw_detr as grouped_set_losses
from transformers.loss.loss_rt_detr import RTDetrLoss

from ..features.forward import Batch, Capture, Forward, run_model
from ._box_labels import boxes_to_find
from .detectors import are_finite, final_queries

_CRITERIA = (set_losses.ImageLoss, grouped_set_losses.LwDetrImageLoss, RTDetrLoss)
"""The set losses; those of further detectors are subclasses."""


def run_student(
    model: nn.Module,
    inputs: Mapping[str, Any],
    batch: Batch,
    capture: Capture | None,
    config: PretrainedConfig,
) -> Forward:
    """Run a student with the boxes to find: its own loss reads them.

    Matching refuses what is not finite with an error of its own, in the middle of the forward. The loss is
    NaN instead: the trainer then stops, saves what was good and names the term. Without labels the forward
    does not read every weight (of denoising queries, of further groups), so these count too.
    """
    labels, labeled = [boxes_to_find(one) for one in batch["labels"]], batch.get("labeled")
    if labeled is None:
        prepared: AbstractContextManager[None] = _boxes_counted_over_processes()
    else:
        prepared = _over_labelled_images(labeled, labels, groups=getattr(config, "group_detr", 1))
    given = {**inputs, "labels": labels} if labeled is None or bool(labeled.any()) else inputs
    try:
        with prepared:
            return run_model(model, given, capture)
    except ValueError:
        forward = run_model(model, inputs, capture)
        if are_finite(final_queries(forward.output, config)) and are_finite(model.parameters()):
            raise
        forward.output.loss = forward.output.logits.sum() * math.nan
        return forward


def weighted_set_loss(output: Any, batch: Batch) -> Tensor:
    """Return the loss that `run_student` left in the output, times the share of the images with labels.

    So a labelled image counts as much as it would among labelled ones, however images fall into batches.
    """
    loss: Tensor | None = output.loss
    if "labeled" not in batch:
        assert loss is not None
        return loss
    if loss is None:  # no image of this batch is labelled
        loss = 0.0 * output.logits.float().sum()
    share: Tensor = batch["labeled"].float().mean()
    return loss * share


@contextmanager
def _boxes_counted_over_processes() -> Iterator[None]:
    """Let the set loss of DETR, YOLOS and relatives divide by the boxes that a process has on the mean.

    DETR divides its box losses by the boxes of all processes over their number. Transformers 5.23 takes
    accelerate's `reduce`, whose default is the mean already, and divides once more: with N processes the box
    losses, and the class losses of sigmoid heads, would be N times too large. Here the boxes are summed.
    """
    with _replaced(set_losses, "reduce", partial(set_losses.reduce, reduction="sum")):
        yield


@contextmanager
def _over_labelled_images(
    labeled: Tensor, labels: Sequence[Mapping[str, Tensor]], *, groups: int
) -> Iterator[None]:
    """Let the set losses see the labelled images alone.

    Those that divide by the boxes of all processes get the boxes of a labelled image on the mean, over all
    processes, times the labelled images of this one. So it does not matter how these fall on processes, and
    no process waits for one without labels.

    Args:
        labeled: Which images are labelled, (B,) bool.
        labels: The boxes of each image.
        groups: How many groups of queries find each box.
    """
    kept = labeled.nonzero().flatten()
    places = kept.tolist()
    counts = torch.tensor(
        [sum(len(labels[i]["boxes"]) for i in places), len(places)], dtype=torch.float, device=labeled.device
    )
    is_shared = bool(PartialState._shared_state)
    boxes, images = (reduce(counts, "sum") if is_shared else counts).tolist()
    processes = PartialState().num_processes if is_shared else 1
    own = processes * len(places) * boxes / max(images, 1)

    def choose(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not isinstance(module, _CRITERIA):
            return None
        outputs, targets = arguments
        return _of_images(outputs, kept), [targets[i] for i in places]

    # LW-DETR and RF-DETR ask torch itself for the sum.
    summed = SimpleNamespace(
        ReduceOp=torch.distributed.ReduceOp,
        all_reduce=lambda count, op: count.fill_(own * groups),
        get_world_size=lambda: processes,
    )
    hook = register_module_forward_pre_hook(choose)  # type: ignore[arg-type]  # it may return arguments
    try:
        with (
            _replaced(set_losses, "reduce", lambda count: torch.full_like(count, own)),
            _replaced(grouped_set_losses, "dist", summed),
        ):
            yield
    finally:
        hook.remove()


def _of_images(outputs: Any, kept: Tensor) -> Any:
    """Return a criterion's nested outputs, whose tensors are (B, ...), of some images."""
    if isinstance(outputs, Tensor):
        return outputs[kept]
    if isinstance(outputs, list):
        return [_of_images(one, kept) for one in outputs]
    if not isinstance(outputs, Mapping):
        return outputs
    if "dn_positive_idx" in outputs:  # of denoising queries: indices image by image, and plain numbers
        positive = outputs["dn_positive_idx"]
        return {**outputs, "dn_positive_idx": [positive[i] for i in kept.tolist()]}
    return {name: _of_images(value, kept) for name, value in outputs.items()}


@contextmanager
def _replaced(owner: Any, name: str, value: Callable[..., Any] | SimpleNamespace) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
