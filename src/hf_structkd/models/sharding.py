"""Sharding a model: each process keeps a part of every weight, and layers are put together while they run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from accelerate.utils.operations import recursively_apply
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

_MOST_GROUPS = 1000
"""A layer with a smaller share of the weights is put together with what is around it."""


def shard_model(model: nn.Module, device: torch.device) -> None:
    """Shard a model over all processes, in place; every process calls this.

    The members of each `ModuleList`, which are the repeated layers of a model, are put together one at a time
    when they run, and what is left of the model once a forward. Between forwards all weights are shards; the
    buffers are whole on every process. Every process starts with the weights and buffers of the first one.

    Each forward is then a meeting of all processes, which must run equally many.

    Args:
        model: The model, on any device. One that is sharded already stays as it is.
        device: The device of this process; layer after layer is moved there and cut.
    """
    if is_sharded(model):
        return
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    numbers = {parameter for parameter in model.parameters() if not parameter.dim()}  # with no axis to cut
    sent: set[Tensor] = set()
    for module in (*_layers(model), model):
        for tensor in (*module.parameters(), *module.buffers()):
            if not isinstance(tensor, DTensor) and tensor not in sent:
                tensor.data = tensor.data.to(device).contiguous()
                distributed.broadcast(tensor.data, src=0)
                sent.add(tensor)
        module.register_forward_hook(_without_views)
        kind = type(module)
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=numbers)
        # Classes are known by their names: to tasks, in tables, and to transformers for the weights in files.
        for name in ("__name__", "__qualname__", "__module__"):
            setattr(type(module), name, getattr(kind, name))
        if device.type == "cpu" and isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no averages


def _without_views(module: nn.Module, args: Any, output: Any) -> Any:
    """Copy what a layer returns of it, where that is a view: whoever changes one in place cuts off its hooks.

    One of these puts the layer together again in the backward.
    """
    return recursively_apply(Tensor.clone, output, test_type=_is_view) if torch.is_grad_enabled() else output


def _is_view(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and value._is_view()


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the repeated layers of a model, inner ones before those around them.

    A layer that is a single operation is left out, and one that shares a weight with what is outside it,
    because both would keep the weight.
    """
    repeated = {layer for one in model.modules() if isinstance(one, nn.ModuleList) for layer in one}
    least = sum(parameter.numel() for parameter in model.parameters()) / _MOST_GROUPS
    owners = _owners(model)
    found = []
    for layer in reversed([*model.modules()]):
        is_called = type(layer).forward is not nn.Module.forward
        if layer in repeated and is_called and any(layer.children()):
            own = _owners(layer)
            is_alone = all(owners[parameter] == count for parameter, count in own.items())
            if is_alone and sum(parameter.numel() for parameter in own) >= least:
                found.append(layer)
    return found


def _owners(model: nn.Module) -> Counter[nn.Parameter]:
    """Return how many modules hold each parameter."""
    return Counter(parameter for one in model.modules() for parameter in one.parameters(recurse=False))


def is_sharded(model: nn.Module) -> bool:
    """Return whether a model is sharded."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; where it is a shard, every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds; of one that is no shard, all."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, own: Tensor) -> Tensor:
    """Return a whole tensor cut as `own` is, without a copy of the rest; as it is if `own` is whole."""
    if not isinstance(own, DTensor):
        return tensor
    given = tensor.to(own.device)
    return distribute_tensor(given, own.device_mesh, own.placements, src_data_rank=None).clone()


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a sharded model as whole tensors on the CPU; every process calls this."""
    state = model.state_dict(keep_vars=True)
    # Of a weight with two names there is one tensor, by which files hold it once.
    tensors = {tensor: whole(tensor.detach()).cpu() for tensor in dict.fromkeys(state.values())}
    return {name: tensors[tensor] for name, tensor in state.items()}


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first one, as DDP does before a forward: BatchNorm moves them."""
    buffers = [*model.buffers()]
    for dtype in dict.fromkeys(buffer.dtype for buffer in buffers):
        alike = [buffer for buffer in buffers if buffer.dtype == dtype]
        flat = torch.cat([buffer.flatten() for buffer in alike])
        distributed.broadcast(flat, src=0)
        for buffer, new in zip(alike, torch.split(flat, [one.numel() for one in alike]), strict=True):
            buffer.copy_(new.view_as(buffer))


def anywhere(flag: bool, device: torch.device) -> bool:
    """Return whether a flag is set on one of the processes, which all ask."""
    count = torch.tensor(int(flag), device=device)
    distributed.all_reduce(count)
    return bool(count)
