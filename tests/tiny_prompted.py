"""Tiny, offline, seeded models that find what text describes, and their tokenizers."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForZeroShotObjectDetection,
    CLIPSegForImageSegmentation,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import is_torchvision_available

from .tiny_configs import swin

WORDS = ("apple", "sofa", "lamp", "wall", "floor", "plum", "traffic", "light", "old", "red", "a")
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_STARTS = {"bos_token_id": 52, "eos_token_id": 53}
_CLIP_TEXT = {**_TEXT, "vocab_size": 54, "pad_token_id": 53, **_STARTS}
_VISION = {**_TEXT, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
_GROUNDING: dict[str, Any] = {
    "d_model": 32,  # the projections of its maps have 32 groups
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 10,
    "num_feature_levels": 3,
    "max_text_len": 40,
}


def _grounding(name: str) -> PretrainedConfig:
    text = transformers.BertConfig(**_TEXT, vocab_size=1200, max_position_embeddings=64)
    config = getattr(transformers, f"{name}Config")
    return config(backbone_config=swin("stage2", "stage3", "stage4"), text_config=text, **_GROUNDING)


def _owl(name: str) -> PretrainedConfig:
    config = getattr(transformers, f"{name}Config")
    text = {**_CLIP_TEXT, "max_position_embeddings": 24}
    return config(text_config=text, vision_config=_VISION, projection_dim=16)


def _omdet_turbo() -> PretrainedConfig:
    text = {**_CLIP_TEXT, "hidden_size": 24}  # its code expects another width than the decoder's
    return transformers.OmDetTurboConfig(
        backbone_config=swin("stage2", "stage3", "stage4"),
        text_config=transformers.CLIPTextConfig(**text, max_position_embeddings=24),
        apply_layernorm_after_vision_backbone=False,
        text_projection_in_dim=24,
        text_projection_out_dim=24,
        task_encoder_hidden_dim=16,
        class_embed_dim=24,
        num_queries=10,
        encoder_hidden_dim=16,
        decoder_hidden_dim=16,
        vision_features_channels=[16] * 3,
        encoder_in_channels=[16, 32, 64],
        encoder_attention_heads=2,
        encoder_dim_feedforward=16,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=16,
        decoder_num_points=2,
    )


def _clipseg() -> PretrainedConfig:
    return transformers.CLIPSegConfig(
        text_config={**_CLIP_TEXT, "max_position_embeddings": 24},
        vision_config=_VISION,
        projection_dim=16,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )


PROMPTED_DETECTORS: dict[str, Callable[[], PretrainedConfig]] = {
    "grounding-dino": functools.partial(_grounding, "GroundingDino"),
    "mm-grounding-dino": functools.partial(_grounding, "MMGroundingDino"),
    "omdet-turbo": _omdet_turbo,
    "owlv2": functools.partial(_owl, "Owlv2"),
    "owlvit": functools.partial(_owl, "OwlViT"),
}
PROMPTED = PROMPTED_DETECTORS | {"clipseg": _clipseg}


def tiny_prompted_model(arch: str, *, seed: int = 0) -> PreTrainedModel:
    """Build the architecture of some thousand weights, without dropout, in eval mode.

    Args:
        arch: One of `PROMPTED`.
        seed: Same seed, same weights; the global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = PROMPTED[arch]()
        if arch == "clipseg":
            model: PreTrainedModel = CLIPSegForImageSegmentation(config)
        else:
            model = AutoModelForZeroShotObjectDetection.from_config(config)
        _randomise(model)
    if "grounding" in arch:
        model.register_forward_hook(_prefer_one_phrase)
    if arch == "omdet-turbo":
        model.register_forward_hook(_spread)
    return model.eval()


@torch.no_grad()
def _randomise(model: PreTrainedModel) -> None:
    """Redraw the weights, because without training every phrase has nearly the same score everywhere."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
        elif "bias" in name and "norm" not in name:
            parameter.normal_(std=0.2)


def _prefer_one_phrase(module: Any, args: Any, output: Any) -> None:
    """Let each query be sure of all tokens of one phrase, and of no token between phrases."""
    separators = torch.isin(output.input_ids, torch.tensor([101, 102, 1012, 1029]))
    phrases = (separators.cumsum(1) - 1)[:, None]
    queries = torch.arange(output.logits.shape[1])[:, None]
    preferred = (phrases == queries % (separators.sum(1) - 2)[:, None, None]) & ~separators[:, None]
    logits, count = output.logits.clone(), output.input_ids.shape[1]
    logits[..., :count] = logits[..., :count].tanh() + torch.where(preferred, 3.0, -3.0)
    output.logits = logits


def _spread(module: Any, args: Any, output: Any) -> None:
    """Let queries differ in the phrase that they prefer."""
    logits = output.decoder_class_logits
    offsets = torch.randn(logits.shape[1:], generator=torch.Generator().manual_seed(1))
    output.decoder_class_logits = logits + 3 * offsets


def tiny_tokenizer(arch: str) -> Any:
    """Make a tokenizer of `WORDS`, which splits "bananas", or of single letters for CLIP's relatives."""
    if "grounding" in arch:
        vocabulary = {f"[unused{index}]": index for index in range(1200)}
        names = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
        names |= dict(enumerate((*WORDS, "##s"), start=200))
        vocabulary = {names.get(index, name): index for name, index in vocabulary.items()}
        return transformers.BertTokenizer(vocab=vocabulary)
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[])


class Processor:
    """What of a processor is read: the tokenizer, and how images are normalised."""

    def __init__(self, arch: str) -> None:
        self.tokenizer = tiny_tokenizer(arch)
        name = "SegformerImageProcessor" + ("" if is_torchvision_available() else "Pil")
        self.image_processor = getattr(transformers, name)()


@functools.cache
def tiny_processor(arch: str) -> Processor:
    """Make the processor of an architecture once."""
    return Processor(arch)
