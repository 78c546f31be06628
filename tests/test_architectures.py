"""Every architecture that transformers has for semantic segmentation, as teacher and as student."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hf_structkd import StructKDTrainer

from .cases import NUM_LABELS, Rows, arguments
from .tiny_models import SEGMENTATION_ARCHITECTURES, smallest_image, tiny_segmentation_model


def rows(arch: str, count: int = 2) -> Rows:
    height, width = smallest_image(arch)
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(NUM_LABELS, (count, 1, 4, 4), generator=generator).float()
    maps = nn.functional.interpolate(labels, size=(height, width)).long()[:, 0]
    images = torch.randn(count, 3, height, width, generator=generator)
    return Rows([{"pixel_values": image, "labels": label} for image, label in zip(images, maps, strict=True)])


@pytest.mark.parametrize("student_arch", SEGMENTATION_ARCHITECTURES)
def test_it_learns_from_every_architecture(
    student_arch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else "any pair" has an exception, and its user finds it after the download."""
    data = rows(student_arch)
    for teacher_arch in SEGMENTATION_ARCHITECTURES:
        student = tiny_segmentation_model(student_arch, num_labels=NUM_LABELS, seed=0)
        teacher = tiny_segmentation_model(teacher_arch, num_labels=NUM_LABELS, seed=1)
        before = {name: p.detach().clone() for name, p in student.named_parameters()}
        args = arguments(
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=2,
            granularity=1,
            teacher_image_size=smallest_image(teacher_arch),
        )
        trainer = StructKDTrainer(student, teacher, args, train_dataset=data, eval_dataset=data)
        trainer.train()
        pair = f"{teacher_arch} teaches {student_arch}"
        log = trainer.state.log_history[0]
        for term in ("task", "pixel", "pairwise", "holistic"):
            assert torch.isfinite(torch.tensor(log[f"loss_{term}"])), (pair, term)
        # Different random models agree nowhere: a term of 0 would not have seen them.
        assert log["loss_pixel"] > 1e-3, pair
        assert log["loss_pairwise"] > 1e-5, pair
        moved = sum(not torch.equal(p, before[name]) for name, p in student.named_parameters())
        assert moved > len(before) / 2, pair
        assert 0 <= trainer.evaluate()["eval_mean_iou"] <= 1, pair
    assert capsys.readouterr().out.count("feature map") == len(SEGMENTATION_ARCHITECTURES)
