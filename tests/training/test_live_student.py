"""The best model and a resumed run are read into the student that trains, whatever was changed or added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from hf_structkd import StructKDTrainer
from hf_structkd.models.restoring import restore_weights

from ..cases import NUM_LABELS, SEGMENTATION, StopAt, freeze_batch_norm, make_trainer, state_of
from ..tiny_models import tiny_segmentation_model
from .test_checkpoint import saving
from .test_trainer import assert_states_close

# PEFT reads a property that transformers has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
ATTENTION = ["query", "value", "q_proj", "v_proj"]


def lora(**settings: Any) -> LoraConfig:
    return LoraConfig(r=2, target_modules=ATTENTION, modules_to_save=["decode_head"], **settings)


def base() -> PreTrainedModel:
    return SEGMENTATION.student(0)


def with_changed_head() -> nn.Module:
    student = base()
    torch.manual_seed(3)
    old = student.decode_head.classifier
    student.decode_head.classifier = nn.Sequential(
        nn.Conv2d(old.in_channels, 7, 1), nn.ReLU(), nn.Conv2d(7, NUM_LABELS, 1)
    )
    return student


def with_adapter() -> nn.Module:
    student = base()
    torch.manual_seed(3)
    student.add_adapter(lora())
    return student


def wrapped() -> nn.Module:
    torch.manual_seed(3)
    wrapper: nn.Module = get_peft_model(base(), lora())
    return wrapper


MAKERS = pytest.mark.parametrize("make", [with_changed_head, with_adapter, wrapped])


@MAKERS
def test_a_changed_student_resumes_bit_for_bit(make: Any, tmp_path: Path) -> None:
    """It was built anew from the folder, so that a complete checkpoint was refused."""
    through = make_trainer(SEGMENTATION, saving(tmp_path / "through", max_steps=3), student=make())
    through.train()
    args = saving(tmp_path / "cut", max_steps=3)
    make_trainer(SEGMENTATION, args, student=make(), callbacks=[StopAt(1)]).train()
    resumed = make_trainer(SEGMENTATION, args, student=make())
    resumed.train(resume_from_checkpoint=True)
    assert_states_close(state_of(through), state_of(resumed), rtol=0, atol=0)


@pytest.mark.parametrize("make", [base, with_changed_head, with_adapter, wrapped])
def test_the_best_student_comes_back_changed_or_not(make: Any, tmp_path: Path) -> None:
    """It raised at the last step, after the whole training."""
    args = saving(
        tmp_path,
        max_steps=3,
        learning_rate=1e-2,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        # The worst one, in truth: it is the first, so that keeping the last would show.
        greater_is_better=True,
    )
    trainer = make_trainer(SEGMENTATION, args, student=make())
    trainer.train()
    losses = {log["step"]: log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log}
    assert max(losses, key=losses.__getitem__) != 3
    assert trainer.evaluate()["eval_loss"] == pytest.approx(max(losses.values()))


@pytest.mark.parametrize("make", [with_adapter, wrapped])
def test_a_checkpoint_without_adapters_is_one_sentence(make: Any, tmp_path: Path) -> None:
    """PEFT warned of missing keys and the optimiser complained of its groups, or a file was not found."""
    make_trainer(SEGMENTATION, saving(tmp_path, max_steps=1), student=base()).train()
    with pytest.raises(RuntimeError, match=r"the student has adapters and .*checkpoint-1 holds none"):
        make_trainer(SEGMENTATION, saving(tmp_path), student=make()).train(resume_from_checkpoint=True)


def test_adapters_of_another_rank_are_refused(tmp_path: Path) -> None:
    """A copy broadcasts: those of rank 1 would fill both rows of a rank of 2."""
    student = base()
    student.add_adapter(LoraConfig(r=1, target_modules=ATTENTION, modules_to_save=["decode_head"]))
    student.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="or has them in another shape"):
        restore_weights(with_adapter(), tmp_path)


def logits(model: nn.Module) -> torch.Tensor:
    images = torch.stack([row["pixel_values"] for row in SEGMENTATION.rows(2).rows])
    with torch.no_grad():
        out: torch.Tensor = model.eval()(images).logits
    return out


def trained(folder: Path) -> StructKDTrainer:
    trainer = make_trainer(SEGMENTATION, saving(folder, max_steps=1, learning_rate=1e-2), student=wrapped())
    trainer.train()
    trainer.save_model()
    return trainer


def test_saved_adapters_give_the_student_that_was_scored_kept_or_merged(tmp_path: Path) -> None:
    trainer = trained(tmp_path / "adapters")
    scored = logits(trainer.model)
    assert not torch.equal(scored, logits(base()))
    kept = PeftModel.from_pretrained(base(), tmp_path / "adapters")
    torch.testing.assert_close(logits(kept), scored, rtol=0, atol=0)
    kept.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged = type(base()).from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(merged), scored)
    assert not list((tmp_path / "adapters").glob("model*"))
    trainer.create_model_card()
    assert "SegformerForSemanticSegmentation" in (tmp_path / "adapters" / "README.md").read_text()


def test_what_the_adapters_files_would_lack_is_refused_before_training(tmp_path: Path) -> None:
    """Whoever loads them on the base would get another student than the one that was scored."""
    outside = get_peft_model(base(), LoraConfig(r=2, target_modules=ATTENTION))
    with pytest.raises(ValueError, match=r"`model` has adapters, .* do not hold .*decode_head\.batch_norm"):
        make_trainer(SEGMENTATION, saving(tmp_path), student=outside).train()
    trains_more = get_peft_model(freeze_batch_norm(base()), LoraConfig(r=2, target_modules=ATTENTION))
    trains_more.get_base_model().decode_head.classifier.weight.requires_grad_(True)
    with pytest.raises(ValueError, match=r"do not hold .*decode_head\.classifier\.weight and 1 such"):
        make_trainer(SEGMENTATION, saving(tmp_path), student=trains_more).train()


def test_restoring_keeps_the_tensors_that_an_optimiser_holds(tmp_path: Path) -> None:
    """Else whoever trains on after a restore trains weights that no forward uses."""
    student = tiny_segmentation_model("segformer", num_labels=NUM_LABELS, seed=1)
    student.save_pretrained(tmp_path)
    other = tiny_segmentation_model("segformer", num_labels=NUM_LABELS, seed=2)
    before = {name: id(value) for name, value in other.state_dict(keep_vars=True).items()}
    restore_weights(other, tmp_path)
    assert {name: id(value) for name, value in other.state_dict(keep_vars=True).items()} == before
    assert_states_close(other.state_dict(), student.state_dict(), rtol=0, atol=0)
