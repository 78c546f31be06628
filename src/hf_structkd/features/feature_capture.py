"""Capturing the feature map that the pair-wise term compares."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .capture import HookedCapture
from .classifier import find_classifier
from .probe import first_argument, first_dropout_before, unwrap
from .regressor import find_regressor
from .tokens import tokens_to_map


class FeatureCapture(HookedCapture):
    """One feature map of a model's forward, with its autograd graph.

    `before_classifier`, `before_regressor` and `of_module` build a capture. The hooks are on the unwrapped
    model and do nothing outside `recording()`. If the module is called several times, the last call counts.

    Attributes:
        description: Name of the captured feature for people, such as "input of decode_head.classifier".

    Example:
        >>> capture = FeatureCapture.before_classifier(model, pixel_values)
        >>> with capture.recording():
        ...     outputs = model(pixel_values)
        >>> feature = capture.pop()  # (B, C, h, w)
    """

    def __init__(
        self,
        model: nn.Module,
        module: nn.Module,
        *,
        side: Literal["input", "output"],
        channels_last: bool,
        description: str,
    ) -> None:
        """Register the hooks; the class methods choose the arguments."""
        super().__init__(description)
        self._channels_last = channels_last
        self._overwritten_by_module = side == "input" and bool(getattr(module, "inplace", False))
        self._tensor: Tensor | None = None
        self._version: int | None = None
        self._image_size = (0, 0)
        keep = (
            module.register_forward_pre_hook(self._keep_input, with_kwargs=True)
            if side == "input"
            else module.register_forward_hook(self._keep_output)
        )
        size = unwrap(model).register_forward_pre_hook(self._keep_image_size, with_kwargs=True)
        self._handles += [keep, size]

    @classmethod
    def before_classifier(cls, model: nn.Module, pixel_values: Tensor) -> FeatureCapture:
        """Capture the input of the classifier, before any dropout directly in front of it.

        Dropout would add noise to the affinities: one common segmentation head uses a rate of 0.8, which sets
        four of five channels to zero in every step.

        Args:
            model: The model, with or without wrappers.
            pixel_values: Images that the model accepts, (B, 3, H, W); the probe uses only the first.

        Raises:
            ValueError: If no classifier is found.
        """
        return cls._before(unwrap(model), find_classifier(model, pixel_values), pixel_values)

    @classmethod
    def before_regressor(
        cls, model: nn.Module, pixel_values: Tensor, *, get_map: Callable[[Any], Tensor]
    ) -> FeatureCapture:
        """Capture the input of the last layer before the depth map, before any dropout in front of it.

        Args:
            model: The model, with or without wrappers.
            pixel_values: Images that the model accepts, (B, 3, H, W); the probe uses only the first.
            get_map: Reads the depth map from the model's output, as in `find_regressor`.

        Raises:
            ValueError: If no such module is found.
        """
        return cls._before(unwrap(model), find_regressor(model, pixel_values, get_map=get_map), pixel_values)

    @classmethod
    def _before(cls, model: nn.Module, name: str, pixel_values: Tensor) -> FeatureCapture:
        module = model.get_submodule(name)
        dropout = first_dropout_before(model, module, pixel_values[:1])
        return cls(
            model,
            module if dropout is None else model.get_submodule(dropout),
            side="input",
            channels_last=isinstance(module, nn.Linear),
            description=f"input of {name}" + (f", before {dropout}" if dropout else ""),
        )

    @classmethod
    def of_module(cls, model: nn.Module, name: str) -> FeatureCapture:
        """Capture the output of the module called `name`.

        Args:
            model: The model, with or without wrappers.
            name: The name as in `model.named_modules()`, with or without the wrappers' `module.` and
                `_orig_mod.`.

        Raises:
            ValueError: If the model has no such module.
        """
        model = unwrap(model)
        modules = {_without_wrappers(key): (key, module) for key, module in model.named_modules() if key}
        found = modules.get(_without_wrappers(name)) or modules.get(_without_wrappers(name, leading="module"))
        if found is None:
            close = difflib.get_close_matches(name, modules, n=3, cutoff=0.4)
            raise ValueError(
                f"{type(model).__name__} has no module named {name!r}"
                + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ".")
            )
        name, module = found
        # A subclass of LayerNorm may permute axes; only LayerNorm itself surely keeps channels last.
        channels_last = isinstance(module, nn.Linear) or type(module) is nn.LayerNorm
        return cls(model, module, side="output", channels_last=channels_last, description=f"output of {name}")

    def _forget(self) -> None:
        self._tensor = None

    def pop(self) -> Tensor:
        """Return the captured map (B, C, h, w) and release it, so that its graph can be freed.

        Raises:
            RuntimeError: If no map was captured, or if it was overwritten in place afterwards.
            ValueError: If the captured tensor is not a map.
        """
        tensor, self._tensor = self._tensor, None
        if tensor is None:
            raise RuntimeError(
                f"nothing was captured as {self.description}: run the model inside `recording()`, "
                "and read the feature once."
            )
        if self._version is not None and tensor._version != self._version:
            raise RuntimeError(
                f"the {self.description} was overwritten in place after it was captured, so it is not what "
                "was computed there any more; capture the output of the module that overwrites it."
            )
        return self._to_map(tensor)

    def pop_maps(self) -> tuple[Tensor, ...]:
        """Return the map of `pop` as a tuple of one, because other captures return several maps."""
        return (self.pop(),)

    def _keep(self, tensor: Tensor) -> None:
        self._tensor = tensor.clone() if self._overwritten_by_module else tensor
        # Tensors in a traced graph and inference tensors have no versions.
        versioned = not torch.compiler.is_compiling() and not tensor.is_inference()
        self._version = self._tensor._version if versioned else None

    def _keep_input(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if self._recording:
            self._keep(first_argument(args, kwargs))

    def _keep_output(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._recording:
            self._keep(_last_tensor(output, self.description))

    def _keep_image_size(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if self._recording:
            image = kwargs["pixel_values"] if "pixel_values" in kwargs else first_argument(args, kwargs)
            height, width = image.shape[-2:]
            self._image_size = (height, width)

    def _to_map(self, tensor: Tensor) -> Tensor:
        if tensor.dim() == 4:
            return tensor.permute(0, 3, 1, 2) if self._channels_last else tensor
        if tensor.dim() == 3:
            return tokens_to_map(tensor, *self._image_size)
        raise ValueError(
            f"the {self.description} must be a map (B, C, h, w) or tokens (B, N, C), got shape "
            f"{tuple(tensor.shape)}; name another module with `student_feature` or `teacher_feature`."
        )


def _without_wrappers(name: str, *, leading: str | None = None) -> str:
    """Drop the wrappers' parts of a module's name, and all parts at its start that equal `leading`."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while parts and parts[0] == leading:
        parts = parts[1:]
    return ".".join(parts)


def _last_tensor(output: Any, description: str) -> Tensor:
    """Return the tensor that a module returned, or the last tensor of a sequence of maps."""
    if isinstance(output, Tensor):
        return output
    items = output if isinstance(output, tuple | list) else ()
    tensors = [item for item in items if isinstance(item, Tensor)]
    # A tuple of hidden states (B, N, C) and attentions (B, heads, N, N) is not a sequence of maps.
    if len({tensor.dim() for tensor in tensors}) != 1:
        raise ValueError(
            f"the {description} must be a tensor or a sequence of maps, got {type(output).__name__}; "
            "name another module with `student_feature` or `teacher_feature`."
        )
    return tensors[-1]
