"""Settings of what changes while a student is trained: the ramps of the terms' weights, and its average."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import Any

from ..terms import BUILT_IN_TERMS
from ..terms.base import check_number

# A field for each term, so that a new term has its own without being named here.
_Ramps: Any = make_dataclass(
    "_Ramps",
    [
        (
            f"{term.name}_warmup_steps",
            int,
            field(
                default=0,
                metadata={"help": f"Steps over which the weight of the {term.title} rises; 0 is at once."},
            ),
        )
        for term in BUILT_IN_TERMS
    ],
)


@dataclass
class ScheduleArguments(_Ramps):
    """The part of `StructKDTrainingArguments` that is about steps.

    Beside `ema_decay` there is `<term>_warmup_steps` for each term: step s of so many has the share (s + 1) /
    warm-up of the term's weight, and every later step all of it.

    Args:
        ema_decay: Share of the past in an exponential moving average of the student's weights and buffers,
            in [0, 1). The average is what is evaluated, saved and left at the end; 0 is off.
        balance_steps: Steps at the start of a training that measure how strongly each term moves the student,
            >= 0. A weight is then the strength of its term relative to the supervised loss; 0 is off.

    Raises:
        ValueError: If one is out of its range.
    """

    ema_decay: float = field(
        default=0.0,
        metadata={"help": "Evaluate and save a moving average of the student with this decay; 0 is off."},
    )

    balance_steps: int = field(
        default=0,
        metadata={"help": "Steps that measure the terms' gradients, so that a weight is a share; 0 is off."},
    )

    def __post_init__(self) -> None:
        """Check the decay; a term checks its steps."""
        check_number("ema_decay", self.ema_decay, minimum=0.0)
        if self.ema_decay >= 1:
            raise ValueError(f"`ema_decay` must be below 1, got {self.ema_decay}; 0.999 is usual.")
        super().__post_init__()
