"""Terms are computed where they are on, with the settings they were given, and nowhere else."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from hf_structkd import pairwise_distillation_loss, pixel_distillation_loss
from hf_structkd.features.forward import Forward
from hf_structkd.tasks import FeaturePair, Task
from hf_structkd.training.criterion import Criterion


class CountingTask:
    """Counts what it is asked for; its values are those of plain losses on what it is given."""

    def __init__(self, pairs: int = 1, mask: Tensor | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.mask = mask
        generator = torch.Generator().manual_seed(3)
        self.pairs = [
            FeaturePair(
                torch.randn(2, 3, 6, 8, generator=generator),
                torch.randn(2, 5, 6, 8, generator=generator),
                mask,
            )
            for _ in range(pairs)
        ]

    def task_loss(self, output: Any, batch: Any) -> Tensor:
        self.calls["task"] += 1
        return (output - batch["labels"]).square().mean()

    def pixel_loss(self, student: Forward, teacher: Forward, batch: Any, *, temperature: float) -> Tensor:
        self.calls["pixel"] += 1
        return pixel_distillation_loss(student.output, teacher.output, temperature=temperature)

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Any) -> list[FeaturePair]:
        self.calls["pairwise"] += 1
        return self.pairs


STUDENT = Forward(torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1)))
TEACHER = Forward(torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(2)))
BATCH = {"labels": torch.zeros(2, 4, 6, 8)}


def terms_of(task: CountingTask, *terms: str, **settings: Any) -> dict[str, Tensor]:
    return Criterion(cast(Task, task), terms, **settings)(STUDENT, TEACHER, BATCH)


@pytest.mark.parametrize(
    "terms",
    [
        (),
        ("task",),
        ("pixel",),
        ("pairwise",),
        ("task", "pairwise"),
        ("task", "pixel", "pairwise", "holistic"),
    ],
)
def test_a_term_that_is_off_is_not_computed(terms: tuple[str, ...]) -> None:
    """A weight of 0 that still costs a term's time and memory is no switch."""
    task = CountingTask()
    values = terms_of(task, *terms)
    wanted = [term for term in terms if term != "holistic"]
    assert list(values) == wanted
    assert task.calls == Counter(wanted)


def test_without_a_teacher_only_the_task_counts() -> None:
    task = CountingTask()
    values = Criterion(cast(Task, task), ("task", "pixel", "pairwise"))(STUDENT, None, BATCH)
    assert list(values) == ["task"]
    assert task.calls == Counter(task=1)


def test_terms_are_the_unweighted_losses() -> None:
    task = CountingTask(mask=torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(4)) > 0.3)
    settings = {"granularity": (2, 4), "connection_range": 9, "node_pooling": "max", "temperature": 3.0}
    values = terms_of(task, "task", "pixel", "pairwise", **settings)
    pair = task.pairs[0]
    expected = {
        "task": STUDENT.output.square().mean(),
        "pixel": pixel_distillation_loss(STUDENT.output, TEACHER.output, temperature=3.0),
        "pairwise": pairwise_distillation_loss(
            pair.student,
            pair.teacher,
            granularity=(2, 4),
            connection_range=9,
            pooling="max",
            mask=pair.mask,
        ),
    }
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        assert values[name].shape == ()
        torch.testing.assert_close(values[name], value)
    assert len({round(value.item(), 6) for value in values.values()}) == 3


def test_several_feature_pairs_are_averaged() -> None:
    """A sum would make the weight depend on the number of levels."""
    task = CountingTask(pairs=3)
    value = terms_of(task, "pairwise")["pairwise"]
    each = [pairwise_distillation_loss(p.student, p.teacher, granularity=(2, 2)).item() for p in task.pairs]
    assert value.item() == pytest.approx(sum(each) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("grid", "height", "width", "expected"),
    [(3, 6, 8, (2, 3)), (3, 65, 65, (22, 22)), (2, 6, 8, (3, 4)), (8, 4, 4, (1, 1)), (None, 6, 8, (2, 2))],
)
def test_node_size_follows_the_map_where_a_grid_is_asked_for(
    grid: int | None, height: int, width: int, expected: tuple[int, int]
) -> None:
    criterion = Criterion(cast(Task, CountingTask()), ("pairwise",), node_grid=grid)
    assert criterion.node_size(height, width) == expected


def test_a_node_grid_replaces_the_granularity() -> None:
    task = CountingTask()
    value = terms_of(task, "pairwise", granularity=(1, 1), node_grid=3)["pairwise"]
    pair = task.pairs[0]
    by_hand = pairwise_distillation_loss(pair.student, pair.teacher, granularity=(2, 3))
    torch.testing.assert_close(value, by_hand)


def test_an_unknown_term_is_refused() -> None:
    """Else a misspelt term is left out of the loss in silence."""
    with pytest.raises(ValueError, match="`terms` must be among task, pixel, pairwise, holistic, got pixle"):
        Criterion(cast(Task, CountingTask()), ("task", "pixle"))
