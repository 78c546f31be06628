"""Terms are the losses they are named after, on what the task gives them, with the weights in use."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from hf_structkd import pairwise_distillation_loss, pixel_distillation_loss
from hf_structkd.features.forward import Forward
from hf_structkd.tasks import DepthTask, MapPair, SegmentationTask, Task
from hf_structkd.terms import BUILT_IN_TERMS, PairwiseTerm, PixelTerm, TaskTerm, Term, Terms


class CountingTask:
    """Counts what it is asked for; its values are those of plain losses on what it is given."""

    def __init__(self, pairs: int = 1, mask: Tensor | None = None) -> None:
        self.calls: Counter[str] = Counter()
        generator = torch.Generator().manual_seed(3)
        self.pairs = [
            MapPair(
                torch.randn(2, 3, 6, 8, generator=generator),
                torch.randn(2, 5, 6, 8, generator=generator),
                mask,
            )
            for _ in range(pairs)
        ]

    def task_loss(self, output: Any, batch: Any) -> Tensor:
        self.calls["task"] += 1
        return (output - batch["labels"]).square().mean()

    def output_loss(self, student: Forward, teacher: Forward, batch: Any, *, temperature: float) -> Tensor:
        self.calls["pixel"] += 1
        return pixel_distillation_loss(student.output, teacher.output, temperature=temperature)

    def feature_pairs(self, student: Forward, teacher: Forward, batch: Any) -> list[MapPair]:
        self.calls["pairwise"] += 1
        return self.pairs


STUDENT = Forward(torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1)))
TEACHER = Forward(torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(2)))
BATCH = {"labels": torch.zeros(2, 4, 6, 8)}


def value_of(term: Term, task: CountingTask) -> Tensor:
    return term(cast(Task, task), STUDENT, TEACHER, BATCH)


def test_each_term_asks_the_task_for_its_own_comparison_only() -> None:
    """A term that is on alone and still costs another's time and memory is no switch."""
    for term in (TaskTerm(), PixelTerm(), PairwiseTerm()):
        task = CountingTask()
        value_of(term, task)
        assert task.calls == Counter([term.name])


def test_terms_are_the_unweighted_losses() -> None:
    """A weight inside the term would count twice, and its log could not be compared between runs."""
    task = CountingTask(mask=torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(4)) > 0.3)
    pair = task.pairs[0]
    settings = {"connection_range": 9, "mask": pair.mask}
    expected = {
        TaskTerm(3.0): STUDENT.output.square().mean(),
        PixelTerm(5.0, temperature=3.0): pixel_distillation_loss(
            STUDENT.output, TEACHER.output, temperature=3.0
        ),
        PairwiseTerm(
            7.0, granularity=(2, 4), connection_range=9, node_pooling="max"
        ): pairwise_distillation_loss(
            pair.student, pair.teacher, granularity=(2, 4), pooling="max", **settings
        ),
    }
    for term, value in expected.items():
        computed = value_of(term, task)
        assert computed.shape == ()
        torch.testing.assert_close(computed, value)
    assert len({round(value.item(), 6) for value in expected.values()}) == 3


def test_several_feature_pairs_are_averaged() -> None:
    """A sum would make the weight depend on the number of levels."""
    task = CountingTask(pairs=3)
    value = value_of(PairwiseTerm(), task)
    each = [pairwise_distillation_loss(p.student, p.teacher, granularity=(2, 2)).item() for p in task.pairs]
    assert value.item() == pytest.approx(sum(each) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("grid", "height", "width", "expected"),
    [(None, 65, 65, (2, 2)), (3, 65, 65, (22, 22)), (3, 64, 96, (22, 32)), (5, 4, 8, (1, 2))],
)
def test_a_node_grid_is_nodes_a_side_at_most(
    grid: int | None, height: int, width: int, expected: tuple[int, int]
) -> None:
    assert PairwiseTerm(node_grid=grid).node_size(height, width) == expected


def test_a_node_grid_replaces_the_granularity() -> None:
    task = CountingTask()
    value = value_of(PairwiseTerm(granularity=(1, 1), node_grid=3), task)
    pair = task.pairs[0]
    by_hand = pairwise_distillation_loss(pair.student, pair.teacher, granularity=(2, 3))
    torch.testing.assert_close(value, by_hand)


# ---- weights and settings ----


@pytest.mark.parametrize("term", BUILT_IN_TERMS)
@pytest.mark.parametrize("weight", [-0.5, float("nan"), "1"])
def test_a_weight_out_of_its_range_is_refused(term: type[Term], weight: Any) -> None:
    """A negative weight drives the student away from the teacher, without a sign of it."""
    with pytest.raises(ValueError, match=f"`{term.name}_weight` must be a finite number at least 0"):
        term(weight)


def test_a_weight_that_is_not_given_depends_on_what_the_task_predicts() -> None:
    """The holistic weight of the paper ruins a student of depth, its pair-wise one drowns the loss."""
    by_task = {
        task: [term().weight_for(cast(Task, task)) for term in BUILT_IN_TERMS[:4]]
        for task in (SegmentationTask, DepthTask)
    }
    assert by_task == {SegmentationTask: [1.0, 1.0, 10.0, 0.1], DepthTask: [1.0, 1.0, 1.0, 0.0]}


def test_a_bound_term_follows_its_source() -> None:
    """Else a callback that anneals a weight changes nothing, and says nothing."""
    source = SimpleNamespace(pixel_weight=1.0, temperature=2.0)
    term = PixelTerm.bound_to(source)
    assert (term.weight_for(cast(Task, SegmentationTask)), term.settings()) == (1.0, {"temperature": 2.0})
    source.pixel_weight, source.temperature = 0.25, 4.0
    assert (term.weight_for(cast(Task, SegmentationTask)), term.settings()) == (0.25, {"temperature": 4.0})
    source.pixel_weight = None
    assert term.weight_for(cast(Task, SegmentationTask)) == PixelTerm.default_weight
    source.temperature = -1.0
    with pytest.raises(ValueError, match="`temperature` must be finite and above 0"):
        term.weight_for(cast(Task, SegmentationTask))


def test_two_terms_of_one_name_are_refused() -> None:
    """One would overwrite the other in the logs, and both would be in the total."""
    with pytest.raises(ValueError, match="`terms` must have different names, got pixel twice"):
        Terms([PixelTerm(), TaskTerm(), PixelTerm()])
    with pytest.raises(TypeError, match="`terms` must hold Term objects, got 'pixel'"):
        Terms(["pixel"])  # type: ignore[list-item]


def test_a_term_is_found_by_its_name() -> None:
    terms = Terms([TaskTerm(), PixelTerm(2.0)])
    assert terms["pixel"] is terms[1]
    with pytest.raises(KeyError, match="there is no term 'pixle'; there are task, pixel"):
        terms["pixle"]
