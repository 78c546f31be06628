"""The pair-wise term: the student learns which places of the feature map are alike for the teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..features.forward import Batch, Forward, Reading
from ..losses import node_grid_size, pairwise_distillation_loss, pool_nodes
from ..losses.pairwise import check_connection_range, squared_affinities
from ..tasks import MapPair, Task
from .base import Term, check_choice


@dataclass(eq=False)
class PairwiseTerm(Term):
    """Squared differences between the affinities of the two feature maps (TPAMI 2020, eq. (3)).

    If the task compares several levels of features, the term is the mean over the levels. Levels of one node
    are left out, because they have nothing to compare.

    Args:
        weight: The weight, as in `Term`.
        granularity: The side of a node in pixels of the aligned feature map, or its rows and columns.
        node_grid: The largest number of nodes per side, which replaces `granularity`: the side of a node is
            the map's side divided by this number, rounded up. None means `granularity`.
        connection_range: The number of nearest nodes that each node is compared with, an odd square; None
            means all nodes.
        node_pooling: The way the pixels of a node become one vector, "mean" (as in the paper) or "max".
    """

    name: ClassVar[str] = "pairwise"
    title: ClassVar[str] = "pair-wise term"
    compares: ClassVar[str] = "how similar the places of a feature map are to one another"
    default_weight: ClassVar[float] = 10.0
    reads: ClassVar[frozenset[Reading]] = frozenset({"features"})
    reads_nodes: ClassVar[bool] = True

    _: KW_ONLY
    granularity: int | Sequence[int] = 2
    node_grid: int | None = None
    connection_range: int | None = None
    node_pooling: Literal["mean", "max"] = "mean"

    def check(self) -> None:
        """Check the settings, and turn `granularity` into a list, as JSON stores it."""
        super().check()
        self.granularity = positive_integers("granularity", self.granularity, lengths=(1, 2))
        if self.node_grid is not None and (not isinstance(self.node_grid, int) or self.node_grid < 2):
            raise ValueError(
                f"`node_grid` must be an integer of at least 2 nodes a side, got {self.node_grid!r}."
            )
        check_connection_range(self.connection_range)
        check_choice("node_pooling", self.node_pooling, ("mean", "max"))

    def default_weight_for(self, task: Task) -> float:
        """Return a weight that is as strong beside the supervised loss of every task.

        Depth's is about a tenth of a cross-entropy. With the full weight the term was most of the gradient on
        NYUv2, and made the student worse than it is alone (docs/results.md).
        """
        return self.default_weight * task.loss_scale

    def __call__(self, task: Task, student: Forward, teacher: Forward | None, batch: Batch) -> Tensor:
        """Return the mean over the levels."""
        assert teacher is not None
        return torch.stack(
            [self._loss(pair) for pair in self.feature_pairs(task, student, teacher, batch)]
        ).mean()

    def pool_teacher(self, pair: MapPair) -> Tensor:
        """Return the nodes of the teacher's map."""
        height, width = pair.teacher.shape[-2:]
        rows, columns = self.node_size(height, width)
        size = min(rows, height), min(columns, width)  # a level of one node is left out later
        return pool_nodes(pair.teacher, size, pooling=self.node_pooling, mask=pair.mask)

    def sum_up_nodes(self, nodes: Tensor) -> Tensor:
        """Return the sum of the teacher's squared affinities."""
        return squared_affinities(nodes)

    def feature_pairs(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> list[MapPair]:
        """Return the task's pairs that have two nodes or more.

        If every pair has fewer, all pairs are returned, and the loss raises an error that explains it. The
        teacher's side is its nodes where these were stored.
        """
        pairs = task.feature_pairs(student, teacher, batch)
        if teacher.nodes:
            known = zip(pairs, teacher.nodes, teacher.node_sums, strict=True)
            pairs = [pair._replace(teacher=nodes, node_sums=sums) for pair, nodes, sums in known]
        return [pair for pair in pairs if self._node_count(pair) > 1] or pairs

    def node_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of a node on a map of `height` by `width` pixels."""
        if self.node_grid is not None:
            return math.ceil(height / self.node_grid), math.ceil(width / self.node_grid)
        sides = positive_integers("granularity", self.granularity, lengths=(1, 2))
        return sides[0], sides[-1]

    def describe(self, task: Task, student: Forward, teacher: Forward, batch: Batch) -> dict[str, str]:
        """Return how many nodes each level has, and with how many nodes each node is compared."""
        texts = []
        for pair in self.feature_pairs(task, student, teacher, batch):
            height, width = pair.student.shape[-2:]
            rows, columns = node_grid_size(height, width, self.node_size(height, width))
            reach = "all" if self.connection_range is None else str(self.connection_range)
            texts.append(f"{rows} × {columns} of the {height} × {width} map, each compared with {reach}")
        return {"nodes": "; ".join(texts)}

    def extra_bytes(self, task: Task, student: Forward, teacher: Forward, batch: Batch, images: int) -> int:
        """Return the bytes of the aligned maps, their nodes in float64 and the student's gradient."""
        pairs = self.feature_pairs(task, student, teacher, batch)
        return sum(images * (4 * int(pair.student.nbytes) + 3 * int(pair.teacher.nbytes)) for pair in pairs)

    def _node_count(self, pair: MapPair) -> int:
        height, width = int(pair.student.shape[-2]), int(pair.student.shape[-1])
        rows, columns = self.node_size(height, width)
        return math.ceil(height / rows) * math.ceil(width / columns)

    def _loss(self, pair: MapPair) -> Tensor:
        return pairwise_distillation_loss(
            pair.student,
            pair.teacher,
            granularity=self.node_size(pair.student.shape[-2], pair.student.shape[-1]),
            connection_range=self.connection_range,
            pooling=self.node_pooling,
            mask=pair.mask,
            teacher_is_pooled=pair.node_sums is not None,
            teacher_squares=pair.node_sums,
        )


def positive_integers(name: str, value: Any, *, lengths: tuple[int, ...]) -> list[int]:
    """Return one or more positive integers as a list.

    Raises:
        ValueError: If the value is something else, or the count is not one of `lengths`.
    """
    numbers = [value] if isinstance(value, int) else list(value) if isinstance(value, (list, tuple)) else []
    if len(numbers) not in lengths or any(not isinstance(n, int) or n < 1 for n in numbers):
        wanted = " or ".join(str(length) for length in lengths)
        raise ValueError(f"`{name}` must be {wanted} positive integers, got {value!r}.")
    return numbers
