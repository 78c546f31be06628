"""The base class of a loss term, which is one object that holds everything about the term."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..features.forward import Batch, Forward, Reading
from ..tasks import MapPair, Task


class TrainingPlan(NamedTuple):
    """The facts of the training that a term needs to train something of its own.

    Attributes:
        device: The device of the student.
        seed: The seed of the run. A term uses its own generator, so that the student's random numbers are the
            same with and without the term.
        scheduler: A function that makes the run's learning-rate schedule for an optimiser.
    """

    device: torch.device
    seed: int
    scheduler: Callable[[torch.optim.Optimizer], Any]


@dataclass(eq=False)
class Term(ABC):
    """One term of the total loss. Subclass it to add a term; see `examples/custom_term.py`.

    A subclass has its facts in class attributes, computes its loss in `__call__`, and declares its settings
    as dataclass fields. The trainer, its logs, the start table, the figures, the card and the checkpoints
    use a list of terms, and know no term by name.

    Args:
        weight: The factor of the term in the total, >= 0. With 0 the term is off and costs nothing. None
            means `default_weight_for` the task. The weight is read at every step, and may change between
            steps.
        warmup_steps: Steps over which the weight rises to its full value; 0 gives it at once.

    Attributes:
        name: The name of the term, which is logged as `loss_<name>`. Its weight is `<name>_weight` on a
            command line.
        title: The name in figures and cards, for example "pixel-wise term".
        compares: A few words on what the term compares, for the card's table.
        default_weight: The weight that is used if none is given.
        needs_teacher: Whether the term reads the teacher's forward.
        needs_labels: Whether the term compares with labels, and is off where the training data have none.
        reads: The parts of a forward that the term reads, "output", "features" or both; see `reads_for`.
        reads_nodes: Whether it reads no more of the teacher's maps than `pool_teacher` returns.
        reads_probabilities: Whether it reads no more of maps of class logits than their probabilities, of
            which a cache may then keep the largest.
        owns_modules: Whether `build` makes modules that are trained with the student.
        log_titles: The titles in figures of the further values that `after_backward` returns.

    Raises:
        TypeError: If a setting has the name of a method or an attribute of this class.
        ValueError: If the weight or a setting is out of range.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    compares: ClassVar[str]
    default_weight: ClassVar[float] = 0.0
    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    reads: ClassVar[frozenset[Reading]] = frozenset({"output"})
    reads_nodes: ClassVar[bool] = False
    reads_probabilities: ClassVar[bool] = False
    owns_modules: ClassVar[bool] = False
    log_titles: ClassVar[Mapping[str, str]] = {}

    weight: float | None = None
    _: KW_ONLY
    warmup_steps: int = 0
    _source: Any = field(default=None, init=False, repr=False)
    _modules: nn.ModuleList = field(default_factory=nn.ModuleList, init=False, repr=False)
    _is_built: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the weight and the settings."""
        hidden = [name for name in self.setting_names() if hasattr(Term, name)]
        if hidden:
            raise TypeError(
                f"`{hidden[0]}` must be no setting of {type(self).__name__}: Term has an attribute of "
                "that name; rename it."
            )
        self.check()

    # ---- what every term defines ----

    @abstractmethod
    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the unweighted loss of one micro-batch, a scalar and a mean.

        Args:
            task: The task, which knows what the two models' outputs mean.
            student: The student's forward with its graph; `features` are captured if the term reads them.
            teacher: The teacher's forward without a graph; None if no active term needs it.
            batch: The batch that the data collator returned.
        """

    def reads_for(self, task: Task) -> frozenset[Reading]:
        """Return the parts of a forward that the term reads for a task.

        Features are captured only for a term that reads them. The gradient of a term that does not read the
        output does not reach the student's last layers.
        """
        return self.reads

    def pool_teacher(self, pair: MapPair) -> Tensor:
        """Return all that the term reads of the teacher's map of a pair; only where `reads_nodes`."""
        return pair.teacher

    def sum_up_nodes(self, nodes: Tensor) -> Tensor:
        """Return what the term computes of each image's nodes (B, ...) alone, so that a cache can keep it."""
        return nodes.new_zeros(len(nodes), 0)

    # ---- weight and settings ----

    def default_weight_for(self, task: Task) -> float:
        """Return the weight that is used for a task if none is given."""
        return self.default_weight

    def settings(self) -> dict[str, Any]:
        """Return the settings other than the weight, as JSON values by their names."""
        return {name: getattr(self, name) for name in self.setting_names()}

    @classmethod
    def setting_names(cls) -> tuple[str, ...]:
        """Return the names of the settings, which are the dataclass fields of the subclass."""
        return tuple(f.name for f in fields(cls) if f.init and f.name not in ("weight", "warmup_steps"))

    def check(self) -> None:
        """Raise `ValueError` if the weight or a setting is out of range; a subclass checks its settings."""
        if self.weight is not None:
            check_number(f"{self.name}_weight", self.weight, minimum=0.0)
        if not isinstance(self.warmup_steps, int) or self.warmup_steps < 0:
            raise ValueError(
                f"`{self.name}_warmup_steps` must be a number of steps, at least 0, got "
                f"{self.warmup_steps!r}."
            )

    @classmethod
    def bound_to(cls, source: Any) -> Self:
        """Build the term from an object with `<name>_weight` and the settings as attributes.

        The term reads them again each time its weight is used, so that a change of them changes the term.
        """
        term = cls()
        term._source = source
        term._read()
        return term

    @property
    def is_bound(self) -> bool:
        """Whether the term reads its weight and its settings from another object; see `bound_to`."""
        return self._source is not None

    def weight_for(self, task: Task) -> float:
        """Return the weight in use; a bound term reads it again."""
        self._read()
        return self.default_weight_for(task) if self.weight is None else self.weight

    def share_at(self, step: int) -> float:
        """Return the share of the weight that a step has, counted from 0; 1 after the warm-up."""
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def _read(self) -> None:
        if self._source is None:
            return
        theirs = {name: getattr(self._source, name) for name in self.setting_names()}
        theirs["weight"] = getattr(self._source, f"{self.name}_weight")
        theirs["warmup_steps"] = getattr(self._source, f"{self.name}_warmup_steps", 0)
        changed = {name: value for name, value in theirs.items() if getattr(self, name) != value}
        for name, value in changed.items():
            setattr(self, name, value)
        if changed:
            self.check()

    # ---- what trains beside the student ----

    @property
    def is_ready(self) -> bool:
        """Whether everything that a step needs exists."""
        return self._is_built or not self.owns_modules

    def begin(self, task: Task, plan: TrainingPlan) -> None:  # noqa: B027 - most terms train nothing
        """Make what is trained beside the student, when a training starts or the term is switched on."""

    def build(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> Iterable[nn.Module]:
        """Return modules that are optimised with the student, for the widths of this example."""
        return ()

    def build_modules(
        self, task: Task, student: Forward, teacher: Forward, batch: Batch, plan: TrainingPlan
    ) -> None:
        """Make the modules of `build` on the device, with the same weights on every process."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(plan.seed)
            self._modules = nn.ModuleList(self.build(task, student, teacher, batch)).to(plan.device)
        self._is_built = True

    @property
    def modules(self) -> nn.ModuleList:
        """The modules of `build`: trained with the student, saved in checkpoints, absent from the student."""
        return self._modules

    @property
    def networks(self) -> list[nn.Module]:
        """Every network of the term whose weights change in training."""
        return [self._modules]

    def after_backward(self, *, micro_steps: int) -> dict[str, Tensor]:
        """Act after the student's backward of a micro-batch, and return further values to log."""
        return {}

    def step(self) -> dict[str, Tensor]:
        """Act once before each optimiser step, and return values that must be finite, by a name."""
        return {}

    def end(self) -> None:  # noqa: B027 - most terms train nothing
        """Release what `begin` made; called before a training starts."""

    def save(self, folder: str | Path) -> None:
        """Write what a resumed training needs into a checkpoint."""
        state = {name: value.contiguous() for name, value in self._modules.state_dict().items()}
        if state:
            save_file(state, self._file(folder))

    def load(self, folder: str | Path) -> None:
        """Read back what `save` wrote.

        Raises:
            FileNotFoundError: If the term's file is missing; new modules would change the run silently.
        """
        if not self._modules.state_dict():
            return
        if not self._file(folder).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {self._file(folder).name}, so the {self.title} cannot resume from it; "
                f"resume from a checkpoint written with `{self.name}_weight` above 0, or start anew."
            )
        self._modules.load_state_dict(load_file(self._file(folder)))

    def _file(self, folder: str | Path) -> Path:
        return Path(folder) / f"term_{self.name}.safetensors"

    # ---- the start table ----

    def describe(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> dict[str, str]:
        """Return further lines of the start table, as texts by label, from the forwards of one image."""
        return {}

    def extra_bytes(self, task: Task, student: Forward, teacher: Forward, batch: Batch, images: int) -> int:
        """Estimate the bytes that the term needs for a batch of `images`, from the forwards of one image."""
        return 0


def check_number(name: str, value: Any, *, minimum: float, exclusive: bool = False) -> None:
    """Raise `ValueError` unless the value is a finite number, at least or `exclusive` above the minimum."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < minimum or (exclusive and value == minimum):
        bound = f"above {minimum:g}" if exclusive else f"at least {minimum:g}"
        raise ValueError(f"`{name}` must be a finite number {bound}, got {value!r}.")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise `ValueError` unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}, got {value!r}.")
