"""What is frozen stays bit for bit as it is, statistics included, while the rest learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from put_backbone import read_backbone, save_under_head
from safetensors.torch import load_file
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModelForSemanticSegmentation,
    ResNetConfig,
    RTDetrForObjectDetection,
    SegformerModel,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from hf_structkd.models.freezing import freeze

from ..cases import SEGMENTATION, arguments, make_trainer
from ..tiny_detectors import tiny_detector
from ..tiny_models import tiny_segmentation_model


def test_a_frozen_part_is_not_trained_and_the_rest_is(tmp_path: Path) -> None:
    """BatchNorms move in train mode, into which `Trainer` puts the model before every step."""
    trainer = make_trainer(SEGMENTATION, arguments(tmp_path, max_steps=2, weight_decay=0.1))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    (norm,) = (name for name in before if name.endswith("running_mean"))
    frozen = ("segformer.", norm.removesuffix("running_mean"))
    freeze(trainer.model, [f"{part}*" for part in frozen])
    trainer.train()
    after = trainer.model.state_dict()
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert moved
    assert not [name for name in moved if name.startswith(frozen)]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("backbne.*", r"`freeze` must match names of parameters, got 'backbne\.\*'; one is '"),
        ("*", r"`freeze` must leave parameters to train, got \['\*'\]; narrow a pattern"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_everything_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        freeze(tiny_segmentation_model("segformer"), [pattern])


def test_a_backbone_is_written_under_a_head(tmp_path: Path) -> None:
    """A head that is written too would be the same for every seed."""
    whole = tiny_segmentation_model("segformer", seed=3)
    whole.config.architectures = ["SegformerForSemanticSegmentation"]
    whole.config.save_pretrained(tmp_path / "config")
    save_under_head(whole.segformer, str(tmp_path / "config"), tmp_path / "model")
    loaded, info = AutoModelForSemanticSegmentation.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"decode_head"}
    for name, tensor in whole.segformer.state_dict().items():
        assert torch.equal(loaded.segformer.state_dict()[name], tensor)
    other = SegformerModel(AutoConfig.from_pretrained(tmp_path / "config", depths=[2, 1, 1, 1]))
    with pytest.raises(ValueError, match="must have a part like the SegformerModel"):
        save_under_head(other, str(tmp_path / "config"), tmp_path / "model")


def test_the_first_stages_of_a_backbone_are_written_under_a_detector(tmp_path: Path) -> None:
    """Else a detector of three stages cannot start from a segmenter's four."""
    stages = {"model_type": "resnet", "embedding_size": 8, "layer_type": "basic"}
    whole = ResNetConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1], **stages)
    whole.out_features = ["stage1", "stage4"]
    segmenter = UperNetForSemanticSegmentation(
        UperNetConfig(backbone_config=whole, hidden_size=8, use_auxiliary_head=False)
    )
    segmenter.half().save_pretrained(tmp_path / "segmenter")
    detector = tiny_detector("rt_detr").config.to_dict() | {
        "architectures": ["RTDetrForObjectDetection"],
        "backbone_config": stages
        | {"hidden_sizes": [8, 12, 16], "depths": [1, 1, 1], "out_features": ["stage2", "stage3"]},
        "encoder_in_channels": [12, 16],
        "use_pretrained_backbone": False,
    }
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text(json.dumps(detector))
    save_under_head(read_backbone(str(tmp_path / "segmenter")), str(tmp_path / "config"), tmp_path / "model")
    written = load_file(tmp_path / "model" / "model.safetensors")
    whole_state = segmenter.float().backbone.state_dict()
    assert {name.removeprefix("model.backbone.model.") for name in written} == {
        name for name in whole_state if "stages.3" not in name and not name.endswith("num_batches_tracked")
    }
    for name, tensor in written.items():
        assert torch.equal(tensor, whole_state[name.removeprefix("model.backbone.model.")])


def test_a_backbone_is_written_under_a_detector_that_freezes_its_norms(tmp_path: Path) -> None:
    """Its frozen BatchNorms count no batches, so that the names of the two state dicts differ."""
    whole = tiny_detector("rt_detr", seed=3)
    whole.config.architectures = ["RTDetrForObjectDetection"]
    whole.config.save_pretrained(tmp_path / "config")
    backbone = AutoBackbone.from_config(whole.config.backbone_config)
    save_under_head(backbone, str(tmp_path / "config"), tmp_path / "model")
    loaded = RTDetrForObjectDetection.from_pretrained(tmp_path / "model")
    written = loaded.model.backbone.model.state_dict()
    assert len(written) > 10
    for name, tensor in written.items():
        assert torch.equal(backbone.state_dict()[name], tensor)
