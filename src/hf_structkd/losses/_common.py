"""Checks and arithmetic that several losses share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TEMPERATURES = (1e-6, 1e6)
_WHAT_TO_RESHAPE = {
    "(B, C, h, w)": "lay tokens back on their grid",
    "(B, h, w)": "drop a channel axis with `.squeeze(1)`",
}


def check_number(name: str, value: float, *, above_zero: bool = False, at_most: float = math.inf) -> None:
    """Reject anything but a finite number of at least 0, or above 0, and of at most a maximum.

    Raises:
        TypeError: If the value is no number.
        ValueError: If it is NaN, inf or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}; pass a float such as 0.5.")
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0) or value > at_most:
        bound = "above 0" if above_zero else "at least 0"
        bound += "" if at_most == math.inf else f" and at most {at_most:g}"
        raise ValueError(f"`{name}` must be finite and {bound}, got {value}; pass a float such as 0.5.")


def check_temperature(temperature: float) -> None:
    """Reject a softmax temperature that is not a number above 0 whose square is far from overflow."""
    check_number("temperature", temperature, above_zero=True)
    if not _TEMPERATURES[0] <= temperature <= _TEMPERATURES[1]:
        raise ValueError(
            f"`temperature` must be from {_TEMPERATURES[0]:g} to {_TEMPERATURES[1]:g}, because logits or its "
            f"square would overflow, got {temperature:g}; pass a float such as 2.0."
        )


def check_tensor(name: str, value: Tensor, axes: str) -> None:
    """Reject a tensor that is empty, not floating point, or without these axes.

    Args:
        name: The argument's name, for the message.
        value: The tensor to check.
        axes: The names of the axes, for example "(B, C, h, w)".

    Raises:
        TypeError: If the dtype is not floating point.
        ValueError: If there are more or fewer axes, or one of them is empty.
    """
    if value.ndim != axes.count(",") + 1 or value.numel() == 0:
        hint = _WHAT_TO_RESHAPE.get(axes, "move the axes")
        raise ValueError(
            f"`{name}` must be non-empty with axes {axes}, got shape {tuple(value.shape)}; "
            f"{hint}, or add a batch axis if it is missing."
        )
    if not value.is_floating_point():
        raise TypeError(
            f"`{name}` must be floating point, got {value.dtype}; pass raw model outputs, or depth in metres."
        )


def check_pair(axes: str, hint: str, **tensors: Tensor) -> None:
    """Check two tensors with `check_tensor`, and reject them if their shapes differ.

    Args:
        axes: The names of the axes, for example "(B, C, h, w)".
        hint: What to do about different shapes, for the message.
        **tensors: The two tensors by their arguments' names.

    Raises:
        TypeError: If a dtype is not floating point.
        ValueError: If an axis is missing or empty, or the shapes differ.
    """
    for name, value in tensors.items():
        check_tensor(name, value, axes)
    (first, one), (second, other) = tensors.items()
    if one.shape != other.shape:
        raise ValueError(
            f"`{first}` and `{second}` must have the same shape {axes}, got {tuple(one.shape)} and "
            f"{tuple(other.shape)}; {hint}."
        )


def check_mask(mask: Tensor | None, values: Tensor) -> None:
    """Reject a mask that is not boolean (B, h, w) on the grid of `values` (B, C, h, w); None passes.

    Raises:
        TypeError: If the dtype is not bool.
        ValueError: If the shape would have to broadcast.
    """
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(
            f"`mask` must be bool with True for counted pixels, got {mask.dtype}; "
            "write for example `labels != ignore_index`."
        )
    expected = (values.shape[0], *values.shape[2:])
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"`mask` must have shape (B, h, w) = {expected}, got {tuple(mask.shape)}; "
            "resize it to the map with nearest-neighbour interpolation."
        )


def check_places(name: str, values: Tensor) -> None:
    """Reject maps (B, C, h, w) of one pixel, on which what is compared over the image is always the same.

    Raises:
        ValueError: If there is one pixel.
    """
    if values.shape[2:].numel() < 2:
        raise ValueError(
            f"`{name}` must have at least 2 pixels, got a map of 1 × 1, which costs 0 whatever it holds; "
            "name a module of a finer map with `student_feature` and `teacher_feature`, show larger images, "
            "or leave the term out."
        )


def full_precision(values: Tensor) -> Tensor:
    """Return float64 unchanged and everything else as float32."""
    return values if values.dtype == torch.float64 else values.float()


def autocast_off(values: Tensor) -> torch.autocast:
    """Return a context in which autocast does not change operations on the device of the values."""
    return torch.autocast(values.device.type, enabled=False)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of the values where the mask is True; 0 where it is True nowhere.

    The mask has the shape of the values; None counts all. Values that do not count may be inf or NaN.
    """
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute float32 products in float32, also where the process allows TF32 or bfloat16 for them."""
    if not hasattr(torch.backends, "fp32_precision"):  # torch before 2.9 has one setting for all
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
        return
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    allowed = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, allowed, strict=True):
            backend.fp32_precision = precision


def with_gradient(value: Tensor, source: Tensor, gradient: Tensor) -> Tensor:
    """Return a scalar whose gradient with respect to `source` is known already.

    Args:
        value: The scalar, without a graph.
        source: The tensor that gets the gradient.
        gradient: The gradient of the value, in the shape of `source`; it is kept until the backward pass.
    """
    scalar: Tensor = _KnownGradient.apply(value, source, gradient)  # type: ignore[no-untyped-call]
    return scalar


class _KnownGradient(torch.autograd.Function):
    """Give a value that is computed elsewhere its gradient; it can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, source: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[None, Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return None, gradient * outer.to(gradient.dtype), None
