r"""Write a model to be trained: a trained backbone, under a head that every training draws anew.

    python scripts/put_backbone.py --backbone facebook/dinov2-small \
        --model examples/configs/depth-anything-nyu-teacher --output_dir outputs/nyu-teacher-init

`--backbone` is a folder or Hub id that `AutoModel` reads, `--model` one whose `config.json` has the same
network as its `backbone_config`. `--freeze 'backbone.*'` of a training then keeps the backbone as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModel

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
    names = [name for name, part in whole.named_modules() if _weights_of(part) == state.keys()]
    if not names:
        raise ValueError(
            f"`model` {model} must have a part like the {type(backbone).__name__}; name it in its "
            "`backbone_config`."
        )
    whole.get_submodule(names[0]).load_state_dict(state, strict=False)
    config.save_pretrained(output_dir)
    weights = {f"{names[0]}.{name}": tensor for name, tensor in state.items()}
    save_file(weights, output_dir / "model.safetensors", metadata={"format": "pt"})


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
    save_under_head(AutoModel.from_pretrained(args.backbone), args.model, args.output_dir)


if __name__ == "__main__":
    main()
