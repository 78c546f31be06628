"""What the operations of torch in a training step are: how many, what they write, what lives at once.

The numbers are the same on every machine, idle or busy, and in every precision of the clock.
"""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Trainer


class Operations(TorchDispatchMode):
    """Counts operations by name, but views, the bytes that they write, and the bytes that live at once.

    Attributes:
        counts: How often each operation was called.
        written: Bytes of all results in memory of their own.
        peak: Bytes of such results at the moment when most of them lived.
    """

    def __init__(self) -> None:
        """Start without an operation."""
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.written, self.peak, self._alive = 0, 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do and count one operation."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.counts[str(func)] += 1
            given = {_memory(one) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
            for one in tree_leaves(result):
                if isinstance(one, Tensor) and _memory(one) not in given:
                    self._take(one)
        return result

    def _take(self, tensor: Tensor) -> None:
        """Count the memory of a new tensor until it is freed."""
        storage, key = tensor.untyped_storage(), _memory(tensor)
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.written += size
        self._alive += size
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def operations_of(trainer: Trainer) -> Operations:
    """Train, and return the operations of the last step, without the optimiser."""
    step, last = trainer.training_step, Operations()

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal last
        last = Operations()
        with last:
            return step(*args, **kwargs)

    trainer.training_step = counted  # type: ignore[method-assign]
    trainer.train()
    return last
