"""Drawn inputs: a finite result, or one of our errors."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import math
import pkgutil
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hf_structkd import StructKDTrainingArguments, losses
from hf_structkd.cli.script_args import ModelArguments, parse_arguments
from hf_structkd.data import SegmentationOptions
from hf_structkd.data.boxes import ObjectBoxes, clean_boxes
from hf_structkd.data.label_values import LabelValues

FUZZ = settings(max_examples=12, deadline=None, derandomize=True, database=None)

MODULES = [
    importlib.import_module(f"hf_structkd.losses.{m.name}") for m in pkgutil.iter_modules(losses.__path__)
]
FUNCTIONS = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__
    if any("Tensor" in str(one.annotation) for one in inspect.signature(function).parameters.values())
}
# These get what one of the others has checked.
BEHIND = ("losses._", "losses.graphs")
CHECKED_BEFORE = {
    *("num_classes", "categorical_log_probabilities", "binary_log_probabilities"),
    *("masked_nodes", "unit_nodes", "squared_affinities"),
}

# The axes of each tensor: an axis of one letter has one size in all of them, and 4 is four.
DENSE, DEPTH, QUERIES = ("BKhw", "BKhw"), ("Bhw", "Bhw"), ("BQK", "BQ4", "BRK", "BR4")
AXES: dict[str, tuple[str, ...]] = {
    "box_corners": ("BQ4",),
    "boxes_from_corners": ("BQ4",),
    "generalized_iou": ("BQ4", "BQ4"),
    "pairwise_iou": ("BQ4", "BR4"),
    "pairwise_generalized_iou": ("BQ4", "BR4"),
    "pixel_distillation_loss": DENSE,
    "channel_distillation_loss": DENSE,
    "feature_imitation_loss": DENSE,
    "attention_transfer_loss": ("BKhw", "BLhw"),
    "pairwise_distillation_loss": ("BKhw", "BLhw"),
    "pool_nodes": ("BKhw",),
    "valid_depth": ("Bhw",),
    "silog_loss": DEPTH,
    "l1_depth_loss": DEPTH,
    "berhu_loss": DEPTH,
    "scale_shift_invariant_loss": DEPTH,
    "align_scale_shift": DEPTH,
    "affine_statistics": ("Bhw",),
    "depth_distillation_loss": ("B1hw", "B1hw"),
    "query_distillation_loss": QUERIES,
    "match_queries": QUERIES,
    "foreground_probabilities": ("BQK",),
    "critic_loss": ("B", "B"),
    "adversarial_loss": ("B",),
    "gradient_penalty": ("BKhw", "BKhw"),
    "render_detections": ("BQK", "BQ4"),
}
NUMBERS: Any = st.sampled_from([1.0, 0.5, 0.0, -1.0, math.nan, math.inf, 1e-30, 1e30, True, "1", None])
HEADS: Any = st.sampled_from(["softmax", "sigmoid", "relu"])
OPTIONS: dict[str, Any] = {
    "granularity": st.sampled_from([1, 2, (1, 2), 0, -1, 9, 1.5, (1,), "2"]),
    "connection_range": st.sampled_from([None, 1, 9, 2, 0, -9, 2.25, "9"]),
    "pooling": st.sampled_from(["mean", "max", "min", None]),
    "teacher_is_pooled": st.booleans(),
    "teacher_squares": st.sampled_from([None, torch.ones(1), torch.ones(2), torch.ones(1, 1), 1.0]),
    "relative": st.booleans(),
    "scales": st.sampled_from([1, 4, 9, 0, -1, 1.5, None]),
    "kind": st.sampled_from(["hinge", "wgan-gp", "wgan", "gan", None]),
    "head": HEADS,
    "student_head": HEADS,
    "teacher_head": HEADS,
    "size": st.sampled_from([(2, 3), (1, 1), (0, 1), (2,), (2.5, 1), 4]),
    "critic": st.just(lambda maps, *condition: maps.flatten(1).pow(2).sum(dim=1)),
}


def test_every_loss_that_takes_tensors_is_drawn_below() -> None:
    open_ones = {
        name
        for name, function in FUNCTIONS.items()
        if not name.startswith(("_", "check_")) and not any(part in function.__module__ for part in BEHIND)
    }
    assert open_ones - CHECKED_BEFORE == set(AXES)


def refused(error: Exception) -> None:
    """Check that an error is one of ours: one sentence, which names what is wrong."""
    assert "`" in str(error), repr(error)
    assert "\n" not in str(error)


@st.composite
def tensors(draw: Any, axes: tuple[str, ...], mask_axes: str | None) -> tuple[list[Tensor], Tensor | None]:
    """Draw tensors that fit each other, or all but one of them, and a mask whose ignored values are NaN."""
    sizes = {axis: draw(st.integers(1, 4)) for axis in sorted(set("".join(axes)))}
    shapes = [[int(axis) if axis.isdigit() else sizes[axis] for axis in one] for one in axes]
    scale, seed = draw(st.sampled_from([1.0, 0.0, 1e-30, 1e4, -1.0])), draw(st.integers(0, 99))
    torch.manual_seed(seed)
    mask = None
    if mask_axes is not None and draw(st.booleans()):
        mask = torch.rand([sizes[axis] for axis in mask_axes]) < draw(st.sampled_from([0.0, 0.5, 1.0]))
        if draw(st.booleans()):
            mask = torch.zeros_like(mask).index_fill_(0, torch.tensor(0), draw(st.booleans()))
    drawn = [scale * (torch.rand(shape) if len(shape) == 3 else torch.randn(shape)) for shape in shapes]
    if mask is not None:
        junk = draw(st.sampled_from([math.nan, math.inf, 0.0]))
        drawn = [one.masked_fill(~(mask if one.ndim == 3 else mask[:, None]), junk) for one in drawn]
    place = draw(st.integers(0, len(drawn) - 1))
    spoil: Callable[[Tensor], Tensor] = draw(st.sampled_from([lambda one: one] * 5 + SPOILED))
    drawn[place] = spoil(drawn[place])
    if mask is not None and draw(st.integers(0, 5)) == 0:
        mask = draw(st.sampled_from(SPOILED))(mask)
    return [one.requires_grad_() if one.is_floating_point() else one for one in drawn], mask


SPOILED = [
    lambda one: one[0],
    lambda one: one[None],
    lambda one: one[:0],
    lambda one: one[..., :0],
    lambda one: torch.cat([one, one]),
    lambda one: torch.cat([one, one], dim=-1),
    lambda one: one.nan_to_num().long(),
    lambda one: one.to(torch.float64),
    lambda one: one != 0,
]


@pytest.mark.parametrize("examples", [10, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", AXES)
def test_a_loss_is_finite_or_refuses(name: str, examples: int) -> None:
    """NaN in a gradient ends a training, and a broadcast shape trains toward nothing."""
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters
    mask_axes = "Bhw" if "mask" in parameters else None

    @settings(FUZZ, max_examples=examples)
    @given(data=st.data())
    def check(data: Any) -> None:
        drawn, mask = data.draw(tensors(AXES[name], mask_axes))
        given_tensors = iter(drawn)
        arguments: dict[str, Any] = {} if mask is None else {"mask": mask}
        for parameter in parameters.values():
            if "Tensor" in str(parameter.annotation) and parameter.default is parameter.empty:
                is_critic = parameter.name == "critic"
                arguments[parameter.name] = data.draw(OPTIONS["critic"]) if is_critic else next(given_tensors)
            elif parameter.name not in ("mask", "condition", "eps") and (
                parameter.default is parameter.empty or data.draw(st.integers(0, 3)) == 0
            ):
                arguments[parameter.name] = data.draw(OPTIONS.get(parameter.name, NUMBERS))
        try:
            result = function(**arguments)
        except (TypeError, ValueError) as error:
            return refused(error)
        found = [
            one for one in (result if isinstance(result, tuple) else [result]) if isinstance(one, Tensor)
        ]
        assert all(one.isfinite().all() for one in found)
        if any(one.requires_grad for one in found):
            sum(one.sum() for one in found if one.requires_grad).backward()
        assert all(one.grad.isfinite().all() for one in drawn if one.grad is not None)

    check()


@FUZZ
@given(st.lists(st.lists(st.floats(), min_size=4, max_size=4), max_size=5))
def test_cleaned_boxes_are_finite_and_inside(boxes: list[list[float]]) -> None:
    cleaned, rules = clean_boxes(torch.tensor(boxes, dtype=torch.float64).view(-1, 4), (30, 40))
    assert cleaned.isfinite().all()
    assert (cleaned >= 0).all()
    assert (cleaned <= torch.tensor([40, 30, 40, 30])).all()
    assert (torch.stack([*rules.values()]).sum(dim=0) <= 1).all()


WORDS = st.sampled_from(["", "0", "-1", "1.5", "nan", "1e999", "true", "a b", "[1]", "{}", "--", "mean"])
CONTENTS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
CONTENTS |= st.lists(CONTENTS, max_size=3) | st.dictionaries(WORDS, CONTENTS, max_size=2)
FIELDS = st.sampled_from(["bbox", "category", "label", "iscrowd", "area", "x"])
ONE_BOX = st.lists(st.floats(-9, 99), min_size=4, max_size=4)
CATEGORIES = st.lists(st.sampled_from([0, 1, 2, -1, "cat", "x", None, 0.0]), max_size=2)
OBJECTS = st.fixed_dictionaries({"bbox": st.lists(ONE_BOX, max_size=2), "category": CATEGORIES})


@settings(FUZZ, max_examples=40)
@given(OBJECTS | CONTENTS | st.dictionaries(FIELDS, CONTENTS) | st.lists(st.dictionaries(FIELDS, CONTENTS)))
def test_objects_are_decoded_or_refused_in_one_sentence(value: Any) -> None:
    boxes = ObjectBoxes(id2label={0: "cat", 1: "dog"})
    for written in (value, json.dumps(value)):
        try:
            decoded = boxes.decode(written, size=(30, 40), where="row 7")
        except (TypeError, ValueError) as error:
            assert "row 7" in str(error), repr(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert decoded.objects.boxes.isfinite().all()
            assert set(decoded.objects.class_labels.tolist()) <= {0, 1}


@settings(FUZZ, max_examples=50)
@given(
    written=st.lists(
        st.integers(-2, 300) | st.sampled_from(["#00ff00", "#000", "7", "-1", "٣", "x"]), max_size=4
    ),
    stored=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(-2, 300), min_size=1, max_size=5),
    nearest=st.booleans(),
)
def test_label_values_give_ids_or_a_sentence(written: Any, stored: list[int], nearest: bool) -> None:
    try:
        values = LabelValues.parse(written)
        ids = values.ids(torch.tensor([stored]), ignore_index=255, nearest=nearest, where="row 7")
    except ValueError as error:
        return refused(error)
    assert not values.values or set(ids.flatten().tolist()) <= {*range(len(written)), 255}


TYPES = (ModelArguments, SegmentationOptions, StructKDTrainingArguments)
OWN = {name for kind in TYPES[:2] for name in kind.__dataclass_fields__}
OWN |= set(StructKDTrainingArguments.__annotations__)
NAMES = st.sampled_from([*sorted(OWN), "max_steps", "learning_rate", "num_train_epochs", "pixel_wieght", ""])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def parsed(file: Path, *flags: str) -> None:
    """Parse, or check what is said: one sentence, or what argparse says before it exits with 2."""
    with redirect_stderr(io.StringIO()):
        try:
            parse_arguments(*TYPES, argv=[str(file), *flags, "--use_cpu", "--report_to", "none"])
        except SystemExit as error:
            assert error.code == 2  # noqa: PT017 - what argparse refuses in a sentence of its own
        except (ValueError, TypeError) as error:
            assert str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


@settings(FUZZ, max_examples=40)
@given(
    flags=st.lists(st.tuples(NAMES, st.lists(WORDS, max_size=2)), max_size=2),
    content=st.dictionaries(NAMES, CONTENTS, max_size=2),
)
def test_arguments_are_parsed_or_refused_in_one_sentence(folder: Path, flags: Any, content: Any) -> None:
    """What argparse lets through fails after the teacher is loaded, or changes nothing."""
    (folder / "run.json").write_text(json.dumps(content))
    parsed(folder / "run.json", *(part for name, values in flags for part in (f"--{name}", *values)))


SIGNS = ["max_steps: ", "- ", "&a ", "*a", "<<: ", "!!python/name:os.x ", "2020-13-45", "---\n", "%YAML 9"]
PIECES = st.sampled_from([*" \n\t:-[]{}|>'?~=1x\x00", *SIGNS])


@settings(FUZZ, max_examples=20)
@given(st.lists(PIECES, max_size=8).map("".join) | st.binary(max_size=20))
def test_a_yaml_file_is_read_or_refused_in_one_sentence(folder: Path, text: str | bytes) -> None:
    (folder / "run.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    parsed(folder / "run.yaml")
