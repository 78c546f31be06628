"""Finding the module that writes a model's logits, by a probe instead of a table of architectures.

The classifier is the module whose output, shifted by one constant per class, shifts the logits by exactly
these constants. An auxiliary head, a hidden layer as wide as the number of classes, or a layer in front of a
non-linearity does not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle

_PROJECTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def read_logits(outputs: Any) -> Tensor:
    """Return the logits of a Transformers output."""
    logits: Tensor = outputs.logits
    return logits


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside the wrappers of data parallelism and `torch.compile`."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model


def find_classifier(
    model: nn.Module, pixel_values: Tensor, *, get_logits: Callable[[Any], Tensor] = read_logits
) -> str:
    """Name the module that writes the model's logits.

    Every convolution and linear layer with as many output channels as there are classes is tried, from the
    last called to the first: its last call in a forward is shifted by one constant per class, and it is the
    classifier if the logits move by exactly these constants. The model is left as it was: the probe runs in
    `eval()` and without gradients on one image, then restores the mode of every submodule.

    Args:
        model: The model, wrapped or not.
        pixel_values: Images that it accepts; the first is used.
        get_logits: Reads the logits, (B, K, h, w) or (B, Q, K), from the model's output.

    Returns:
        The name as in `unwrap(model).named_modules()`.

    Raises:
        ValueError: If no module passes, as with a non-linearity after the last layer.

    Example:
        >>> find_classifier(SegformerForSemanticSegmentation(config), torch.rand(1, 3, 64, 64))
        'decode_head.classifier'
    """
    model, image = unwrap(model), pixel_values[:1]
    modules = dict(model.named_modules())
    calls: list[tuple[str, int]] = []
    dtypes: dict[str, torch.dtype] = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, _: Any, output: Tensor) -> None:
            calls.append((name, output.shape[_channel_axis(module)]))
            dtypes[name] = output.dtype

        return keep

    with _probing(model):
        handles = [
            m.register_forward_hook(record(n)) for n, m in modules.items() if isinstance(m, _PROJECTIONS)
        ]
        try:
            logits = get_logits(model(image))
        finally:
            remove_hooks(handles)
        classes = logits.shape[_class_axis(logits)]
        names = [name for name, _ in calls]
        last_channels = dict(calls)
        candidates = [name for name in dict.fromkeys(reversed(names)) if last_channels[name] == classes]
        for name in candidates:
            with _shifted_call(modules[name], names.count(name), logits) as shift:
                moved = get_logits(model(image))
            if _moved_by(moved, logits, shift, dtypes[name]):
                return name
    raise ValueError(
        f"found no classifier in {type(model).__name__}: {len(candidates)} of its layers put out {classes} "
        f"channels like the logits ({', '.join(candidates) or 'none'}), and none moves the logits one to "
        "one; name the module whose output is to be compared with `student_feature` or `teacher_feature`."
    )


def _channel_axis(module: nn.Module) -> int:
    return -1 if isinstance(module, nn.Linear) else 1


def _class_axis(logits: Tensor) -> int:
    return 1 if logits.dim() == 4 else -1


def _along(values: Tensor, axis: int) -> Tensor:
    """Shape a vector so that it broadcasts along axis 1 of a map, or along the last axis."""
    return values.view(-1, 1, 1) if axis == 1 else values


@contextmanager
def _probing(model: nn.Module) -> Iterator[None]:
    """Run in `eval()` without gradients, and give every submodule its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # Not inference_mode: what a model caches in it could never be used for training afterwards.
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _shifted_call(module: nn.Module, call: int, logits: Tensor) -> Iterator[Tensor]:
    """Add one constant per class to what the module's `call`-th call puts out."""
    classes = logits.shape[_class_axis(logits)]
    scale = logits.abs().max().clamp(min=1)
    shift = torch.linspace(1, 2, classes, device=logits.device).to(logits.dtype) * scale
    done = 0

    def add(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        nonlocal done
        done += 1
        return output + _along(shift, _channel_axis(module)).to(output.dtype) if done == call else output

    handle = module.register_forward_hook(add)
    try:
        yield shift
    finally:
        handle.remove()


def _moved_by(moved: Tensor, logits: Tensor, shift: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether every logit moved by its class's shift, up to rounding.

    The coarser precision counts: under autocast a layer puts out `dtype`, which the logits' own may hide.
    """
    eps = max(torch.finfo(logits.dtype).eps, torch.finfo(dtype).eps)
    tolerance = max(1e-4, 32 * eps) * float(shift.max())
    error = moved.float() - logits.float() - _along(shift.float(), _class_axis(logits))
    return float(error.abs().max()) <= tolerance


def first_dropout_before(model: nn.Module, classifier: nn.Module, image: Tensor) -> str | None:
    """Name the first dropout whose output, in `eval()`, is the very tensor that the classifier reads.

    In `eval()` a dropout hands its input on, so a chain of them shares one memory address. The tensors are
    held until the end: a freed address would be used again. The version tells an in-place layer in between.
    """
    passed: dict[str, tuple[int, torch.Size, int]] = {}
    held: list[Tensor] = []
    read: list[tuple[int, torch.Size, int]] = []

    def identity(tensor: Tensor) -> tuple[int, torch.Size, int]:
        held.append(tensor)
        return tensor.data_ptr(), tensor.shape, tensor._version

    def keep_output(name: str) -> Callable[..., None]:
        return lambda module, _, output: passed.update({name: identity(output)})

    def keep_input(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        read[:] = [identity(first_argument(args, kwargs))]

    dropouts = [(n, m) for n, m in model.named_modules() if isinstance(m, _DropoutNd)]
    handles = [module.register_forward_hook(keep_output(name)) for name, module in dropouts]
    handles.append(classifier.register_forward_pre_hook(keep_input, with_kwargs=True))
    with _probing(model):
        try:
            model(image)
        finally:
            remove_hooks(handles)
    return next((name for name, tensor in passed.items() if [tensor] == read), None)


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return what a module was called with, by position or by name."""
    tensor: Tensor = args[0] if args else next(iter(kwargs.values()))
    return tensor


def remove_hooks(handles: list[RemovableHandle]) -> None:
    """Take the hooks off their modules."""
    for handle in handles:
        handle.remove()
