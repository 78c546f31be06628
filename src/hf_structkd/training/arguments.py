"""`StructKDTrainingArguments`: every setting of the distillation, its range, and the published presets."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType

from ..losses._common import check_temperature
from ..losses.pairwise import check_connection_range
from .terms import TERMS


@dataclass(repr=False)  # Trainer's own hides the token
class StructKDTrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` plus the settings of structured knowledge distillation.

    The total is `task_weight * task + pixel_weight * pixel + pairwise_weight * pairwise +
    holistic_weight * holistic`; every term is a mean (over valid pixels, over node pairs, over images), so
    that no weight depends on the batch size, the number of processes or the accumulation. A weight of 0 turns
    its term off, and what only that term needs (the teacher, feature maps, the critic) is then neither built
    nor run.

    Args:
        task_weight: Weight of the supervised loss, >= 0.
        pixel_weight: Weight of the pixel-wise term, for example KL(teacher || student) per pixel, >= 0; None
            is the task's default, as for the next two.
        pairwise_weight: Weight of the pair-wise term, squared differences of affinities, >= 0.
        holistic_weight: Weight of the adversarial term on the student's side, >= 0.
        temperature: Divides both models' logits in the pixel-wise term, which is multiplied by its square;
            above 0.
        granularity: Side of a node in pixels of the aligned feature map: one number, or rows and columns.
        node_grid: Nodes a side, at most, in place of `granularity`: a node is then the map's side divided by
            it, rounded up.
        connection_range: How many nearest nodes each node is compared with, an odd square; None is all.
        node_pooling: How the pixels of a node become one vector, "mean" (the paper) or "max".
        critic_loss: "wgan-gp" (the paper) or "hinge" (the more stable one).
        critic_learning_rate: Peak learning rate of the critic, > 0; it follows `lr_scheduler_type`.
        critic_optimizer: "adam" (betas 0.9 and 0.99) or "sgd" (momentum 0.9).
        critic_max_grad_norm: The critic's gradient is clipped to this norm; 0 switches clipping off.
        critic_conditional: Whether the critic sees the image beside the map (the paper) or the map alone.
        critic_spectral_norm: Whether the critic's convolutions are spectrally normalised.
        gradient_penalty_weight: Weight of the critic's gradient penalty, >= 0; 0 leaves it out.
        student_feature: Module of the student whose output the pair-wise term compares; None finds the last
            map before the classifier.
        teacher_feature: The same for the teacher.
        teacher_image_size: Height and width to which images are resized for the teacher; empty leaves them.
        remove_unused_columns: As in `TrainingArguments`, but off: an image column may have any name.
        batch_eval_metrics: As in `TrainingArguments`, but on: evaluation then takes constant memory.

    Raises:
        ValueError: If a value is out of the range given above.

    References:
        Liu, Shu, Wang, Shen: Structured Knowledge Distillation for Dense Prediction, TPAMI 2020, eq. (9).
    """

    task_weight: float = field(default=1.0, metadata={"help": "Weight of the supervised loss."})
    pixel_weight: float | None = field(
        default=None, metadata={"help": "Weight of the pixel-wise term; 0 is off, unset the task's default."}
    )
    pairwise_weight: float | None = field(
        default=None, metadata={"help": "Weight of the pair-wise term; 0 is off, unset the task's default."}
    )
    holistic_weight: float | None = field(
        default=None, metadata={"help": "Weight of the holistic term; 0 is off, unset the task's default."}
    )
    temperature: float = field(default=1.0, metadata={"help": "Temperature of the pixel-wise term."})
    granularity: list[int] = field(
        default_factory=lambda: [2],
        metadata={"help": "Side of a node in feature pixels: one number, or rows and columns."},
    )
    node_grid: int | None = field(
        default=None,
        metadata={"help": "Nodes a side, in place of granularity: the node size follows the map."},
    )
    connection_range: int | None = field(
        default=None, metadata={"help": "Nodes each node is compared with, an odd square; unset is all."}
    )
    node_pooling: Literal["mean", "max"] = field(
        default="mean", metadata={"help": "How the pixels of a node become one vector."}
    )
    critic_loss: Literal["wgan-gp", "hinge"] = field(
        default="hinge", metadata={"help": "Loss of the critic and of the student's holistic term."}
    )
    critic_learning_rate: float = field(default=4e-4, metadata={"help": "Peak learning rate of the critic."})
    critic_optimizer: Literal["adam", "sgd"] = field(
        default="adam", metadata={"help": "The critic's optimiser."}
    )
    critic_max_grad_norm: float = field(
        default=1.0, metadata={"help": "Norm to which the critic's gradient is clipped; 0 is off."}
    )
    critic_conditional: bool = field(
        default=True, metadata={"help": "Show the critic the image beside the map, as in the paper."}
    )
    critic_spectral_norm: bool = field(
        default=True, metadata={"help": "Normalise the critic's convolutions spectrally."}
    )
    gradient_penalty_weight: float = field(
        default=0.0, metadata={"help": "Weight of the critic's gradient penalty; 10 in the paper, 0 is off."}
    )
    student_feature: str | None = field(
        default=None, metadata={"help": "Student module whose output the pair-wise term compares."}
    )
    teacher_feature: str | None = field(
        default=None, metadata={"help": "Teacher module whose output the pair-wise term compares."}
    )
    teacher_image_size: list[int] = field(
        default_factory=list,
        metadata={"help": "Height and width to which images are resized for the teacher; unset leaves them."},
    )
    remove_unused_columns: bool = field(
        default=False,
        metadata={"help": "Remove dataset columns the model does not name; images need them all."},
    )
    batch_eval_metrics: bool = field(
        default=True, metadata={"help": "Feed the metric batch by batch, in constant memory."}
    )

    def __post_init__(self) -> None:
        """Check every value; `granularity` and `teacher_image_size` become lists, as JSON gives them back."""
        super().__post_init__()
        weights = {f"{term}_weight": getattr(self, f"{term}_weight") for term in TERMS}
        given = {name: weight for name, weight in weights.items() if weight is not None}
        for name in (*given, "gradient_penalty_weight", "critic_max_grad_norm"):
            _check_number(name, getattr(self, name), minimum=0.0)
        if not any(weight != 0 for weight in weights.values()):
            raise ValueError(
                "every term's weight is 0, so nothing would be trained; set `task_weight` above 0."
            )
        _check_number("critic_learning_rate", self.critic_learning_rate, minimum=0.0, exclusive=True)
        check_temperature(self.temperature)
        check_connection_range(self.connection_range)
        self.granularity = _positive_integers("granularity", self.granularity, lengths=(1, 2))
        if self.node_grid is not None and (not isinstance(self.node_grid, int) or self.node_grid < 2):
            raise ValueError(
                f"`node_grid` must be an integer of at least 2 nodes a side, got {self.node_grid!r}."
            )
        self.teacher_image_size = (
            _positive_integers("teacher_image_size", self.teacher_image_size, lengths=(2,))
            if self.teacher_image_size
            else []
        )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}.")
        if self.holistic_weight != 0 and self.lr_scheduler_type in _NEED_METRICS:
            raise ValueError(
                f"`lr_scheduler_type` must not need a metric, which the critic has none of, got "
                f"{str(self.lr_scheduler_type.value)!r}; choose another or set `holistic_weight` to 0."
            )

    @property
    def n_gpu(self) -> int:
        """At most 1: in `DataParallel` no hook sees the replicas' maps; launch one process a GPU."""
        return min(int(super().n_gpu), 1)

    def weights(self, defaults: Mapping[str, float]) -> dict[str, float]:
        """Weight of every term, by its name in `TERMS`.

        Args:
            defaults: The task's own weights, for terms that were given none.
        """
        given = {term: getattr(self, f"{term}_weight") for term in TERMS}
        return {term: defaults[term] if weight is None else weight for term, weight in given.items()}

    @property
    def global_batch_size(self) -> int:
        """Images in one optimiser step, over processes and accumulation."""
        return int(self.train_batch_size * self.world_size * self.gradient_accumulation_steps)

    def structkd_settings(self) -> dict[str, Any]:
        """The settings this class adds, as a checkpoint records them."""
        return {name: getattr(self, name) for name in SETTING_NAMES}

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> StructKDTrainingArguments:
        """Build arguments with the weights of a published configuration, converted to this library's means.

        Args:
            preset: "paper" (Liu et al. 2020), "official" (the authors' code) or "cirkd" (Yang et al. 2022).
            **overrides: Any field; an explicit value wins over the preset's. A `granularity` switches off the
                preset's `node_grid`, which would take its place.

        Returns:
            The arguments. "official" multiplies its pixel-wise weight by the global batch size, because that
            code sums the term over its batch, while this library's is a mean.

        Raises:
            ValueError: If the preset is unknown.
        """
        args = cls(**{**preset_settings(preset), **overrides})
        args.convert_preset(preset, given=overrides)
        return args

    def convert_preset(self, preset: str | None, *, given: Container[str]) -> None:
        """Fit a preset's settings to the batch size and to the fields that the caller set.

        Args:
            preset: Its name; None leaves everything as it is.
            given: Names of the fields that the caller set and that stay as they are.
        """
        if preset == "official" and "pixel_weight" not in given and self.pixel_weight is not None:
            self.pixel_weight *= self.global_batch_size
        if preset is not None and "granularity" in given and "node_grid" not in given:
            self.node_grid = None


_PUBLISHED: dict[str, Any] = {
    "task_weight": 1.0,
    "temperature": 1.0,
    "granularity": [2],
    "node_grid": None,
    "connection_range": None,
    "critic_optimizer": "adam",
    "critic_learning_rate": 4e-4,
    "critic_max_grad_norm": 0.0,
    "critic_conditional": True,
    "critic_spectral_norm": True,
    "gradient_penalty_weight": 10.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "paper": _PUBLISHED
    | {
        "pixel_weight": 10.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.1,
        "node_pooling": "mean",
        "critic_loss": "wgan-gp",
    },
    "official": _PUBLISHED
    | {
        "pixel_weight": 10.0,
        "pairwise_weight": 0.5,
        "holistic_weight": 0.1,
        "node_grid": 3,
        "node_pooling": "max",
        "critic_loss": "wgan-gp",
        "critic_optimizer": "sgd",
        "critic_conditional": False,
    },
    "cirkd": _PUBLISHED
    | {
        "pixel_weight": 1.0,
        "pairwise_weight": 10.0,
        "holistic_weight": 0.001,
        "node_pooling": "max",
        "critic_loss": "hinge",
        "critic_conditional": False,
        "gradient_penalty_weight": 0.0,
    },
}
"""What each published configuration sets; written out, so that no default of ours changes it."""

SETTING_NAMES = tuple(
    name
    for name in StructKDTrainingArguments.__annotations__
    if name not in ("remove_unused_columns", "batch_eval_metrics")
)
"""Fields that this class adds to `TrainingArguments`."""

_NEED_METRICS = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)

_CHOICES = {
    "node_pooling": ("mean", "max"),
    "critic_loss": ("wgan-gp", "hinge"),
    "critic_optimizer": ("adam", "sgd"),
}


def preset_settings(preset: str) -> dict[str, Any]:
    """The fields that a preset sets, before overrides.

    Raises:
        ValueError: If the preset is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"`preset` must be one of {sorted(PRESETS)}, got {preset!r}.")
    return copy.deepcopy(PRESETS[preset])


def _check_number(name: str, value: float, *, minimum: float, exclusive: bool = False) -> None:
    above: Callable[[float], bool] = (lambda v: v > minimum) if exclusive else (lambda v: v >= minimum)
    if not (isinstance(value, (int, float)) and math.isfinite(value) and above(value)):
        bound = f"above {minimum:g}" if exclusive else f"at least {minimum:g}"
        raise ValueError(f"`{name}` must be a finite number {bound}, got {value!r}.")


def _positive_integers(name: str, value: Any, *, lengths: tuple[int, ...]) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value) if isinstance(value, (list, tuple)) else []
    if len(numbers) not in lengths or any(not isinstance(n, int) or n < 1 for n in numbers):
        wanted = " or ".join(str(length) for length in lengths)
        raise ValueError(f"`{name}` must be {wanted} positive integers, got {value!r}.")
    return numbers
