"""Maps of class logits with the largest classes of each place, and the rest as one number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_PARTS = ("values", "classes", "rest")


def pack(name: str, logits: Tensor, k: int) -> dict[str, Tensor]:
    """Return tensors from which `unpack` makes the logits again, approximately.

    The rest is the logarithm of the sum of the exponentials of the other logits: `unpack` spreads it evenly.
    The k largest probabilities and the sum of the others are therefore exact, up to the precision in which
    they are stored. With r the sum of the others, KL(logits || unpacked) is at most r · log(K - k).

    Args:
        name: Name of the map, which begins the names of the tensors.
        logits: Logits (B, K, ...) over classes.
        k: How many classes of each place are kept; a map of no more classes stays as it is.
    """
    count = logits.shape[1]
    if k >= count:
        return {name: logits}
    values, classes = logits.topk(k, dim=1)
    rest = logits.scatter(1, classes, -torch.inf).logsumexp(dim=1, keepdim=True)
    classes = classes.to(torch.uint8 if count <= torch.iinfo(torch.uint8).max + 1 else torch.int16)
    return {f"{name}/{count}/{part}": one for part, one in zip(_PARTS, (values, classes, rest), strict=True)}


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the maps of logits by name, those that `pack` left as they were included."""
    unpacked = {name: tensor for name, tensor in tensors.items() if "/" not in name}
    for stem in {name.rpartition("/")[0] for name in tensors.keys() - unpacked.keys()}:
        values, classes, rest = (tensors[f"{stem}/{part}"] for part in _PARTS)
        name, _, count = stem.partition("/")
        others = int(count) - values.shape[1]
        spread = (rest - torch.tensor(others).log()).expand(-1, int(count), *rest.shape[2:])
        unpacked[name] = spread.scatter(1, classes.long(), values)
    return unpacked
