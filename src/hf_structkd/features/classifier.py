"""Finding the module that writes a model's logits, by a probe instead of a table of architectures.

When one constant per class is added to the output of the classifier, the logits move by exactly these
constants. An auxiliary head, a hidden layer as wide as the number of classes, and a layer in front of a
non-linearity do not pass this test.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .probe import changed, channel_axis, probing, run_recording, unwrap


def find_classifier(model: nn.Module, pixel_values: Tensor) -> str:
    """Name the module that writes the model's logits (B, K, h, w).

    The probe tries every convolution and linear layer with as many output channels as there are classes, from
    the last called to the first. It adds one constant per class to the output of the layer's last call, and
    the layer is the classifier if the logits move by exactly these constants. The probe runs in `eval()` and
    without gradients on one image, and then restores the mode of every submodule.

    Args:
        model: The model, with or without wrappers.
        pixel_values: Images that the model accepts, (B, 3, H, W); only the first is used.

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
        logits = outputs.logits
        classes = logits.shape[1]
        shift = _shifts(logits)
        candidates = {name: call for name, call in calls.items() if call.channels == classes}
        for name, call in candidates.items():
            # The shift broadcasts along axis 1 of a map, or along the last axis.
            along = shift.view(-1, 1, 1) if channel_axis(call.module) == 1 else shift
            with changed(call, along.to(call.dtype).__add__):
                moved = model(image).logits
            if _moved_by(moved, logits, shift, call.dtype):
                return name
    raise ValueError(
        f"found no classifier in {type(model).__name__}: {len(candidates)} of its layers put out {classes} "
        f"channels like the logits ({', '.join(candidates) or 'none'}), and none moves the logits one to "
        "one; name the module whose output is to be compared with `student_feature` or `teacher_feature`."
    )


def _shifts(logits: Tensor) -> Tensor:
    """Return one constant per class, (K,), of the same magnitude as the logits."""
    scale = logits.abs().max().clamp(min=1)
    return torch.linspace(1, 2, logits.shape[1], device=logits.device).to(logits.dtype) * scale


def _moved_by(moved: Tensor, logits: Tensor, shift: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether every logit moved by the shift of its class, up to rounding.

    Rounding follows the coarser precision: under autocast a layer computes in `dtype`, and the logits may
    have a finer one.
    """
    eps = max(torch.finfo(logits.dtype).eps, torch.finfo(dtype).eps)
    tolerance = max(1e-4, 32 * eps) * float(shift.max())
    error = moved.float() - logits.float() - shift.float().view(-1, 1, 1)
    return float(error.abs().max()) <= tolerance
