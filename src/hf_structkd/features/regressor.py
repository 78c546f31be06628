"""Finding the first stage of a depth model's decoder, and the module that writes the depth map.

A probe finds that module, the regressor. When the output of the regressor is made constant over space, the
depth map is constant over space too. The steps after it, such as an activation, a rescaling or a sum over
depth bins, work on each pixel alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .probe import LastCall, changed, channel_axis, probing, run_recording, unwrap

# Depth models of Transformers decode from coarse maps to fine ones; these are their first stages.
_FIRST_STAGES = (
    "neck.fusion_stage.layers.0",  # DPT, (Prompt) Depth Anything, TIPSv2, ZoeDepth
    "head.fusion_layers.0",  # CHMv2
    "fusion_stage.intermediate.0",  # Depth Pro
    "decoder.stages.0",  # GLPN
)


def find_decoder(model: nn.Module) -> str | None:
    """Name the first stage of a depth model's decoder, whose output is its coarsest map.

    Args:
        model: The model, with or without wrappers.

    Returns:
        The name as in `unwrap(model).named_modules()`, or None for a model whose modules are named otherwise
        than those of the depth models of Transformers.

    Example:
        >>> find_decoder(DPTForDepthEstimation(config))
        'neck.fusion_stage.layers.0'
    """
    names = {name for name, _ in unwrap(model).named_modules()}
    return next((name for name in _FIRST_STAGES if name in names), None)


def find_regressor(model: nn.Module, pixel_values: Tensor, *, get_map: Callable[[Any], Tensor]) -> str:
    """Name the module that writes the model's depth map.

    The probe tries every convolution and linear layer, from the last called to the first. It makes the output
    of the layer's last call constant over space, in three ways. The layer is the regressor if the depth map
    is then constant over space too, and not the same in all three. The probe runs in `eval()` and without
    gradients on one image, and then restores the mode of every submodule.

    Args:
        model: The model, with or without wrappers.
        pixel_values: Images that the model accepts, (B, 3, H, W); only the first is used.
        get_map: Reads the depth map, (B, h, w), from the model's output.

    Returns:
        The name as in `unwrap(model).named_modules()`.

    Raises:
        ValueError: If no module passes. ZoeDepth has none, because it moves its depth bins at each pixel.

    Example:
        >>> find_regressor(DPTForDepthEstimation(config), images, get_map=lambda o: o.predicted_depth)
        'head.head.4'
    """
    model, image = unwrap(model), pixel_values[:1]
    with probing(model):
        _, calls = run_recording(model, image)
        for name, call in calls.items():
            if _writes_the_map(call, lambda: get_map(model(image))):
                return name
    raise ValueError(
        f"found no regressor in {type(model).__name__}: made constant over space, the output of none of its "
        f"{len(calls)} convolutions and linear layers makes the depth map constant; name the module whose "
        "output is to be compared with `student_feature` or `teacher_feature`."
    )


def _writes_the_map(call: LastCall, run: Callable[[], Tensor]) -> bool:
    """Tell whether the map is constant over space whenever the call's output is, and changes with it."""
    heights = []
    tolerance = max(1e-4, 8 * torch.finfo(call.dtype).eps)
    for constant in _constants(channel_axis(call.module)):
        with changed(call, constant):
            depth = run().float()
        size = float(depth.abs().max())
        # The comparison is negated so that NaN does not pass.
        if not float(depth.max() - depth.min()) <= tolerance * size:
            return False
        heights.append(float(depth.mean()))
    return max(heights) - min(heights) > tolerance * max(map(abs, heights))


def _constants(channel_axis: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield functions that make an output constant over space: mean, maximum, and positive numbers.

    The following layers are trained on values like the first two. If these layers cut negative values off,
    only the positive numbers remain.
    """

    def over_space(output: Tensor) -> tuple[int, ...]:
        return tuple(axis for axis in range(1, output.dim()) if axis != channel_axis % output.dim())

    def mean(output: Tensor) -> Tensor:
        return output.mean(over_space(output), keepdim=True).expand_as(output).clone()

    def highest(output: Tensor) -> Tensor:
        return output.amax(over_space(output), keepdim=True).expand_as(output).clone()

    def positive(output: Tensor) -> Tensor:
        steps = torch.linspace(1, 2, output.shape[channel_axis], device=output.device, dtype=output.dtype)
        return highest(output).abs() + (steps.view(-1, 1, 1) if channel_axis == 1 else steps)

    yield from (mean, highest, positive)
