"""Capturing the feature map that the pair-wise term compares: the last one before the classifier."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ._classifier import (
    find_classifier,
    first_argument,
    first_dropout_before,
    read_logits,
    remove_hooks,
    unwrap,
)

__all__ = ["FeatureCapture", "find_classifier", "tokens_to_map", "unwrap"]

_MAX_PREFIX_TOKENS = 9


def tokens_to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Lay a sequence of tokens back on the image, dropping the prefix (class and register tokens).

    The grid is the one that square patches make on the image: both sides divided by the same patch size.
    Patches that divide the image without remainder, behind the shortest prefix of at most 9 tokens, come
    before patches with a remainder, which is cut off or, without a prefix, padded.

    Args:
        tokens: The prefix, then the image's tokens row by row.
        height: Height of the image.
        width: Width of the image.

    Shape:
        - tokens: (B, prefix + h * w, C)
        - output: (B, C, h, w)

    Raises:
        ValueError: If no grid of square patches has that many tokens, or more than one has.
    """
    count = tokens.shape[1]
    cut: set[tuple[int, tuple[int, int]]] = set()
    padded: set[tuple[int, tuple[int, int]]] = set()
    whole: set[tuple[int, tuple[int, int]]] = set()
    for patch in range(1, min(height, width) + 1):
        grid = (height // patch, width // patch)
        prefix = count - grid[0] * grid[1]
        if 0 <= prefix <= _MAX_PREFIX_TOKENS:
            cut.add((prefix, grid))
            if height % patch == 0 and width % patch == 0:
                whole.add((prefix, grid))
        grid = (-(-height // patch), -(-width // patch))
        if grid[0] * grid[1] == count:
            padded.add((0, grid))
    exact = padded | {fit for fit in cut if fit[0] == 0}
    grids = {grid for _, grid in exact | ({min(whole)} if whole else cut)}
    if len(grids) != 1:
        raise ValueError(
            f"{count} tokens cannot be laid on a {height}x{width} image: "
            + (f"the grids {sorted(grids)} all fit" if grids else "no grid of square patches fits")
            + "; pick a module that puts out a map (B, C, h, w) with `student_feature` or `teacher_feature`."
        )
    rows, columns = grids.pop()
    image_tokens = tokens[:, count - rows * columns :]
    return image_tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], rows, columns)


class FeatureCapture:
    """Keeps one feature map of a model's forward, with its autograd graph.

    Built by `before_classifier` or `of_module`. The hooks go on the unwrapped model and do nothing outside
    `recording()`: gradient checkpointing runs forwards again during backward, and these must not overwrite
    what was captured. Of several calls of the module the last counts.

    Attributes:
        description: What is captured, for people: "input of decode_head.classifier".

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
        """Register the hooks; prefer `before_classifier` and `of_module`, which choose the arguments."""
        self.description = description
        self._channels_last = channels_last
        self._overwritten_by_module = side == "input" and bool(getattr(module, "inplace", False))
        self._recording = False
        self._tensor: Tensor | None = None
        self._version: int | None = None
        self._image_size = (0, 0)
        keep = (
            module.register_forward_pre_hook(self._keep_input, with_kwargs=True)
            if side == "input"
            else module.register_forward_hook(self._keep_output)
        )
        size = unwrap(model).register_forward_pre_hook(self._keep_image_size, with_kwargs=True)
        self._handles: list[RemovableHandle] = [keep, size]

    @classmethod
    def before_classifier(
        cls,
        model: nn.Module,
        pixel_values: Tensor,
        *,
        get_logits: Callable[[Any], Tensor] = read_logits,
    ) -> FeatureCapture:
        """Capture what the classifier reads, before any dropout that stands directly in front of it.

        Dropped features would make the affinities noise: with the 0.8 that one common segmentation head uses,
        four of five channels are zero in every step.

        Args:
            model: The model, wrapped or not.
            pixel_values: Images that it accepts; the first is used for probing.
            get_logits: Reads the logits from the model's output, as in `find_classifier`.

        Raises:
            ValueError: If no classifier is found.
        """
        model = unwrap(model)
        name = find_classifier(model, pixel_values, get_logits=get_logits)
        classifier = model.get_submodule(name)
        dropout = first_dropout_before(model, classifier, pixel_values[:1])
        return cls(
            model,
            classifier if dropout is None else model.get_submodule(dropout),
            side="input",
            channels_last=isinstance(classifier, nn.Linear),
            description=f"input of {name}" + (f", before {dropout}" if dropout else ""),
        )

    @classmethod
    def find(cls, model: nn.Module, pixel_values: Tensor, name: str | None) -> FeatureCapture:
        """Capture the module of this name, or the map before the classifier where no name is given."""
        return cls.before_classifier(model, pixel_values) if name is None else cls.of_module(model, name)

    @classmethod
    def of_module(cls, model: nn.Module, name: str) -> FeatureCapture:
        """Capture the output of the module called `name`.

        Args:
            model: The model, wrapped or not.
            name: As in `model.named_modules()`; the wrappers' `module.` and `_orig_mod.` may be in it or not.

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
        # A subclass of LayerNorm may permute: only the plain one is known to keep channels last.
        channels_last = isinstance(module, nn.Linear) or type(module) is nn.LayerNorm
        return cls(model, module, side="output", channels_last=channels_last, description=f"output of {name}")

    @contextmanager
    def recording(self) -> Iterator[FeatureCapture]:
        """Capture what the forwards inside the `with` block compute, and forget what was captured before."""
        self._tensor = None
        self._recording = True
        try:
            yield self
        except BaseException:
            self._tensor = None
            raise
        finally:
            self._recording = False

    @property
    def feature(self) -> Tensor:
        """The captured map (B, C, h, w). It stays here, and its graph with it: prefer `pop`.

        Raises:
            RuntimeError: If nothing was captured, or if it was overwritten in place afterwards.
            ValueError: If what was captured is no map.
        """
        if self._tensor is None:
            raise RuntimeError(
                f"nothing was captured as {self.description}: run the model inside `recording()`, "
                "and read the feature once."
            )
        if self._version is not None and self._tensor._version != self._version:
            raise RuntimeError(
                f"the {self.description} was overwritten in place after it was captured, so it is not what "
                "was computed there any more; capture the output of the module that overwrites it."
            )
        return self._to_map(self._tensor)

    def pop(self) -> Tensor:
        """Return `feature` and let go of it, so that its graph can be freed; raises like it."""
        try:
            return self.feature
        finally:
            self._tensor = None

    def remove(self) -> None:
        """Take the hooks off the model."""
        remove_hooks(self._handles)
        self._tensor = None

    def _keep(self, tensor: Tensor) -> None:
        self._tensor = tensor.clone() if self._overwritten_by_module else tensor
        # Neither a traced graph nor an inference tensor has versions.
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
    """Drop the wrappers' parts of a module's name; `leading` only on request, it may be a real name."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while parts and parts[0] == leading:
        parts = parts[1:]
    return ".".join(parts)


def _last_tensor(output: Any, description: str) -> Tensor:
    """Return a module's output: the tensor, or of a sequence of maps the last."""
    if isinstance(output, Tensor):
        return output
    tensors = (
        [item for item in output if isinstance(item, Tensor)] if isinstance(output, tuple | list) else []
    )
    # Hidden states (B, N, C) beside attentions (B, heads, N, N) are no sequence of maps.
    if len({tensor.dim() for tensor in tensors}) != 1:
        raise ValueError(
            f"the {description} must be a tensor or a sequence of maps, got {type(output).__name__}; "
            "name another module with `student_feature` or `teacher_feature`."
        )
    return tensors[-1]
