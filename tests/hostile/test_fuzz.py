"""Drawn inputs: a finite result, or one of our errors."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import ModelArguments, parse_arguments
from hf_structkd.data import SegmentationOptions
from hf_structkd.data.boxes import clean_boxes
from hf_structkd.losses import (
    berhu_loss,
    l1_depth_loss,
    pairwise_distillation_loss,
    pixel_distillation_loss,
    scale_shift_invariant_loss,
    silog_loss,
)

FUZZ = settings(max_examples=30, deadline=None, derandomize=True, database=None)
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
VALUES = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e4, -1e4])
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.int64])
DENSE = (pixel_distillation_loss, pairwise_distillation_loss)
DEPTH = (silog_loss, l1_depth_loss, berhu_loss, scale_shift_invariant_loss)


@FUZZ
@given(
    loss=st.sampled_from(DENSE + DEPTH), shape=SHAPES, other=st.none() | SHAPES, value=VALUES, dtype=DTYPES
)
def test_a_loss_is_finite_or_refuses(loss: Any, shape: Any, other: Any, value: float, dtype: Any) -> None:
    """NaN in a gradient ends a training, and a broadcast shape trains toward nothing."""
    first = (torch.rand(shape) * value).to(dtype).requires_grad_(dtype.is_floating_point)
    try:
        total = loss(first, torch.rand(other or shape))
    except (TypeError, ValueError):
        return
    total.backward()
    assert total.isfinite()
    assert first.grad is None or first.grad.isfinite().all()


@FUZZ
@given(st.lists(st.lists(st.floats(), min_size=4, max_size=4), max_size=5))
def test_cleaned_boxes_are_finite_and_inside(boxes: list[list[float]]) -> None:
    cleaned, rules = clean_boxes(torch.tensor(boxes, dtype=torch.float64).view(-1, 4), (30, 40))
    assert cleaned.isfinite().all()
    assert (cleaned >= 0).all()
    assert (cleaned <= torch.tensor([40, 30, 40, 30])).all()
    assert (torch.stack([*rules.values()]).sum(dim=0) <= 1).all()


TYPES = (ModelArguments, SegmentationOptions, StructKDTrainingArguments)
OWN = {name for kind in TYPES[:2] for name in kind.__dataclass_fields__}
OWN |= set(StructKDTrainingArguments.__annotations__)
NAMES = st.sampled_from([*sorted(OWN), "max_steps", "learning_rate", "num_train_epochs", "pixel_wieght", ""])
WORDS = st.sampled_from(["", "0", "-1", "1.5", "nan", "1e999", "true", "a b", "[1]", "{}", "--", "mean"])
CONTENTS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
CONTENTS |= st.lists(CONTENTS, max_size=3) | st.dictionaries(WORDS, CONTENTS, max_size=2)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "run.json"


@settings(FUZZ, max_examples=150)
@given(
    flags=st.lists(st.tuples(NAMES, st.lists(WORDS, max_size=2)), max_size=2),
    content=st.dictionaries(NAMES, CONTENTS, max_size=2),
)
def test_arguments_are_parsed_or_refused_in_one_sentence(file: Path, flags: Any, content: Any) -> None:
    """What argparse lets through fails after the teacher is loaded, or changes nothing."""
    file.write_text(json.dumps(content))
    argv = [part for name, values in flags for part in (f"--{name}", *values)]
    with redirect_stderr(io.StringIO()):
        try:
            parse_arguments(*TYPES, argv=[str(file), *argv, "--use_cpu", "--report_to", "none"])
        except SystemExit as error:
            assert error.code == 2  # noqa: PT017 - what argparse refuses in a sentence of its own
        except (ValueError, TypeError) as error:
            assert str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
