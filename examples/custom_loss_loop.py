"""The losses in a training loop of your own, without the trainer.

    python examples/custom_loss_loop.py

trains a small student on the embedded scenes for a few steps against a random teacher, in seconds. It shows
what the trainer does for you: finding the feature maps, aligning sizes, and nothing else hidden.
"""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from hf_structkd import load_segmentation_data, pairwise_distillation_loss, pixel_distillation_loss
from hf_structkd.data import collate_dense
from hf_structkd.features import FeatureCapture
from hf_structkd.matching.alignment import align_to_coarser, resize_ids, resize_map
from hf_structkd.matching.normalization import ImageNormalization


def segformer(widths: list[int], num_labels: int) -> SegformerForSemanticSegmentation:
    """Build a SegFormer of the given widths, from scratch."""
    config = SegformerConfig(
        hidden_sizes=widths, depths=[1] * 4, decoder_hidden_size=widths[-1], num_labels=num_labels
    )
    return SegformerForSemanticSegmentation(config)


def main(steps: int = 10) -> list[float]:
    """Train for some steps; return the total loss of each."""
    torch.manual_seed(0)
    data = load_segmentation_data(
        image_size=(64, 96), normalization=ImageNormalization(), max_train_samples=32, max_eval_samples=1
    )
    loader = DataLoader(data.train, batch_size=4, shuffle=True, collate_fn=collate_dense)
    student = segformer([8, 16, 32, 64], len(data.id2label)).train()
    teacher = segformer([16, 32, 64, 128], len(data.id2label)).eval().requires_grad_(False)
    images = next(iter(loader))["pixel_values"]
    student_map = FeatureCapture.before_classifier(student, images)
    teacher_map = FeatureCapture.before_classifier(teacher, images)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    losses: list[float] = []
    while len(losses) < steps:
        for batch in loader:
            with torch.no_grad(), teacher_map.recording():
                target = teacher(batch["pixel_values"]).logits
            with student_map.recording():
                logits = student(batch["pixel_values"]).logits
            size = (batch["labels"].shape[-2], batch["labels"].shape[-1])
            task = torch.nn.functional.cross_entropy(
                resize_map(logits, size), batch["labels"], ignore_index=255
            )
            pair = align_to_coarser(logits, target)
            mask = resize_ids(batch["labels"], tuple(pair[0].shape[-2:])) != 255
            pixel = pixel_distillation_loss(*pair, mask=mask)
            features = align_to_coarser(student_map.pop(), teacher_map.pop())
            total = task + pixel + 10 * pairwise_distillation_loss(*features, granularity=2)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            losses.append(total.item())
            print(f"step {len(losses)}: total {losses[-1]:.3f}, task {task.item():.3f}")
            if len(losses) == steps:
                break
    return losses


if __name__ == "__main__":
    main()
