"""A student that is sharded while it trains: what Trainer is told of it, and what its files hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer

from ..features import has_adapters
from ..models.sharding import is_sharded, part_like, shard_model, whole
from .loaders import replaced


def check_sharding(trainer: Trainer) -> None:
    """Raise `ValueError` for a student, or options of a trainer, that cannot be sharded."""
    student = trainer.model
    if "student" not in trainer.args.shard:
        if is_sharded(student):
            raise ValueError(
                "`model` is sharded by another trainer, which saved it whole; load what was saved, or pass "
                "`shard` here too."
            )
        return
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizers = trainer.optimizer is not None or trainer.optimizer_cls_and_kwargs is not None
    for is_refused, reason in (
        (has_adapters(student), "its adapters are small; merge them, or leave `student` out"),
        (len({one.dtype for one in trained}) > 1, "its trained weights have several dtypes; load it in one"),
        (not all(one.dim() for one in trained), "a single number cannot be cut; freeze such parameters"),
        (trainer.accelerator.scaler is not None, "the scaler of float16 is not tested there; use bfloat16"),
        (optimizers, "an optimiser that was passed holds other tensors than the shards; set `optim`"),
    ):
        if is_refused:
            raise ValueError(f"`shard` cannot name the student: {reason}.")


@contextmanager
def sharded_student(trainer: Trainer) -> Iterator[None]:
    """Shard the student if `shard` names it, and let accelerate put no DDP around it inside the block."""
    if "student" not in trainer.args.shard:
        yield
        return
    shard_model(trainer.model, trainer.args.device)
    # So Trainer calls models that place their weights and reduce their gradients themselves.
    with replaced(trainer, is_distributed_loading_by_transformers=True):
        yield


def keep_whole_states(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser of shards write whole states and read such: its files are those of any other run.

    Every process has to call `state_dict`, and each reads its part of a whole state.
    """
    optimizer.register_state_dict_post_hook(_with_whole_states)
    optimizer.register_load_state_dict_pre_hook(_with_parts)


def _with_whole_states(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    return {
        **state,
        "state": {
            number: {name: whole(one).cpu() if isinstance(one, Tensor) else one for name, one in held.items()}
            for number, held in state["state"].items()
        },
    }


def _with_parts(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = dict(zip(numbers, parameters, strict=False))  # torch refuses other numbers of them, in a sentence
    return {
        **state,
        "state": {
            number: {
                name: part_like(one, own[number]) if _is_cut_like(one, own.get(number)) else one
                for name, one in held.items()
            }
            for number, held in state["state"].items()
        },
    }


def _is_cut_like(state: Any, parameter: Tensor | None) -> bool:
    """Return whether a state has a number for each of the parameter's, and not one for all of them."""
    return isinstance(state, Tensor) and parameter is not None and state.shape == parameter.shape
