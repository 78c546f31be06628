"""The channel-wise term: the student learns where in the image each of the teacher's channels is strong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..features.forward import Batch, Forward, Reading
from ..losses import check_temperature
from ..losses.channel import channel_distillation_loss
from ..tasks import MapPair, Task
from .base import Term, check_choice
from .levels import of_several_places
from .projections import projected, projections_for


@dataclass(eq=False)
class ChannelTerm(Term):
    """KL between the two models' softmax over space, channel by channel (Shu et al., ICCV 2021).

    The channels are those of the logits or of the features. If the widths of the features differ, the
    student's features pass a 1×1 projection, as in `MimicTerm`.

    Args:
        weight: The weight, as in `Term`.
        channel_source: "logits" or "features"; None means the logits if the task has maps of logits, and else
            the features.
        channel_temperature: The number above 0 that divides both maps; the term is multiplied by its square.
            The paper uses 4.
    """

    name: ClassVar[str] = "channel"
    title: ClassVar[str] = "channel-wise term"
    compares: ClassVar[str] = "where in the image each channel is strong"
    owns_modules: ClassVar[bool] = True

    _: KW_ONLY
    channel_source: Literal["logits", "features"] | None = None
    channel_temperature: float = 4.0

    def check(self) -> None:
        """Check the settings too."""
        super().check()
        check_choice("channel_source", self.channel_source, (None, "logits", "features"))
        check_temperature(self.channel_temperature)

    def reads_for(self, task: Task) -> frozenset[Reading]:
        """Return "output" if the term compares logits, and "features" if it compares features."""
        is_of_logits = task.has_logit_maps if self.channel_source is None else self.channel_source == "logits"
        return frozenset({"output"}) if is_of_logits else frozenset({"features"})

    def build(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> Iterable[nn.Module]:
        """Make one projection for each level of features."""
        if self._logits(task, student, teacher, batch) is not None:
            return ()
        return projections_for(task.feature_pairs(student, teacher, batch))

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the loss of the logits, or the mean over the levels of features."""
        assert teacher is not None
        logits = self._logits(task, student, teacher, batch)
        if logits is not None:
            return self._loss(logits.student, logits)
        levels = of_several_places(projected(task.feature_pairs(student, teacher, batch), self.modules))
        return torch.stack([self._loss(maps, pair) for maps, pair in levels]).mean()

    def _logits(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> MapPair | None:
        if "features" in self.reads_for(task):
            return None
        if not task.has_logit_maps:
            raise ValueError(
                f"`channel_source` must be 'features' for {task.name}, whose outputs are no maps of logits, "
                "got 'logits'; set it, or leave it out."
            )
        return task.logit_maps(student, teacher, batch)

    def _loss(self, maps: Tensor, pair: MapPair) -> Tensor:
        return channel_distillation_loss(
            maps, pair.teacher, temperature=self.channel_temperature, mask=pair.mask
        )
