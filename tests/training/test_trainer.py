"""The trainer, over every task: what it optimises, what it leaves alone, what it says."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_structkd import StructKDTrainer
from hf_structkd.data import load_segmentation_data
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.tasks import task_of

from ..cases import (
    ALONE,
    CASES,
    DETECTION,
    NUM_LABELS,
    ON_CPU,
    SEGMENTATION,
    Rows,
    StopAt,
    TaskCase,
    arguments,
    freeze_batch_norm,
    make_trainer,
    on_cpu_alone,
    state_of,
)
from ..tiny_models import tiny_segmentation_model

over_tasks = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

ONLY = {
    "task": ALONE,
    "pixel": {**ALONE, "task_weight": 0.0, "pixel_weight": 1.0},
    "pairwise": {**ALONE, "task_weight": 0.0, "pairwise_weight": 1.0},
    "holistic": {**ALONE, "task_weight": 0.0, "holistic_weight": 1.0},
}


def assert_states_close(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], **tolerance: float
) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value.cpu(), other[name].cpu(), **tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@over_tasks
def test_accumulation_leaves_the_run_unchanged(case: TaskCase, tmp_path: Path) -> None:
    """Else the loss grows with the number of micro-steps, and a weight means something else on each GPU."""
    runs = {}
    for size in (8, 2):
        args = arguments(
            tmp_path / str(size),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            # Plain SGD: Adam's first steps turn the rounding of a gradient near 0 into a full step.
            optim="sgd",
            critic_optimizer="sgd",
            critic_learning_rate=0.01,
            gradient_penalty_weight=10.0,
            critic_loss="wgan-gp",
            # Unclipped: clipping would hide a gradient of another size.
            max_grad_norm=0.0,
            critic_max_grad_norm=0.0,
        )
        trainer = make_trainer(case, args, rows=16)
        trainer.train()
        runs[size] = trainer
    assert_states_close(state_of(runs[8]), state_of(runs[2]), rtol=1e-4, atol=2e-6)
    logs = [[log for log in run.state.log_history if "loss" in log] for run in runs.values()]
    for whole, split in zip(*logs, strict=True):
        for name in (
            "loss",
            "grad_norm",
            *(f"loss_{term}" for term in ONLY),
            "critic_loss",
            "gradient_penalty",
        ):
            assert split[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-5), name


@over_tasks
def test_without_distillation_it_is_the_plain_trainer(case: TaskCase, tmp_path: Path) -> None:
    """Else "alone" in every comparison is not what a user would get from transformers."""
    settings: dict[str, Any] = {
        "output_dir": str(tmp_path),
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        # Adam would make a whole step of a gradient that is rounding in both.
        "optim": "sgd",
        "learning_rate": 0.1,
        "use_cpu": ON_CPU,
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    plain = Trainer(
        case.student(0),
        TrainingArguments(**settings, remove_unused_columns=False),
        train_dataset=case.rows(8),
        data_collator=task_of(case.student(0)).collate,
        compute_loss_func=case.own_loss,
    )
    plain.train()
    # The teacher's folder does not exist: at weight 0 it is not even looked for.
    ours = StructKDTrainer(
        case.student(0),
        "no/such-teacher",
        arguments(tmp_path, max_steps=3, optim="sgd", learning_rate=0.1, **ALONE),
        train_dataset=case.rows(8),
    )
    ours.train()
    assert ours.teacher is None
    assert not ours.terms["holistic"].networks
    assert_states_close(
        {n: v for n, v in plain.model.state_dict().items()},
        {n: v for n, v in ours.model.state_dict().items()},
        # On a GPU sums have no fixed order.
        **({"rtol": 1e-6, "atol": 1e-7} if ON_CPU else {"rtol": 1e-4, "atol": 1e-5}),
    )


@over_tasks
def test_the_teacher_is_bit_identical_after_training(case: TaskCase, tmp_path: Path) -> None:
    """Else the student chases a teacher that its own batches have moved (BatchNorm, a shared optimiser)."""
    teacher = case.teacher(1).train()
    before = copy.deepcopy(teacher.state_dict())
    trainer = make_trainer(case, arguments(tmp_path), teacher=teacher)
    trainer.train()
    assert_states_close(before, teacher.state_dict(), rtol=0, atol=0)
    assert not any(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())


@over_tasks
def test_the_teacher_runs_before_the_student(case: TaskCase, tmp_path: Path) -> None:
    """Else what it computes on the way stands in memory on top of all activations of the student."""
    trainer = make_trainer(case, arguments(tmp_path, max_steps=1))
    order: list[str] = []
    for name, model in (("student", trainer.model), ("teacher", trainer.teacher.model)):
        model.register_forward_hook(lambda *_, name=name: order.append(name))
    trainer.train()
    assert order[-2:] == ["teacher", "student"]


@over_tasks
@pytest.mark.parametrize("term", ONLY)
def test_every_term_alone_trains_the_student(case: TaskCase, term: str, tmp_path: Path) -> None:
    """Else a term is logged and weighted, and teaches nothing."""
    student = freeze_batch_norm(case.student(0))
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    make_trainer(case, arguments(tmp_path, max_steps=1, **ONLY[term]), student=student).train()
    # Keys' biases cancel in the softmax of attention: their true gradient is 0. The pair-wise term ends
    # at the feature map.
    exempt = ("key.bias", *(case.behind_feature if term == "pairwise" else ()))
    still = [
        name
        for name, p in student.named_parameters()
        if torch.equal(p.cpu(), before[name]) and not any(e in name for e in exempt)
    ]
    assert still == []


@over_tasks
@pytest.mark.parametrize("off", ["pixel", "pairwise", "holistic"])
def test_a_term_of_weight_0_costs_nothing(
    case: TaskCase, off: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an ablation pays for, and may be changed by, what it leaves out."""
    args = arguments(tmp_path, max_steps=1, **{f"{off}_weight": 0.0})
    trainer = make_trainer(case, args)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{off} was computed")

    method = {"pixel": "output_loss", "pairwise": "feature_pairs", "holistic": "score_maps"}[off]
    monkeypatch.setattr(trainer.task, method, fail)
    trainer.train()
    logs = trainer.state.log_history[0]
    assert f"loss_{off}" not in logs
    assert (not trainer.terms["holistic"].networks) == (off == "holistic")


@over_tasks
def test_the_loss_is_the_weighted_sum_of_the_terms_it_logs(case: TaskCase, tmp_path: Path) -> None:
    """Else the logged terms cannot be compared between runs of different weights."""
    weights = {"task_weight": 0.5, "pixel_weight": 2.0, "pairwise_weight": 7.0, "holistic_weight": 0.25}
    trainer = make_trainer(case, arguments(tmp_path, max_steps=3, logging_steps=3, **weights))
    trainer.train()
    log = next(log for log in trainer.state.log_history if "loss" in log)
    total = sum(weights[f"{term}_weight"] * log[f"loss_{term}"] for term in ONLY)
    assert log["loss"] == pytest.approx(total, rel=1e-5)
    assert {"critic_loss", "critic_gap"} <= log.keys()


@over_tasks
def test_a_critic_leaves_the_students_randomness_alone(case: TaskCase, tmp_path: Path) -> None:
    """Else distilled and alone see other dropout and other orders, and a difference is partly luck."""
    states = []
    for weight in (0.0, 0.1):
        args = arguments(tmp_path / str(weight), holistic_weight=weight, max_steps=1)
        make_trainer(case, args).train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@over_tasks
def test_evaluation_runs_no_teacher_and_keeps_no_logits(
    case: TaskCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else evaluating ADE20K takes 20 GB, and the teacher's time."""
    trainer = make_trainer(case, arguments(tmp_path))
    assert trainer.teacher is not None
    monkeypatch.setattr(trainer.teacher, "model", None)
    step, shapes = trainer.prediction_step, []

    def record(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        shapes.extend(tuple(part.shape) for part in result[1:])
        return result

    monkeypatch.setattr(trainer, "prediction_step", record)
    metrics = trainer.evaluate()
    assert 0 <= metrics[case.metric] <= case.highest
    assert all(isinstance(value, float | int) for value in metrics.values())
    # Statistics, not logits: no dimension is an image's or a map's.
    assert all(max(shape[1:], default=0) < 16 for shape in shapes)


@over_tasks
def test_evaluating_the_teacher_equals_evaluating_it_as_a_student(case: TaskCase, tmp_path: Path) -> None:
    """Else the table's first line is not the teacher that taught."""
    teacher = case.teacher(1)
    as_student = make_trainer(case, arguments(tmp_path, **ALONE), student=copy.deepcopy(teacher)).evaluate()
    as_teacher = make_trainer(case, arguments(tmp_path), teacher=teacher).evaluate_teacher()
    for name, value in as_teacher.items():
        assert as_student[f"eval_{name}"] == pytest.approx(value, nan_ok=True), name


def test_a_callers_metric_gets_the_logits(tmp_path: Path) -> None:
    seen = []

    def count(prediction: Any, compute_result: bool = True) -> dict[str, float]:
        seen.append(tuple(prediction.predictions.shape))
        return {"images": float(len(prediction.label_ids))}

    trainer = make_trainer(SEGMENTATION, arguments(tmp_path), compute_metrics=count)
    assert trainer.evaluate()["eval_images"] == 4
    assert seen == [(4, 5, 16, 16)]


@over_tasks
def test_the_table_before_the_first_step_names_both_features(
    case: TaskCase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else nobody notices that an intermediate map is compared."""
    make_trainer(case, arguments(tmp_path, max_steps=1)).train()
    printed = capsys.readouterr().out
    for word in ("feature", "nodes", "10 × pairwise", "extra memory"):
        assert printed.count(word) >= 1, word


@over_tasks
def test_a_teacher_in_bfloat16_keeps_its_dtype(case: TaskCase, tmp_path: Path) -> None:
    """Else a large teacher takes twice the memory that its user gave it."""
    teacher = case.teacher(1).to(torch.bfloat16)
    trainer = make_trainer(case, arguments(tmp_path, max_steps=1), teacher=teacher)
    trainer.train()
    assert next(teacher.parameters()).dtype == torch.bfloat16
    assert math.isfinite(trainer.state.log_history[0]["loss"])


@over_tasks
def test_autocast_and_gradient_checkpointing_change_the_loss_little(case: TaskCase, tmp_path: Path) -> None:
    """Else a recomputed forward overwrites the captured map, or a half-precision norm underflows."""
    losses, norms = [], []
    checkpointing = (
        {"activation_checkpointing": True} if case.student(0).supports_gradient_checkpointing else {}
    )
    for number, extra in enumerate(({}, {"bf16": True}, checkpointing)):
        trainer = make_trainer(case, arguments(tmp_path / str(number), max_steps=1, **extra))
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
        norms.append(trainer.state.log_history[0]["grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=0.1)
    assert norms[2] == pytest.approx(norms[0], rel=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


def poisoned_from(epoch: int, rows: Rows) -> Rows:
    """The same rows, their images NaN from this epoch on."""

    def set_epoch(now: int) -> None:
        if now == epoch:
            rows.rows = [{**row, "pixel_values": row["pixel_values"] * math.nan} for row in rows.rows]

    rows.set_epoch = set_epoch  # type: ignore[attr-defined]
    return rows


@on_cpu_alone
@over_tasks
def test_a_loss_that_turns_non_finite_stops_saves_and_names_the_term(case: TaskCase, tmp_path: Path) -> None:
    """Else a night of training ends with weights and BatchNorm statistics full of NaN."""
    rows = case.rows(4).rows
    good = make_trainer(
        case, arguments(tmp_path / "good", max_steps=4, lr_scheduler_type="constant"),
        student=case.student(0), train_dataset=Rows(rows), callbacks=[StopAt(1)],
    )  # fmt: skip
    good.train()
    bad = make_trainer(
        case, arguments(tmp_path / "bad", max_steps=4, lr_scheduler_type="constant"),
        student=case.student(0), train_dataset=poisoned_from(1, Rows(rows)),
    )  # fmt: skip
    with pytest.raises(FloatingPointError, match=r"loss_task.* turned non-finite at step 2;.*checkpoint-1"):
        bad.train()
    saved = type(bad.model).from_pretrained(tmp_path / "bad" / "checkpoint-1")
    assert_states_close(good.model.state_dict(), saved.state_dict(), rtol=0, atol=0)
    assert (tmp_path / "bad" / "checkpoint-1" / "critic.safetensors").is_file()


@on_cpu_alone
def test_stopping_leaves_a_checkpoint_that_is_there_alone(tmp_path: Path) -> None:
    """Else the one good checkpoint is overwritten by the stop that points to it."""
    args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=1, save_total_limit=1)
    rows = poisoned_from(1, SEGMENTATION.rows(4))
    trainer = make_trainer(SEGMENTATION, args, student=SEGMENTATION.student(0), train_dataset=rows)
    with pytest.raises(FloatingPointError, match=r"the weights before it are in .*checkpoint-1"):
        trainer.train()
    files = sorted((tmp_path / "checkpoint-1").iterdir())
    times = {file.name: file.stat().st_mtime_ns for file in files}
    assert max(times.values()) <= (tmp_path / "checkpoint-1" / "trainer_state.json").stat().st_mtime_ns
    state = type(trainer.model).from_pretrained(tmp_path / "checkpoint-1").state_dict()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


class SpoilWeights(TrainerCallback):
    """Makes the student's weights NaN after a step, as an optimiser with a NaN gradient would."""

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        if state.global_step == 1:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)


def test_spoilt_weights_are_never_saved(tmp_path: Path) -> None:
    """Else they rotate the last good checkpoint away, and the message points at NaN."""
    args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=1, save_total_limit=2)
    trainer = make_trainer(SEGMENTATION, args, callbacks=[SpoilWeights()])
    trainer.args.save_steps = 100  # only the stop itself could save
    trainer.state.save_steps = 100
    with pytest.raises(FloatingPointError, match="no checkpoint was written before"):
        trainer.train()
    assert not list(tmp_path.glob("checkpoint-*"))


@over_tasks
def test_a_teacher_that_is_not_finite_is_refused(case: TaskCase, tmp_path: Path) -> None:
    teacher = case.teacher(1)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(ValueError, match=r"`teacher_model`.*not finite on the first batch"):
        make_trainer(case, arguments(tmp_path), teacher=teacher).train()


def test_a_teacher_that_refuses_the_images_says_what_to_set(tmp_path: Path) -> None:
    rows = SEGMENTATION.rows(4)
    for row in rows.rows:
        row["pixel_values"], row["labels"] = row["pixel_values"][:, :48], row["labels"][:48]
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, max_steps=1), train_dataset=rows)
    with pytest.raises(ValueError, match=r"refused images of 48 × 64 .*`teacher_image_size`"):
        trainer.train()
    args = arguments(tmp_path, max_steps=1, teacher_image_size=(64, 64))
    make_trainer(SEGMENTATION, args, train_dataset=rows).train()


@over_tasks
def test_what_cannot_be_trained_is_refused_at_once(case: TaskCase, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`teacher_model` is None, but the terms \['holistic', 'pairwise', 'pixel'\]"
    ):
        StructKDTrainer(case.student(0), None, arguments(tmp_path))
    with pytest.raises(TypeError, match="`args` must be StructKDTrainingArguments, got TrainingArguments"):
        StructKDTrainer(case.student(0), None, TrainingArguments(str(tmp_path)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no teacher to evaluate"):
        make_trainer(case, arguments(tmp_path, **ALONE)).evaluate_teacher()


def test_labels_outside_the_classes_are_named_before_the_first_step(tmp_path: Path) -> None:
    """Else a GPU dies of a device-side assertion that names nothing."""
    rows = SEGMENTATION.rows(4)
    rows.rows[2]["labels"][0, 0] = 9
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 5\).*got 9 in image"):
        make_trainer(SEGMENTATION, arguments(tmp_path), train_dataset=rows).train()


def test_the_teacher_sees_images_in_its_own_normalisation(tmp_path: Path) -> None:
    """Else a teacher trained on [-1, 1] is shown ImageNet statistics and teaches noise."""
    from transformers import BeitImageProcessorPil, SegformerImageProcessorPil

    trainer = make_trainer(
        SEGMENTATION,
        arguments(tmp_path),
        processing_class=SegformerImageProcessorPil(),
        teacher_processing_class=BeitImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3),
    )
    assert trainer.teacher is not None
    colours = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for_student = (colours - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(trainer.teacher.images(for_student), (colours - 0.5) / 0.5)


def test_named_modules_replace_the_features_that_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = arguments(tmp_path, max_steps=1, student_feature="decode_head.linear_fuse", teacher_feature="neck")
    make_trainer(SEGMENTATION, args).train()
    printed = capsys.readouterr().out
    assert "decode_head.linear_fuse" in printed
    assert "neck" in printed


def test_models_that_share_parameters_are_refused(tmp_path: Path) -> None:
    """Else freezing the teacher freezes the student without a word."""
    student = SEGMENTATION.student(0)
    with pytest.raises(ValueError, match="`model` and `teacher_model` share parameters"):
        make_trainer(SEGMENTATION, arguments(tmp_path), student=student, teacher=student)


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`label_smoothing_factor` has no effect"):
        make_trainer(SEGMENTATION, arguments(tmp_path, label_smoothing_factor=0.1))
    with pytest.raises(ValueError, match="`compute_loss_func` has no effect"):
        make_trainer(SEGMENTATION, arguments(tmp_path), compute_loss_func=lambda *_, **__: None)


def test_the_holistic_term_is_never_left_out_in_silence(tmp_path: Path) -> None:
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path))
    batch = trainer.task.collate(SEGMENTATION.rows(2).rows)
    with pytest.raises(RuntimeError, match=r"the holistic term is made ready by `train\(\)`"):
        trainer.compute_loss(trainer.model.train(), batch)


def test_bad_labels_are_named_in_any_batch_and_in_evaluation(tmp_path: Path) -> None:
    """Else only the first batch gets a sentence, and the tenth an index error out of torch."""
    rows = SEGMENTATION.rows(8)
    for row in rows.rows[1:]:
        row["labels"] = row["labels"].clone()
    rows.rows[5]["labels"][0, 0] = 77
    trainer = make_trainer(
        SEGMENTATION,
        arguments(tmp_path, max_steps=4, per_device_train_batch_size=2, **ALONE),
        train_dataset=rows,
        eval_dataset=rows,
    )
    with pytest.raises(ValueError, match="got 77 in image"):
        trainer.train()
    with pytest.raises(ValueError, match="got 77 in image"):
        trainer.evaluate()


@pytest.mark.parametrize("case", [SEGMENTATION, DETECTION], ids=lambda case: case.name)
def test_the_loader_refuses_bad_labels_before_they_reach_the_device(case: TaskCase, tmp_path: Path) -> None:
    """On a GPU a label that is no class is an assertion that ends the process, and names no image."""
    rows = case.rows(2)
    labels = rows.rows[1]["labels"]
    (labels if case is SEGMENTATION else labels["class_labels"]).view(-1)[0] = 77
    trainer = make_trainer(case, arguments(tmp_path), train_dataset=rows, eval_dataset=rows)
    for loader in (trainer.get_train_dataloader(), trainer.get_eval_dataloader()):
        with pytest.raises(ValueError, match="got 77"):
            list(loader)


def test_a_stream_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    """Else streaming loads and fails in the trainer."""
    data = load_segmentation_data(
        image_size=(64, 64),
        normalization=ImageNormalization(),
        max_train_samples=8,
        max_eval_samples=2,
        streaming=True,
    )
    trainer = StructKDTrainer(
        tiny_segmentation_model("segformer", id2label=data.id2label),
        tiny_segmentation_model("dpt", id2label=data.id2label, seed=1),
        arguments(tmp_path, max_steps=3),
        train_dataset=data.train,
        eval_dataset=data.validation,
    )
    trainer.train()
    assert trainer.state.global_step == 3
    assert 0 <= trainer.evaluate()["eval_mean_iou"] <= 1
    assert trainer.accelerator.dataloader_config.dispatch_batches is False


def test_training_twice_leaves_one_set_of_hooks(tmp_path: Path) -> None:
    """Else every `train()` slows the next one and keeps its feature maps alive."""
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, max_steps=1))
    counts = []
    for _ in range(2):
        trainer.train()
        modules = [*trainer.model.modules(), *trainer.teacher.model.modules()]
        counts.append(sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules))
    assert counts[0] == counts[1] > 0


def test_models_are_loaded_by_folder(tmp_path: Path) -> None:
    student, teacher = SEGMENTATION.student(0), SEGMENTATION.teacher(1)
    student.save_pretrained(tmp_path / "student")
    teacher.save_pretrained(tmp_path / "teacher")
    trainer = StructKDTrainer(
        tmp_path / "student",
        tmp_path / "teacher",
        arguments(tmp_path, max_steps=1),
        train_dataset=SEGMENTATION.rows(4),
    )
    assert_states_close(dict(student.state_dict()), dict(trainer.model.state_dict()), rtol=0, atol=0)
    trainer.train()


def test_the_seed_of_the_arguments_draws_the_weights_that_a_named_student_lacks(tmp_path: Path) -> None:
    """Else a repeated run starts elsewhere, and so do the student alone and the distilled one."""
    student = SEGMENTATION.student(0)
    student.config.architectures = [type(student).__name__]
    student.config.save_pretrained(tmp_path / "student")

    def first_weights(seed: int, teacher: Any, **weights: float) -> torch.Tensor:
        args = arguments(tmp_path, seed=seed, **weights)
        trainer = StructKDTrainer(tmp_path / "student", teacher, args, train_dataset=SEGMENTATION.rows(4))
        torch.rand(3)  # what a program draws between two trainers
        return torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach()

    distilled = first_weights(1, SEGMENTATION.teacher(1))
    assert torch.equal(distilled, first_weights(1, SEGMENTATION.teacher(1)))
    assert torch.equal(distilled, first_weights(1, None, **ALONE))
    assert not torch.equal(distilled, first_weights(2, SEGMENTATION.teacher(1)))


def test_a_teacher_of_other_classes_is_refused_with_both_lists(tmp_path: Path) -> None:
    teacher = tiny_segmentation_model("dpt", id2label={0: "cat", 1: "dog"})
    with pytest.raises(ValueError, match="cat"):
        make_trainer(SEGMENTATION, arguments(tmp_path), teacher=teacher)


@pytest.mark.parametrize("reason", ["re-entrant checkpointing", "frozen layers"])
def test_a_feature_without_a_gradient_stops_at_the_first_step(reason: str, tmp_path: Path) -> None:
    """Else the pair-wise term is logged, weighted and trains nothing."""
    student = tiny_segmentation_model("dpt", num_labels=NUM_LABELS)
    settings: dict[str, Any] = {"student_feature": "dpt.encoder.layer.0.layernorm_after"}
    if reason == "frozen layers":
        student.dpt.requires_grad_(False)
    else:
        settings |= {
            "activation_checkpointing": True,
            "activation_checkpointing_kwargs": {"use_reentrant": True},
        }
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, max_steps=1, **settings), student=student)
    with pytest.raises(RuntimeError, match=r"the student's feature .* has no gradient"):
        trainer.train()
