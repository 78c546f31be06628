"""The meaning of the class scores of two kinds of detector, and the conversion of one kind to the other.

A ``"softmax"`` head (DETR, Table Transformer, YOLOS) gives K + 1 scores per query, the last for "no object".
A ``"sigmoid"`` head (Deformable DETR, RT-DETR and most others) gives K independent scores. The paper has
neither; the conversion is our convention.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ._common import check_tensor

DetectionHead = Literal["softmax", "sigmoid"]


def foreground_probabilities(logits: Tensor, head: DetectionHead) -> Tensor:
    """Return the probability that a query shows an object of each class.

    Args:
        logits: The raw class scores of a model.
        head: ``"softmax"`` if the last score means "no object", ``"sigmoid"`` if there is no such score.

    Shape:
        logits: (B, Q, K + 1) for softmax, (B, Q, K) for sigmoid. Returns: (B, Q, K).

    Returns:
        Probabilities from 0 to 1. Their sum over the classes is at most 1 for a softmax head, and at most K
        for a sigmoid head.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If the head is unknown or the logits hold no class.

    Example:
        >>> foreground_probabilities(torch.zeros(1, 1, 4), "softmax").tolist()
        [[[0.25, 0.25, 0.25]]]
        >>> foreground_probabilities(torch.zeros(1, 1, 2), "sigmoid").tolist()
        [[[0.5, 0.5]]]
    """
    check_class_logits("logits", logits, head)
    return logits.softmax(dim=-1)[..., :-1] if head == "softmax" else logits.sigmoid()


def categorical_log_probabilities(logits: Tensor, head: DetectionHead) -> Tensor:
    r"""Return log probabilities over the classes and "no object", which teach a softmax student.

    A softmax head gives them directly. A sigmoid head gives the probabilities :math:`p_k`; then
    :math:`b = \prod_k (1 - p_k)` is the probability that no class is there, and the rest is divided among the
    classes in proportion to the sigmoids. With one class this is exact, :math:`q_1 = p_1`.

    .. math:: q_{K+1} = b, \qquad q_k = (1 - b) \frac{p_k}{\sum_j p_j}

    Returns:
        Logarithms (B, Q, K + 1), "no object" last, of probabilities whose sum is 1; finite for finite logits.
    """
    if head == "softmax":
        return F.log_softmax(logits, dim=-1)
    log_present = F.logsigmoid(logits)
    log_share = log_present - log_present.logsumexp(dim=-1, keepdim=True)
    log_background = F.logsigmoid(-logits).sum(dim=-1, keepdim=True)
    return torch.cat([_log_of_rest(log_background) + log_share, log_background], dim=-1)


def binary_log_probabilities(logits: Tensor, head: DetectionHead) -> tuple[Tensor, Tensor]:
    """Return log p and log (1 - p) of each class, (B, Q, K), which teach a sigmoid student.

    The probability p that a softmax head gives a class is used as the probability of a sigmoid. The
    logarithms are finite for finite logits.
    """
    if head == "sigmoid":
        return F.logsigmoid(logits), F.logsigmoid(-logits)
    log_present = F.log_softmax(logits, dim=-1)[..., :-1]
    return log_present, _log_of_rest(log_present)


def check_class_logits(name: str, logits: Tensor, head: DetectionHead) -> None:
    """Reject class scores that are not a non-empty floating-point (B, Q, K), or (B, Q, K + 1) for softmax.

    Raises:
        TypeError: If the dtype is not floating point.
        ValueError: If the head is unknown, or there are other axes or no class.
    """
    if head not in get_args(DetectionHead):
        raise ValueError(
            f"the head of `{name}` must be one of {get_args(DetectionHead)}, got {head!r}; "
            'use "softmax" if the last score stands for "no object".'
        )
    check_tensor(name, logits, "(B, Q, classes)")
    if num_classes(logits, head) < 1:
        raise ValueError(
            f'`{name}` of a softmax head must hold a class beside the last score, "no object", got shape '
            f'{tuple(logits.shape)}; use head "sigmoid" for a single score per query.'
        )


def num_classes(logits: Tensor, head: DetectionHead) -> int:
    """Count the classes, without "no object", that logits (B, Q, K) or (B, Q, K + 1) stand for."""
    return logits.shape[-1] - (head == "softmax")


def _log_of_rest(log_probability: Tensor) -> Tensor:
    """Return log (1 - p) from log p, with a floor where p rounds to 1."""
    rest = -torch.expm1(log_probability)
    return rest.clamp(min=torch.finfo(rest.dtype).tiny).log()
