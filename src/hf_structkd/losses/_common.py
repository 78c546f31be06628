"""Checks and arithmetic that several losses share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def check_temperature(temperature: float) -> None:
    """Reject a softmax temperature that is not a finite number above 0.

    Args:
        temperature: The value to check.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite or not above 0.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(
            f"`temperature` must be a number, got {type(temperature).__name__}; pass a float such as 1.0."
        )
    if not math.isfinite(temperature) or temperature <= 0:
        raise ValueError(
            f"`temperature` must be finite and above 0, got {temperature}; "
            "use 1.0 for the plain softmax, more for softer class probabilities."
        )


def check_map(name: str, value: Tensor) -> None:
    """Reject a tensor that is not a non-empty floating-point map (B, C, h, w).

    Args:
        name: The argument's name, for the message.
        value: The tensor to check.

    Raises:
        TypeError: If the dtype is not floating point.
        ValueError: If there are not four axes, or one of them is empty.
    """
    if value.ndim != 4 or value.numel() == 0:
        raise ValueError(
            f"`{name}` must be a non-empty map with axes (B, C, h, w), got shape {tuple(value.shape)}; "
            "lay tokens back on their grid and add a batch axis if it is missing."
        )
    if not value.is_floating_point():
        raise TypeError(f"`{name}` must be floating point, got {value.dtype}; pass raw model outputs.")


def check_mask(mask: Tensor | None, values: Tensor) -> None:
    """Reject a mask that is not boolean (B, h, w) on the grid of `values` (B, C, h, w).

    Args:
        mask: The mask to check, or None, which passes.
        values: The map it belongs to.

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


def full_precision(values: Tensor) -> Tensor:
    """Return float64 unchanged and everything else as float32.

    Args:
        values: A floating-point tensor.

    Returns:
        The tensor the loss computes with.
    """
    return values if values.dtype == torch.float64 else values.float()


def autocast_off(values: Tensor) -> torch.autocast:
    """Return the context in which autocast leaves operations on this device alone.

    Args:
        values: A tensor on the device in question.

    Returns:
        A context manager.
    """
    return torch.autocast(values.device.type, enabled=False)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Average the values where the mask is True; 0 where it is True nowhere.

    Args:
        values: Any shape; may hold inf or NaN where the mask is False.
        mask: Bool of the same shape, True = counted; None counts everything.

    Returns:
        A scalar.
    """
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def check_number(name: str, value: float) -> None:
    """Reject anything but a finite number of at least 0.

    Raises TypeError if it is no number, ValueError if it is negative, NaN or inf.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}; pass a float such as 0.5.")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` must be finite and at least 0, got {value}; pass a float such as 0.5.")
