"""Options of the subcommands that score trained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...data.options import option

DATA_SEED: int | None = option(
    None,
    "Seed by which `validation_fraction` holds rows out: the training's `data_seed`, or else its `seed`; "
    "unset is their default, 42.",
)


@dataclass(kw_only=True)
class ScoringArguments:
    """How models are scored and measured."""

    help_group: ClassVar[str] = "scoring"

    own_size: bool = option(
        True,
        "Show each model images of the size in its image processor, where it has one; otherwise image_size.",
    )
    data_seed: int | None = DATA_SEED
    batch_size: int = option(8, "Images shown at once while scores are computed.")
    num_workers: int = option(0, "Processes that read images.")
    device: str | None = option(None, "For example 'cpu' or 'cuda:1'; unset is a GPU where there is one.")
    threads: int | None = option(None, "CPU threads of PyTorch; unset leaves its own number.")
    repeats: int = option(30, "Passes of each model whose time is taken.")
    trust_remote_code: bool = option(False, "Run code that lies beside a model, as a wrapped network has it.")
    memory: bool = option(True, "Measure the memory of each model in a process of its own.")
    output_dir: str | None = option(None, "Folder of scores.json and, for several models, trade_off.png.")

    def __post_init__(self) -> None:
        """Refuse numbers below their least."""
        least = {"batch_size": 1, "num_workers": 0, "repeats": 1, "threads": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ValueError(f"`{name}` must be at least {lowest}, got {value}; raise it.")
