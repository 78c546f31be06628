"""Write torchvision's ImageNet MobileNetV2 as a backbone folder in Transformers format.

    python scripts/convert_mobilenet_v2.py --weights mobilenet_v2-b0353104.pth --output_dir mobilenet-v2

`--weights` is the state dict that `torchvision.models.mobilenet_v2` loads (1000 classes, width 1.0).
`hf_structkd.models.backbones.MobileNetV2Backbone.from_pretrained` reads the folder. With `--model CONFIG`, a
folder whose `config.json` describes a model on this backbone, the output is such a model to be trained: the
converted backbone, and a head that every training draws anew from its own seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from put_backbone import save_under_head
from torch import Tensor

from hf_structkd.models.backbones import MobileNetV2Backbone, MobileNetV2BackboneConfig

# The last 1x1 convolution and the linear layer: a backbone ends before them.
CLASSIFICATION = ("features.18.", "classifier.")


def convert(state: dict[str, Tensor]) -> MobileNetV2Backbone:
    """Build the backbone with the tensors of torchvision's state dict.

    Both networks list their layers from the input to the output, so that the tensors are paired in order;
    each must have its partner's kind (`weight`, `running_mean`, ...) and shape, and none may be left.

    Raises:
        ValueError: If the tensors do not pair, as with another width or another network.
    """
    backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig())
    wanted = {name: tensor for name, tensor in backbone.state_dict().items() if _is_weight(name)}
    given = {name: tensor for name, tensor in state.items() if _is_weight(name)}
    given = {name: tensor for name, tensor in given.items() if not name.startswith(CLASSIFICATION)}
    if len(wanted) != len(given):
        raise ValueError(f"`weights` must hold {len(wanted)} tensors of a MobileNetV2, got {len(given)}.")
    for (name, tensor), (source, value) in zip(wanted.items(), given.items(), strict=True):
        if name.rsplit(".", 1)[1] != source.rsplit(".", 1)[1] or tensor.shape != value.shape:
            raise ValueError(f"`weights`: {source} {tuple(value.shape)} is no {name} {tuple(tensor.shape)}.")
        with torch.no_grad():
            tensor.copy_(value)
    return backbone.eval()


def _is_weight(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def main() -> None:
    """Convert and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--model", help="Hub id or folder of a model on this backbone.")
    args = parser.parse_args()
    backbone = convert(torch.load(args.weights, map_location="cpu", weights_only=True))
    if args.model is None:
        backbone.save_pretrained(args.output_dir)
    else:
        save_under_head(backbone, args.model, args.output_dir)


if __name__ == "__main__":
    main()
