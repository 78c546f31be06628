"""A plain `torch.nn.Module` as a model of Transformers: it trains, and is saved and loaded like any other."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..features.probe import probing
from .plain_module import ModuleConfig, ModuleForObjectDetection, ModuleForSemanticSegmentation
from .wrapped_module import KINDS, Reader, model_around

logger = logging.getLogger(__name__)

_LARGEST_SHARE = 4.0


def wrap_model(
    module: nn.Module | Callable[..., nn.Module],
    arguments: Mapping[str, Any] | None = None,
    *,
    task: str,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: tuple[int, int],
    id2label: Mapping[int, str] | None = None,
    read: Reader = None,
    feature: str | Sequence[str] = (),
) -> PreTrainedModel:
    """Make a plain network a model of Transformers, as a teacher, as a student, or as both.

    Saved, it is a folder of weights, configuration, image processor and the code of the network, which any
    Transformers loads with `trust_remote_code=True`. For this the network is built again, from `module` and
    `arguments`: these belong to a student, and to a teacher that is to be saved.

    Args:
        module: A class or function that builds the network, or the network itself.
        arguments: Keyword arguments of that class, JSON values. With a network they are those that its class
            was called with; a network without them can only teach.
        task: "segmentation", "depth" or "detection".
        mean: Mean of each channel, red first, that is subtracted from images in 0..1.
        std: By what each channel is divided afterwards.
        image_size: Height and width in pixels to which a pipeline resizes its images; one of this size is
            shown to the network here.
        id2label: The classes by their ids, from 0; None for depth.
        read: How the answer is read from what the network returns: a function at the top of a file, or a
            key, an attribute or a place; None takes the output itself. The answer is logits (B, K, h, w),
            depth (B, h, w) or (B, 1, h, w), or for detection a pair, see `ModuleForObjectDetection`.
        feature: Modules of the network whose outputs are compared as features; empty finds one.

    Returns:
        The model, in the mode of the network; a network that was given is `inner` itself, no copy.

    Raises:
        ValueError: If an argument is none of these, or the network's answer is no answer to the task.

    Example:
        >>> student = wrap_model(UNet, {"width": 16}, task="segmentation", id2label={0: "road", 1: "car"},
        ...                      mean=(0.5,) * 3, std=(0.5,) * 3, image_size=(64, 64))
    """
    if task not in KINDS:
        raise ValueError(f"`task` must be one of {', '.join(KINDS)}, got {task!r}; name one of these.")
    kind, given = KINDS[task], _as_json(arguments)
    config = ModuleConfig(
        arguments=given,
        feature_modules=[f"inner.{name}" for name in ([feature] if isinstance(feature, str) else feature)],
        **_image_settings(mean, std, image_size),
        processor_class=kind.processor,
        **_labels(task, id2label),
    )
    network, build = _network(module, given)
    model = model_around(network, config, task, read=read, build=build)
    try:
        check_answer(model, image_size)
    except RuntimeError as error:
        raise ValueError(
            f"`module` refused images of {image_size[0]} × {image_size[1]} "
            f"({' '.join(str(error).split())}); pass an `image_size` that it takes."
        ) from error
    return model


def check_answer(model: PreTrainedModel, size: tuple[int, int]) -> None:
    """Run a model on one image, and refuse an answer that another convention has written.

    Raises:
        ValueError: If the answer is no answer to the task.
        RuntimeError: If the network refuses an image of this size.
    """
    image = torch.linspace(-1, 1, 3 * size[0] * size[1]).view(1, 3, *size)
    placed = next(model.parameters(), image)
    with probing(model):
        output = model(image.to(placed.device, placed.dtype))
    if isinstance(model, ModuleForSemanticSegmentation) and _are_probabilities(output.logits):
        raise ValueError(
            "`read` must return logits, got probabilities, which are 1 in sum over the classes; return "
            "`probabilities.clamp(min=1e-8).log()`."
        )
    if hasattr(output, "logits") and _may_be_sigmoids(output.logits):
        logger.warning(
            "`read` must return logits, and all that it returned for one image lie between 0 and 1: if they "
            "come from a sigmoid, return `scores.logit(eps=1e-6)`."
        )
    if isinstance(model, ModuleForObjectDetection):
        largest = float(output.pred_boxes.abs().max())
        if largest > _LARGEST_SHARE:
            raise ValueError(
                f"`read` must return boxes in shares of the image's sides, got values up to {largest:.0f}; "
                "divide them by the width and the height."
            )
        if output.logits.shape[-1] == model.config.num_labels + 1:
            model.config.processor_class = "DetrImageProcessor"


def _network(
    module: nn.Module | Callable[..., nn.Module], arguments: Mapping[str, Any] | None
) -> tuple[nn.Module, Callable[..., nn.Module] | None]:
    """Return the network and what builds it, None where that is not known."""
    if isinstance(module, nn.Module) and arguments is None:
        return module, None
    build = type(module) if isinstance(module, nn.Module) else module
    try:
        with torch.random.fork_rng(devices=[], enabled=isinstance(module, nn.Module)):
            built = build(**(arguments or {}))
    except TypeError as error:
        raise ValueError(
            f"`module` must be a network, or be called with keyword `arguments` to build one, got "
            f"{getattr(build, '__name__', build)} and {arguments} ({error}); correct the arguments."
        ) from error
    if not isinstance(built, nn.Module):
        raise ValueError(
            f"`module` must build a torch.nn.Module, got {type(built).__name__}; pass a class or a function "
            "that returns one."
        )
    if isinstance(module, nn.Module):
        _refuse_other_network(module, built, arguments)
        built = module
    return built, build


def _refuse_other_network(module: nn.Module, built: nn.Module, arguments: Mapping[str, Any] | None) -> None:
    shapes = [{k: v.shape for k, v in one.state_dict().items()} for one in (module, built)]
    if shapes[0] != shapes[1] or repr(module) != repr(built):
        raise ValueError(
            f"`arguments` must be those that built the network, and {type(module).__name__} with {arguments} "
            "has other layers; correct them, or pass the class in place of the network."
        )


def _as_json(arguments: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the arguments as they come back from a file, so that the network is built of the same."""
    try:
        return None if arguments is None else dict(json.loads(json.dumps(dict(arguments))))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`arguments` must be a mapping of JSON values, because they are saved, got {arguments!r} "
            f"({error}); pass numbers, texts, lists and mappings."
        ) from error


def _image_settings(
    mean: Sequence[float], std: Sequence[float], image_size: tuple[int, int]
) -> dict[str, Any]:
    values = {"image_mean": list(map(float, mean)), "image_std": list(map(float, std))}
    if [len(value) for value in values.values()] != [3, 3] or min(values["image_std"]) <= 0:
        raise ValueError(
            f"`mean` and `std` must be three numbers each, for images in 0..1, `std` above 0, got {mean} and "
            f"{std}; a network of images in 0..255 has mean 0 and std 1/255."
        )
    size = [int(side) for side in image_size]
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"`image_size` must be a height and a width in pixels, got {image_size}.")
    return {**values, "image_size": size}


def _labels(task: str, id2label: Mapping[int, str] | None) -> dict[str, Any]:
    if (id2label is not None) != KINDS[task].has_classes:
        raise ValueError(
            f"`id2label` must name the classes of segmentation and detection, and be left out for depth, got "
            f"{id2label} for {task}; correct it."
        )
    if id2label is None:
        return {}
    if sorted(id2label) != list(range(len(id2label))):
        raise ValueError(f"`id2label` must have the ids 0 to {len(id2label) - 1}, got {sorted(id2label)}.")
    return {"id2label": dict(id2label), "label2id": {name: label for label, name in id2label.items()}}


def _are_probabilities(logits: Tensor) -> bool:
    return bool((logits >= 0).all()) and bool(((logits.sum(dim=1) - 1).abs() < 1e-3).all())


def _may_be_sigmoids(logits: Tensor) -> bool:
    # The logits of a network that starts from random weights can lie there too, so that it is no error.
    return bool((logits >= 0).all()) and 0 < float(logits.max()) <= 1
