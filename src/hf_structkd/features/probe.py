"""Probing a model: recording which layers it calls, and changing the output of one of them.

The probes find the layer that writes the logits or the depth map without a table of architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle

_PROJECTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class LastCall(NamedTuple):
    """The last call of a layer in one forward; the outputs of all layers would need too much memory."""

    module: nn.Module
    number: int  # how many times the layer had been called, this call included
    channels: int  # the number of channels of the output
    dtype: torch.dtype  # the precision of the output


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside the wrappers of data parallelism, `torch.compile` and PEFT."""
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        elif callable(inner := getattr(model, "get_base_model", None)):  # PEFT, which may not be installed
            model = inner()
        else:
            return model


def has_adapters(model: nn.Module) -> bool:
    """Return whether PEFT has put adapters on a model, which are then all that is saved of it."""
    return bool(getattr(unwrap(model), "peft_config", None))


def channel_axis(module: nn.Module) -> int:
    """Return the axis of the channels in a layer's output."""
    return -1 if isinstance(module, nn.Linear) else 1


@contextmanager
def probing(model: nn.Module) -> Iterator[None]:
    """Set `eval()` and turn gradients off inside the block; then restore the mode of every submodule."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # Tensors that a model caches under inference_mode could not be used for training afterwards.
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def run_recording(model: nn.Module, image: Tensor) -> tuple[Any, dict[str, LastCall]]:
    """Run the model, and return its output and the last call of each convolution and linear layer.

    The dict starts with the layer that was called last. Call this function inside `probing`.
    """
    calls: dict[str, LastCall] = {}

    def record(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, _: Any, output: Tensor) -> None:
            number = calls.pop(name).number + 1 if name in calls else 1
            calls[name] = LastCall(module, number, output.shape[channel_axis(module)], output.dtype)

        return keep

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _PROJECTIONS)]
    handles = [module.register_forward_hook(record(name)) for name, module in layers]
    try:
        outputs = model(image)
    finally:
        remove_hooks(handles)
    return outputs, dict(reversed(calls.items()))


@contextmanager
def changed(call: LastCall, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the output of this call by `change(output)`; other calls of the layer stay as they are."""
    done = 0

    def replace(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        nonlocal done
        done += 1
        return change(output) if done == call.number else output

    handle = call.module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def first_dropout_before(model: nn.Module, classifier: nn.Module, image: Tensor) -> str | None:
    """Name the first dropout whose output, in `eval()`, is the same tensor as the classifier's input.

    In `eval()` a dropout returns its input, so that a chain of dropouts shares one memory address. The
    tensors are kept until the end, because a freed address would be used again. A different version of the
    tensor shows that a layer in between worked in place.
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
    with probing(model):
        try:
            model(image)
        finally:
            remove_hooks(handles)
    return next((name for name, tensor in passed.items() if [tensor] == read), None)


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the first argument of a module's call, given by position or by name."""
    tensor: Tensor = args[0] if args else next(iter(kwargs.values()))
    return tensor


def remove_hooks(handles: list[RemovableHandle]) -> None:
    """Remove the hooks from their modules."""
    for handle in handles:
        handle.remove()
