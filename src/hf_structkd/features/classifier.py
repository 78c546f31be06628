"""Finding the module that writes a model's logits, by a probe instead of a table of architectures.

When one constant per class is added to the output of the classifier, the logits move by exactly these
constants. An auxiliary head, a hidden layer as wide as the number of classes, and a layer in front of a
non-linearity do not pass this test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .probe import changed, channel_axis, probing, run_recording, unwrap


def read_logits(outputs: Any) -> Tensor:
    """Return the logits of a Transformers output."""
    logits: Tensor = outputs.logits
    return logits


def find_classifier(
    model: nn.Module, pixel_values: Tensor, *, get_logits: Callable[[Any], Tensor] = read_logits
) -> str:
    """Name the module that writes the model's logits.

    The probe tries every convolution and linear layer with as many output channels as there are classes, from
    the last called to the first. It adds one constant per class to the output of the layer's last call, and
    the layer is the classifier if the logits move by exactly these constants. The probe runs in `eval()` and
    without gradients on one image, and then restores the mode of every submodule.

    Args:
        model: The model, with or without wrappers.
        pixel_values: Images that the model accepts, (B, 3, H, W); only the first is used.
        get_logits: Reads the logits, (B, K, h, w) or (B, Q, K), from the model's output.

    Returns:
        The name as in `unwrap(model).named_modules()`.

    Raises:
        ValueError: If no module passes, for example because a non-linearity follows the last layer.

    Example:
        >>> find_classifier(SegformerForSemanticSegmentation(config), torch.rand(1, 3, 64, 64))
        'decode_head.classifier'
    """
    model, image = unwrap(model), pixel_values[:1]
    with probing(model):
        outputs, calls = run_recording(model, image)
        logits = get_logits(outputs)
        classes = logits.shape[_class_axis(logits)]
        shift = _shifts(logits)
        candidates = {name: call for name, call in calls.items() if call.channels == classes}
        for name, call in candidates.items():
            along = _along(shift, channel_axis(call.module)).to(call.dtype)
            with changed(call, along.__add__):
                moved = get_logits(model(image))
            if _moved_by(moved, logits, shift, call.dtype):
                return name
    raise ValueError(
        f"found no classifier in {type(model).__name__}: {len(candidates)} of its layers put out {classes} "
        f"channels like the logits ({', '.join(candidates) or 'none'}), and none moves the logits one to "
        "one; name the module whose output is to be compared with `student_feature` or `teacher_feature`."
    )


def _class_axis(logits: Tensor) -> int:
    return 1 if logits.dim() == 4 else -1


def _along(values: Tensor, axis: int) -> Tensor:
    """Shape a vector so that it broadcasts along axis 1 of a map, or along the last axis."""
    return values.view(-1, 1, 1) if axis == 1 else values


def _shifts(logits: Tensor) -> Tensor:
    """Return one constant per class, (K,), of the same magnitude as the logits."""
    classes = logits.shape[_class_axis(logits)]
    scale = logits.abs().max().clamp(min=1)
    return torch.linspace(1, 2, classes, device=logits.device).to(logits.dtype) * scale


def _moved_by(moved: Tensor, logits: Tensor, shift: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether every logit moved by the shift of its class, up to rounding.

    Rounding follows the coarser precision: under autocast a layer computes in `dtype`, and the logits may
    have a finer one.
    """
    eps = max(torch.finfo(logits.dtype).eps, torch.finfo(dtype).eps)
    tolerance = max(1e-4, 32 * eps) * float(shift.max())
    error = moved.float() - logits.float() - _along(shift.float(), _class_axis(logits))
    return float(error.abs().max()) <= tolerance
