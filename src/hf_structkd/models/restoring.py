"""Reading a checkpoint back into the student that trains, whatever was changed in it or added to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import convert_and_load_state_dict_in_model
from transformers.modeling_utils import LoadStateDictConfig

from .sharding import is_sharded, part_like

_ADAPTER_FILE = "adapter_model.safetensors"
_ADAPTER_PREFIX = "base_model.model."  # PEFT puts it before every name in that file


def restore_student(model: nn.Module, folder: str, *, wrapped: Callable[[str], None]) -> None:
    """Read a checkpoint back into a student; `wrapped` does so where PEFT's wrapper is around it."""
    if isinstance(model, PreTrainedModel):
        restore_weights(model, folder)
    else:
        refuse_without_adapters(folder)
        wrapped(folder)


def restore_weights(model: PreTrainedModel, folder: str | Path) -> None:
    """Read all weights of a checkpoint back into the tensors of the model that wrote them.

    Transformers 5 writes some architectures (SegFormer is one) under the names of older releases. `Trainer`
    skips the names that it does not know, so that a resumed run would go on with the weights that it was
    started with. Of a student with adapters (`add_adapter`) a checkpoint holds the adapters.

    Raises:
        RuntimeError: If a weight is missing or has another shape.
    """
    folder = Path(folder)
    if model._hf_peft_config_loaded:
        refuse_without_adapters(folder)
        saved = load_file(folder / _ADAPTER_FILE)
        weights = {name.removeprefix(_ADAPTER_PREFIX): value for name, value in saved.items()}
        own = model.get_adapter_state_dict()
        # A copy into another shape may broadcast: adapters of rank 1 would fill those of any rank.
        fits = {name for name, value in weights.items() if name in own and own[name].shape == value.shape}
        _refuse_missing(model, folder, own.keys() - fits)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])
        return
    files = sorted(folder.glob("model*.safetensors"))
    saved = {name: value for path in files for name, value in load_file(path).items()}
    own = model.state_dict(keep_vars=True)
    with _tensors_kept(model):
        if is_sharded(model):
            _take_shards_off(model)
        info, _ = convert_and_load_state_dict_in_model(
            model, saved, LoadStateDictConfig(weight_mapping=get_model_conversion_mapping(model))
        )
        loaded = model.state_dict()
    absent = info.missing_keys | {name for name, *_ in info.mismatched_keys}
    there = {id(tensor) for name, tensor in own.items() if name not in absent}
    # Of tied weights, which are one tensor, the file holds one.
    _refuse_missing(model, folder, [name for name in absent if id(own[name]) not in there])
    read = {name: part_like(loaded[name], own[name]) for name in own if name not in absent}
    model.load_state_dict(read, strict=False)


def refuse_without_adapters(folder: str | Path) -> None:
    """Raise `RuntimeError` if a checkpoint holds no adapters, of which PEFT or Trainer would say little."""
    if not any(Path(folder).glob("**/adapter_model.*")):
        raise RuntimeError(
            f"the student has adapters and {folder} holds none: it was written by a student without them; "
            "resume with that student, or start a new training."
        )


def refuse_what_adapters_lack(model: nn.Module) -> None:
    """Raise if training changes what the files of the adapters will not hold; the model is in train mode.

    Args:
        model: A student; one without adapters passes.

    Raises:
        ValueError: If a weight or running statistics outside the adapters change: whoever loads the adapters
            on the base model would get another student than the one that was scored.
    """
    adapters = getattr(model, "peft_config", {})
    if not adapters:
        return
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if any(getattr(config, "bias", "none") != "none" for config in adapters.values()):
        trained = {name for name in trained if not name.endswith(".bias")}
    moved = {
        name
        for name, module in model.named_modules()
        if isinstance(module, _NormBase) and module.training and module.running_mean is not None
    }
    # PEFT writes what stands under an adapter's name, and never runs an original that it has copied.
    safe = {*adapters, "original_module"}
    lost = sorted(name for name in trained | moved if safe.isdisjoint(name.split(".")))
    if lost:
        raise ValueError(
            f"`model` has adapters, whose files do not hold {', '.join(lost[:3])} and {len(lost)} such "
            "weights and layers with running statistics in all, which training changes; name the modules "
            "around them in `modules_to_save` of the adapter's configuration, or keep them fixed."
        )


def _refuse_missing(model: nn.Module, folder: Path, missing: Iterable[str]) -> None:
    names = sorted(missing)
    if names:
        raise RuntimeError(
            f"{folder} lacks weights of {type(model).__name__} ({names[:3]} and {len(names)} in all), or has "
            "them in another shape; resume from a complete checkpoint of this student."
        )


def _take_shards_off(model: nn.Module) -> None:
    """Put parameters without values in the places of the shards: files hold whole tensors."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
            module._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)


@contextmanager
def _tensors_kept(model: nn.Module) -> Iterator[None]:
    """Put the model's own tensors back after a load has replaced them, because the optimiser holds those."""
    stores: list[dict[str, Any]]
    stores = [store for module in model.modules() for store in (module._parameters, module._buffers)]
    kept = [dict(store) for store in stores]
    try:
        yield
    finally:
        for store, tensors in zip(stores, kept, strict=True):
            store.update(tensors)
