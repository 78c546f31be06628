"""OWL-ViT and OWLv2 as teachers: every patch of the image is a box, compared with every phrase."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForZeroShotObjectDetection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from ...matching.alignment import resize_map
from ..teacher_forms import TeacherForm
from .base import PromptedTeacher, best_of, detections
from .prompts import Prompts


class OwlTeacher(PromptedTeacher):
    """An OWL-ViT or OWLv2; the score of a class is that of its best phrase, as in its post-processing.

    Images are brought to the one size that the model takes, as its own processor does: OWL-ViT stretches
    them, OWLv2 first makes them square with black below or to the right. Boxes and maps are brought back to
    the image.
    """

    def _read(self, prompts: Prompts, tokenizer: Any) -> None:
        self._read_each(prompts, tokenizer, self.config.text_config.max_position_embeddings)
        self._pads = type(self.inner).__name__.startswith("Owlv2")
        self._texts: Tensor | None = None

    def _answer(self, images: Tensor, mask: Tensor | None, prompts: Prompts) -> DetrObjectDetectionOutput:
        height, width = images.shape[-2:]
        side = max(height, width) if self._pads else None
        grid, _ = self.inner.image_embedder(self._at_own_size(images, side))
        patches = grid.flatten(1, 2)
        logits, _ = self.inner.class_predictor(patches, self._text_features(patches))
        boxes = self.inner.box_predictor(patches, grid)
        maps = grid.permute(0, 3, 1, 2)
        if side is not None:
            # The image ends within a cell of the grid; the nearest whole number of cells is kept.
            rows, columns = (max(1, round(maps.shape[-1] * one / side)) for one in (height, width))
            maps = maps[..., :rows, :columns]
            boxes = boxes * boxes.new_tensor([side / width, side / height]).repeat(2)
        self.image_map([maps])
        return detections(best_of(logits, self.owners, len(prompts.names)), boxes)

    def _at_own_size(self, images: Tensor, side: int | None) -> Tensor:
        size = self.config.vision_config.image_size
        if side is not None:
            mean, std = (images.new_tensor(values) for values in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
            square = (-mean / std).view(3, 1, 1).repeat(len(images), 1, side, side)
            square[..., : images.shape[-2], : images.shape[-1]] = images
            images = square
        return resize_map(images, (size, size)).to(images.dtype)

    def _text_features(self, patches: Tensor) -> Tensor:
        """Return the features (B, phrases, C) of the phrases, which are computed once."""
        if self._texts is None or (self._texts.device, self._texts.dtype) != (patches.device, patches.dtype):
            encoded = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
            features = self.inner.base_model.get_text_features(**encoded).pooler_output
            self._texts = F.normalize(features, dim=-1)
        return self._texts.expand(len(patches), -1, -1)


OWL = TeacherForm(
    AutoModelForZeroShotObjectDetection,
    frozenset({"OwlViTForObjectDetection", "Owlv2ForObjectDetection"}),
    OwlTeacher,
    reads_text=True,
)
"""The form of these teachers."""
