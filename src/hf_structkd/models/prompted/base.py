"""What all teachers that read text share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from ..teacher_forms import WrappedTeacher
from .prompts import Prompts, prompts_for


class PromptedTeacher(WrappedTeacher):
    """A frozen model that finds what text describes, and answers for the classes that it is asked for.

    Before `asked_for` it has no classes and cannot be run. The configuration is a copy of that of the model
    inside, with these classes.

    Args:
        model: The model inside.
        prompts: What it is asked for.
        tokenizer: The tokenizer of the model.

    Attributes:
        prompts: As given.
        image_map: Passes on a list of maps of the image, (B, C, h, w), which are the features to compare.
        finds_rest: Whether it can tell what no phrase describes, see `prompts_for`.

    Raises:
        ValueError: If a phrase does not fit the model's text, or its tokenizer makes nothing of it.
    """

    finds_rest: ClassVar[bool] = False
    feature_module = "image_map"

    def __init__(self, model: PreTrainedModel, prompts: Prompts | None = None, tokenizer: Any = None) -> None:
        """Turn the phrases into tokens, once."""
        config = copy.deepcopy(model.config)
        config.id2label = {} if prompts is None else prompts.id2label
        super().__init__(model, config)
        self.prompts = prompts
        self.image_map = nn.Identity()
        if prompts is not None:
            self.register_buffer("owners", torch.tensor(prompts.owners), persistent=False)
            self._read(prompts, tokenizer)

    owners: Tensor

    def asked_for(
        self, student: PretrainedConfig, given: Mapping[str, Sequence[str]] | None, tokenizer: Any
    ) -> PromptedTeacher:
        """Return a teacher around the same model that is asked for a student's classes.

        Args:
            student: The student's configuration.
            given: The phrases of each class; None asks for the classes' names.
            tokenizer: The tokenizer of the model.

        Raises:
            ValueError: As `prompts_for`, or as this class.
        """
        names = [str(student.id2label[index]) for index in sorted(student.id2label)]
        return type(self)(self.inner, prompts_for(names, given, finds_rest=self.finds_rest), tokenizer)

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> Any:
        """Answer for the classes that were asked for, as a model of the task does.

        Raises:
            ValueError: If it was asked for nothing yet.
        """
        if self.prompts is None:
            raise ValueError(
                f"{type(self.inner).__name__} reads text, and was asked for nothing yet; take the model that "
                "`asked_for` returns."
            )
        return self._answer(pixel_values, pixel_mask, self.prompts)

    def _answer(self, images: Tensor, mask: Tensor | None, prompts: Prompts) -> Any:
        """Run the model inside; of a detector, return logits of sigmoids and boxes in shares of the image."""
        raise NotImplementedError

    def _read(self, prompts: Prompts, tokenizer: Any) -> None:
        """Turn the phrases into tokens, and keep these as buffers; each kind of model lays them out."""
        raise NotImplementedError

    def _read_each(self, prompts: Prompts, tokenizer: Any, length: int) -> None:
        """Keep every phrase as a row of `length` tokens, as the processors of CLIP's relatives do."""
        for phrase in prompts.phrases:
            phrase_tokens(phrase, tokenizer)
            count = len(tokenizer(phrase)["input_ids"])
            if count > length:
                raise ValueError(
                    f"`teacher_prompts` or the class names must fit the teacher's {length} tokens a "
                    f"phrase, got {phrase!r} of {count}; write a shorter one in `teacher_prompts`."
                )
        self._keep(tokenizer(list(prompts.phrases), **padded_to(length)))

    def _keep(self, encoded: Mapping[str, Tensor], prefix: str = "") -> None:
        for name in ("input_ids", "attention_mask"):
            self.register_buffer(f"{prefix}{name}", encoded[name], persistent=False)

    input_ids: Tensor
    attention_mask: Tensor


def phrase_tokens(phrase: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a phrase, without those for the start and the end of a text.

    Raises:
        ValueError: If the tokenizer makes nothing of the phrase, or knows no part of it.
    """
    tokens: list[int] = tokenizer(phrase, add_special_tokens=False)["input_ids"]
    if all(token == tokenizer.unk_token_id for token in tokens):
        raise ValueError(
            f"`teacher_prompts` or the class names must be words that the teacher knows, got "
            f"{phrase!r}, of which its tokenizer makes nothing; write other words in `teacher_prompts`."
        )
    return tokens


def padded_to(length: int) -> dict[str, Any]:
    """Return the arguments with which a tokenizer makes rows of `length` tokens."""
    return {"padding": "max_length", "max_length": length, "return_tensors": "pt"}


def best_of(scores: Tensor, owners: Tensor, count: int) -> Tensor:
    """Return the highest score of each group (B, Q, count), for scores (B, Q, N) and their groups (N,).

    A group number of `count` leaves a score out.
    """
    best = scores.new_full((*scores.shape[:-1], count + 1), -torch.inf)
    return best.scatter_reduce(-1, owners.expand_as(scores), scores, "amax")[..., :count]


def detections(logits: Tensor, boxes: Tensor) -> DetrObjectDetectionOutput:
    """Return logits (B, Q, K) of sigmoids and boxes (B, Q, 4) as a detector's output."""
    return DetrObjectDetectionOutput(logits=logits, pred_boxes=boxes)
