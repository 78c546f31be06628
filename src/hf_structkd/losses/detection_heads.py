"""What the class scores of two kinds of detector mean, and how one kind is read as the other.

A ``"softmax"`` head (DETR, Table Transformer, YOLOS) gives K + 1 scores per query, the last for "no object".
A ``"sigmoid"`` head (Deformable DETR, RT-DETR and most others) gives K independent ones. The paper has
neither; how one kind is read as the other is our convention.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

DetectionHead = Literal["softmax", "sigmoid"]


def foreground_probabilities(logits: Tensor, head: DetectionHead) -> Tensor:
    """Probability that a query shows an object of each class.

    Args:
        logits: Raw class scores, of a teacher or of a student.
        head: ``"softmax"`` if the last score stands for "no object", ``"sigmoid"`` if there is none.

    Shape:
        logits: (B, Q, K + 1) for softmax, (B, Q, K) for sigmoid. Returns: (B, Q, K).

    Returns:
        Probabilities from 0 to 1. Over the classes a softmax head's add up to at most 1, a sigmoid head's to
        anything from 0 to K.

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
    r"""Log probabilities over the classes and "no object", for teaching a softmax student.

    A softmax head has them already. Of a sigmoid head's probabilities :math:`p_k` we make, with
    :math:`b = \prod_k (1 - p_k)` the probability that none of the independent classes is there:

    .. math:: q_{K+1} = b, \qquad q_k = (1 - b) \frac{p_k}{\sum_j p_j}

    So what is left beside "no object" is shared out in proportion to the sigmoids. With one class this is
    exact, :math:`q_1 = p_1`.

    Args:
        logits: Raw class scores.
        head: The kind of head that gave them.

    Shape:
        logits: (B, Q, K + 1) for softmax, (B, Q, K) for sigmoid. Returns: (B, Q, K + 1), "no object" last.

    Returns:
        Logarithms of probabilities that add up to 1; finite for finite logits.
    """
    if head == "softmax":
        return F.log_softmax(logits, dim=-1)
    log_present = F.logsigmoid(logits)
    log_share = log_present - log_present.logsumexp(dim=-1, keepdim=True)
    log_background = F.logsigmoid(-logits).sum(dim=-1, keepdim=True)
    return torch.cat([_log_of_rest(log_background) + log_share, log_background], dim=-1)


def binary_log_probabilities(logits: Tensor, head: DetectionHead) -> tuple[Tensor, Tensor]:
    """Log probabilities of each class being there and not being there, for teaching a sigmoid student.

    A softmax head's probability of a class is taken as it is: what a sigmoid would give.

    Args:
        logits: Raw class scores.
        head: The kind of head that gave them.

    Shape:
        logits: (B, Q, K + 1) for softmax, (B, Q, K) for sigmoid. Returns: twice (B, Q, K).

    Returns:
        log p and log (1 - p); finite for finite logits.
    """
    if head == "sigmoid":
        return F.logsigmoid(logits), F.logsigmoid(-logits)
    log_present = F.log_softmax(logits, dim=-1)[..., :-1]
    return log_present, _log_of_rest(log_present)


def check_class_logits(name: str, logits: Tensor, head: DetectionHead) -> None:
    """Reject class scores that are not a non-empty floating-point (B, Q, K), or K + 1 for softmax.

    Raises TypeError if the dtype is not floating point, ValueError for an unknown head, other axes or no
    class.
    """
    if head not in get_args(DetectionHead):
        raise ValueError(
            f"the head of `{name}` must be one of {get_args(DetectionHead)}, got {head!r}; "
            'use "softmax" if the last score stands for "no object".'
        )
    if logits.ndim != 3 or logits.numel() == 0:
        raise ValueError(
            f"`{name}` must be non-empty with axes (B, Q, classes), got shape {tuple(logits.shape)}; "
            "add a batch axis if it is missing."
        )
    if not logits.is_floating_point():
        raise TypeError(f"`{name}` must be floating point, got {logits.dtype}; pass raw model outputs.")
    if num_classes(logits, head) < 1:
        raise ValueError(
            f'`{name}` of a softmax head must hold a class beside the last score, "no object", got shape '
            f'{tuple(logits.shape)}; use head "sigmoid" for a single score per query.'
        )


def num_classes(logits: Tensor, head: DetectionHead) -> int:
    """Count the classes, without "no object", that logits (B, Q, K) or (B, Q, K + 1) stand for."""
    return logits.shape[-1] - (head == "softmax")


def _log_of_rest(log_probability: Tensor) -> Tensor:
    """Log (1 - p) from log p, with a floor where p rounds to 1."""
    rest = -torch.expm1(log_probability)
    return rest.clamp(min=torch.finfo(rest.dtype).tiny).log()
