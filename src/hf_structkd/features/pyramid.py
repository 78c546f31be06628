"""Capturing all levels of a detector's feature pyramid for the pair-wise term."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..matching.alignment import align_to_coarser
from .capture import HookedCapture
from .probe import probing, unwrap

Size = tuple[int, int]


class _Source(NamedTuple):
    """The modules in which a group of detectors computes its pyramid.

    The names are relative to the base model.
    """

    features: str  # the module whose output is the pyramid
    grid: str | None = None  # the module whose output is the map from which the tokens are made
    prefix: int = 0  # the number of tokens before the image's tokens
    suffix: str | None = None  # the option of the configuration with the number of tokens after them


# The first entry whose modules exist in a detector is used.
_SOURCES = (
    # LW-DETR and RF-DETR have a ViT without an encoder, and return one or several maps.
    _Source("backbone.projector"),
    # YOLOS is a plain ViT; its tokens are the class token, the patches and the queries.
    _Source("layernorm", "embeddings.patch_embeddings.projection", prefix=1, suffix="num_detection_tokens"),
    # DETR, Conditional DETR, DAB-DETR and Table Transformer return the tokens of one map.
    _Source("encoder", "input_projection"),
    # The RT-DETR family returns maps; Deformable DETR returns the tokens of all levels and is given sizes.
    _Source("encoder"),
)


class PyramidCapture(HookedCapture):
    """All levels of a detector's feature pyramid in one forward, with their autograd graph.

    The levels are those that the decoder reads. The hooks are on the unwrapped model and do nothing outside
    `recording()`. If there are several forwards, the last one counts.

    Attributes:
        description: Name of the captured features for people, such as "output of model.encoder, 3 levels".

    Example:
        >>> capture = PyramidCapture.of_detector(model, pixel_values)
        >>> with capture.recording():
        ...     outputs = model(pixel_values)
        >>> [tuple(level.shape) for level in capture.pop_maps()]
        [(2, 256, 80, 80), (2, 256, 40, 40), (2, 256, 20, 20)]
    """

    def __init__(
        self,
        features: nn.Module,
        grid: nn.Module | None,
        *,
        prefix: int = 0,
        suffix: int = 0,
        description: str,
    ) -> None:
        """Register the hooks; `of_detector` chooses the arguments."""
        super().__init__(description)
        self._prefix = prefix
        self._suffix = suffix
        self._sizes: list[Size] = []
        self._maps: tuple[Tensor, ...] = ()
        self._handles.append(features.register_forward_hook(self._keep_features, with_kwargs=True))
        if grid is not None:
            self._handles.append(grid.register_forward_hook(self._keep_size))

    @classmethod
    def of_detector(cls, model: nn.Module, pixel_values: Tensor, module: str | None = None) -> PyramidCapture:
        """Capture the pyramid that the detector's decoder reads; module names tell where it is.

        Args:
            model: The detector, with or without wrappers.
            pixel_values: Images that the model accepts, (B, 3, H, W); a run on the first checks the pyramid.
            module: Name of the module that returns the pyramid; None finds it.

        Raises:
            ValueError: If no module is known to return a pyramid, or the module returns something else.
        """
        model = unwrap(model)
        source, base = _find_source(model) if module is None else (_Source(module), "")
        capture = cls(
            model.get_submodule(base + source.features),
            None if source.grid is None else model.get_submodule(base + source.grid),
            prefix=source.prefix,
            suffix=0 if source.suffix is None else getattr(model.config, source.suffix),
            description=f"output of {base}{source.features}",
        )
        try:
            with probing(model), capture.recording():
                model(pixel_values[:1])
            levels = len(capture.pop_maps())
        except BaseException:
            capture.remove()
            raise
        capture.description += f", {levels} level{'s' if levels > 1 else ''}"
        return capture

    def _forget(self) -> None:
        self._maps = ()

    def pop_maps(self) -> tuple[Tensor, ...]:
        """Return the levels (B, C, h, w), finest first, and release them and their graph.

        Raises:
            RuntimeError: If no pyramid was captured.
        """
        maps, self._maps = self._maps, ()
        if not maps:
            raise RuntimeError(
                f"nothing was captured as {self.description}: run the model inside `recording()`, and read "
                "the maps once."
            )
        return maps

    def _keep_size(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if self._recording:
            self._sizes = [(output.shape[-2], output.shape[-1])]

    def _keep_features(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if not self._recording:
            return
        features = output if isinstance(output, Tensor | list) else output[0]
        if isinstance(features, list | tuple):
            maps = list(features)
        elif features.dim() == 4:
            maps = [features]
        else:
            tokens = features[:, self._prefix : features.shape[1] - self._suffix]
            maps = tokens_to_maps(tokens, kwargs.get("spatial_shapes_list", self._sizes))
        self._maps = tuple(_finest_first(maps))


def tokens_to_maps(tokens: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """Arrange the tokens (B, sum of h * w, C) of several maps on the grids of these maps, (B, C, h, w).

    Args:
        tokens: The tokens of one map after the other, row by row.
        sizes: Height and width of each map.

    Raises:
        ValueError: If the number of tokens is not the number of places on all grids.
    """
    places = [height * width for height, width in sizes]
    if sum(places) != tokens.shape[1]:
        raise ValueError(
            f"{tokens.shape[1]} tokens cannot be laid on grids of {[tuple(size) for size in sizes]}, which "
            f"have {sum(places)} places; name a module that puts out a map (B, C, h, w) with "
            "`student_feature` or `teacher_feature`."
        )
    levels = torch.split(tokens.transpose(1, 2), places, dim=2)
    return [level.reshape(*level.shape[:2], *size) for level, size in zip(levels, sizes, strict=True)]


def pair_levels(
    student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Pair the levels of two pyramids by their size, and bring each pair to one grid.

    Each level of the pyramid with fewer levels is paired with a different level of the other pyramid. The
    choice minimises the product of the ratios between the areas, which is the sum of the distances on a
    logarithmic scale. Where choices are equally good, the one with finer levels is taken.

    Args:
        student_maps: Levels (B, C_s, h, w), in any order.
        teacher_maps: Levels (B, C_t, h, w), in any order; their sizes and their number may differ.

    Returns:
        Pairs of student and teacher, finest first, each at the smaller height and width of the two maps.

    Example:
        >>> student = [torch.rand(1, 8, 20, 20)]
        >>> teacher = [torch.rand(1, 4, side, side) for side in (80, 40, 21)]
        >>> [(tuple(s.shape), tuple(t.shape)) for s, t in pair_levels(student, teacher)]
        [((1, 8, 20, 20), (1, 4, 20, 20))]
    """
    student_maps, teacher_maps = _finest_first(student_maps), _finest_first(teacher_maps)
    fewer, more = sorted((student_maps, teacher_maps), key=len)

    def mismatch(chosen: tuple[Tensor, ...]) -> float:
        return math.prod(_area_ratio(one, other) for one, other in zip(fewer, chosen, strict=True))

    # Both pyramids are sorted by size, so that the best choice keeps the order.
    chosen = min(itertools.combinations(more, len(fewer)), key=mismatch)
    pairs = zip(fewer, chosen, strict=True) if fewer is student_maps else zip(chosen, fewer, strict=True)
    return [align_to_coarser(student, teacher) for student, teacher in pairs]


def _area(level: Tensor) -> int:
    return level.shape[-2] * level.shape[-1]


def _finest_first(maps: Sequence[Tensor]) -> list[Tensor]:
    return sorted(maps, key=_area, reverse=True)


def _area_ratio(one: Tensor, other: Tensor) -> float:
    return max(_area(one), _area(other)) / min(_area(one), _area(other))


def _find_source(model: nn.Module) -> tuple[_Source, str]:
    """Return the first of `_SOURCES` that the detector has, and the prefix of its module names."""
    names = {name for name, _ in model.named_modules()}
    base = f"{model.base_model_prefix}." if isinstance(model, PreTrainedModel) else ""
    for source in _SOURCES:
        if all(base + name in names for name in (source.features, source.grid) if name is not None):
            return source, base
    raise ValueError(
        f"found no feature pyramid in {type(model).__name__}: it has neither an encoder nor a projector "
        "where the detectors of Transformers have theirs; name the module whose output is to be compared "
        "with `student_feature` or `teacher_feature`."
    )
