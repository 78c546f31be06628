"""Each way to run the two models faster or smaller gives the numbers of the plain run, to a tolerance."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_structkd.models.quantization import quantize_weights

from ..cases import CASES, SEGMENTATION, TaskCase, arguments, make_trainer, on_cpu_alone, state_of

pytestmark = [
    pytest.mark.usefixtures("narrow_critic"),
    pytest.mark.filterwarnings(
        "ignore::UserWarning"
    ),  # of torch, while it traces transformers' detection loss
]

COMPILED = {"torch_compile": True, "torch_compile_backend": "eager"}
CHECKPOINTED = {"activation_checkpointing": True}
EXACT = {"loss": 1e-6, "grad_norm": 1e-6}
# Of bfloat16's three digits the sum keeps more, and a gradient fewer: its parts cancel.
ROUNDED = {"loss": 1e-2, "grad_norm": 0.1}

# The backend only traces: what a generator of code does to the last digits is another matter.
COMBINATIONS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "teacher in bfloat16": ({"teacher_dtype": "bfloat16"}, ROUNDED),
    "teacher in float16": ({"teacher_dtype": "float16"}, ROUNDED),
    "teacher in int8": ({"teacher_dtype": "int8"}, ROUNDED),
    "teacher in int8, compiled": (COMPILED | {"teacher_dtype": "int8"}, ROUNDED),
    "student in bfloat16": ({"bf16": True}, ROUNDED),
    "checkpointed": (CHECKPOINTED, EXACT),
    "compiled": (COMPILED, EXACT),
    "compiled and checkpointed": (COMPILED | CHECKPOINTED, EXACT),
    "both in bfloat16": ({"bf16": True, "teacher_dtype": "bfloat16"}, ROUNDED),
    "all": (COMPILED | CHECKPOINTED | {"bf16": True, "teacher_dtype": "bfloat16"}, ROUNDED),
}
FAST = ("teacher in bfloat16", "teacher in int8")
# It is no part of the test environment: transformers then loads it everywhere, which takes two seconds.
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="needs torchao: `pip install torchao`"
)
over_combinations = pytest.mark.parametrize(
    "combination",
    [
        pytest.param(
            name,
            marks=[
                *([needs_torchao] if "int8" in name else []),
                *([] if name in FAST else [pytest.mark.long]),
            ],
        )
        for name in COMBINATIONS
    ],
)


def logged(case: TaskCase, settings: dict[str, Any]) -> dict[str, float]:
    """The log of the second step, which the first one's update has reached."""
    if not case.student(0).supports_gradient_checkpointing:
        settings = {name: value for name, value in settings.items() if name not in CHECKPOINTED}
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(case, arguments(folder, **settings), rows=4)
        trainer.train()
    return trainer.state.log_history[1]


@functools.cache
def plain(case: TaskCase) -> dict[str, float]:
    """The run that everything is compared with."""
    return logged(case, {})


@over_combinations
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_combination_trains_as_the_plain_run_does(case: TaskCase, combination: str) -> None:
    """Else a run that was made cheaper teaches something else, for example maps of an earlier training."""
    settings, tolerance = COMBINATIONS[combination]
    log, expected = logged(case, settings), plain(case)
    for name, relative in tolerance.items():
        assert log[name] == pytest.approx(expected[name], rel=relative), name
    for name in ("loss_task", "loss_pixel", "loss_pairwise", "loss_holistic"):
        loss = tolerance["loss"]
        assert log[name] == pytest.approx(expected[name], rel=3 * loss, abs=0.1 * loss), name


def test_a_teacher_is_converted_apart_from_the_callers_and_answers_in_float32(tmp_path: Path) -> None:
    """Else the next trainer gets a rounded teacher, or a term computes in two or three digits."""
    teacher = SEGMENTATION.teacher(1)
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, teacher_dtype="bfloat16"), teacher=teacher)
    batch = trainer._prepare_inputs(trainer.data_collator(trainer.train_dataset.rows[:2]))
    trainer.teacher.prepare_features(batch["pixel_values"], [])
    answer = trainer.teacher(batch)
    assert (teacher.dtype, trainer.teacher.model.dtype) == (torch.float32, torch.bfloat16)
    assert {answer.output.logits.dtype, *(one.dtype for one in answer.features)} == {torch.float32}
    images = batch["pixel_values"].to(torch.bfloat16)
    rounded = teacher.to(images.device, torch.bfloat16)(images).logits
    assert torch.equal(answer.output.logits, rounded.float())


@needs_torchao
def test_linear_layers_alone_are_stored_in_eight_bits(tmp_path: Path) -> None:
    """Else a teacher takes the memory that it took before, or the caller's own one is rounded."""
    teacher = SEGMENTATION.teacher(1)
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, teacher_dtype="int8"), teacher=teacher)
    kinds = {
        type(module).__name__: type(module.weight.data).__name__
        for module in trainer.teacher.model.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert kinds == {"Linear": "Int8Tensor", "Conv2d": "Tensor"}
    assert all(type(parameter.data) is torch.Tensor for parameter in teacher.parameters())


@needs_torchao
def test_a_teacher_without_linear_layers_is_not_called_quantised() -> None:
    with pytest.raises(ValueError, match="`teacher_dtype` int8 stores linear layers"):
        quantize_weights(torch.nn.Conv2d(3, 4, 1))


@pytest.mark.skipif(importlib.util.find_spec("torchao") is not None, reason="torchao is there")
def test_what_eight_bits_need_is_said() -> None:
    with pytest.raises(ImportError, match=r"pip install \"hf_structkd\[quantization\]\""):
        quantize_weights(torch.nn.Linear(3, 4))


@needs_torchao
def test_a_cache_refuses_a_teacher_whose_bytes_it_cannot_read(tmp_path: Path) -> None:
    """Two teachers of one configuration would share their answers."""
    teacher = SEGMENTATION.teacher(1)
    quantize_weights(teacher)
    with pytest.raises(ValueError, match="`teacher_cache` must know the teacher by its weights"):
        make_trainer(SEGMENTATION, arguments(tmp_path, teacher_cache=str(tmp_path)), teacher=teacher).train()


def test_an_unknown_precision_of_the_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`teacher_dtype` must be"):
        arguments(tmp_path, teacher_dtype="bf16")


@on_cpu_alone
def test_the_scaler_of_float16_reaches_the_student_alone(tmp_path: Path) -> None:
    """Accelerate unscales every optimiser it knows: a critic's gradient was divided twice, in silence.

    A CPU has no float16 training, but the scaler's steps are the same there. A power of two changes no bit.
    """
    states, before, overflows = {}, {}, 2.0**127
    for scale in (None, 2.0**10, overflows):
        torch.manual_seed(0)
        # Unclipped: the norm's last digit depends on whether the gradient was scaled.
        args = arguments(tmp_path, max_steps=1, max_grad_norm=0.0, mimic_weight=1.0)
        trainer = make_trainer(SEGMENTATION, args)
        before = state_of(trainer)
        if scale is not None:
            trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.train()
        states[scale] = state_of(trainer)
    assert trainer.accelerator.scaler.get_scale() < overflows
    assert any(not torch.equal(value, states[2.0**10][name]) for name, value in before.items())
    for name, value in states[None].items():
        torch.testing.assert_close(states[2.0**10][name], value, rtol=0, atol=0, msg=name)
        if name.startswith("holistic."):
            torch.testing.assert_close(states[overflows][name], value, rtol=0, atol=0, msg=name)
    for name, value in before.items():
        torch.testing.assert_close(states[overflows][name], value, rtol=0, atol=0, msg=name)
