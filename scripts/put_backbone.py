r"""Write a model to be trained: a trained backbone, under a head that every training draws anew.

    python scripts/put_backbone.py --backbone facebook/dinov2-small \
        --model examples/configs/depth-anything-nyu-teacher --output_dir outputs/nyu-teacher-init

`--backbone` is a folder or Hub id that `AutoModel` reads, or a model of a task, whose own backbone is taken;
`--model` is one whose `config.json` has the same network as its `backbone_config`, or its first stages alone.
`--freeze 'backbone.*'` of a training then keeps the backbone as it is.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Set
from pathlib import Path

from safetensors.torch import save_file
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel

from hf_structkd.tasks import find_task


def save_under_head(backbone: nn.Module, model: str, output_dir: Path) -> None:
    """Write a model's configuration and, of its weights, the backbone's alone.

    `from_pretrained` draws what a folder lacks from torch's current seed.

    Raises:
        ValueError: If no part of the model has weights of these names.
        RuntimeError: If they have other shapes.
    """
    config = AutoConfig.from_pretrained(model)
    whole = find_task((config.architectures or ["none"])[0]).auto_model.from_config(config)
    # Detectors freeze the BatchNorm of their backbone, which then counts no batches.
    state = {name: tensor for name, tensor in backbone.state_dict().items() if _is_weight(name)}
    parts = {name: _weights_of(part) for name, part in whole.named_modules()}
    names = [name for name, weights in parts.items() if weights and _are_stages(weights, state.keys())]
    place = max(names, key=lambda name: len(parts[name]), default=None)
    if place is None:
        raise ValueError(
            f"`model` {model} must have a part like the {type(backbone).__name__}; name it in its "
            "`backbone_config`."
        )
    print(f"{len(parts[place])} of the {len(state)} weights of {type(backbone).__name__} are at {place!r}.")
    state = {name: tensor.float() for name, tensor in state.items() if name in parts[place]}
    whole.get_submodule(place).load_state_dict(state, strict=False)
    config.save_pretrained(output_dir)
    weights = {f"{place}.{name}": tensor for name, tensor in state.items()}
    save_file(weights, output_dir / "model.safetensors", metadata={"format": "pt"})


def read_backbone(name: str) -> nn.Module:
    """Return a model without its head; of an UperNet, which has no such class, the part `backbone`."""
    config = AutoConfig.from_pretrained(name)
    if type(config) in MODEL_MAPPING:
        model: nn.Module = AutoModel.from_pretrained(name)
        return model
    task = find_task((config.architectures or ["none"])[0])
    return task.auto_model.from_pretrained(name).get_submodule("backbone")


def _are_stages(part: set[str], whole: Set[str]) -> bool:
    """Return whether the weights of a part are among those of a backbone, and none of its stages is cut."""
    return part <= whole and not {_stage_of(name) for name in part} & {
        _stage_of(name) for name in whole - part
    }


def _stage_of(weight: str) -> str:
    """Return the name of a weight up to its first number."""
    found = re.match(r".*?\.\d+(?=\.)", weight)
    return found.group() if found else weight


def _is_weight(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def _weights_of(part: nn.Module) -> set[str]:
    return {name for name in part.state_dict() if _is_weight(name)}


def main() -> None:
    """Load and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    save_under_head(read_backbone(args.backbone), args.model, args.output_dir)


if __name__ == "__main__":
    main()
