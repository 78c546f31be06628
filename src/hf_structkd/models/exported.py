"""A file of operations as a teacher: its classes, its answer, and what it cannot do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from ..data._names_file import read_names
from .exported_networks import load_exported
from .plain_module import ModuleConfig
from .wrapped_module import KINDS, model_around
from .wrapping import check_answer

_DESCRIPTION = "model.json"
_USUAL_SIDE = 224  # a multiple of most strides and patches


def load_exported_teacher(path: str | Path, task: str, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """Load a file of operations as a teacher.

    The classes are those that the file's metadata name, or else `id2label.json`, `config.json` or the
    `model.json` of `structkd export` beside it; this last one says the normalisation too.

    Args:
        path: An ONNX file, a TorchScript file or a program of `torch.export`, which takes images (B, 3, H, W)
            and returns "logits" (segmentation), "predicted_depth" (depth) or "logits" and "pred_boxes"
            (detection), or that many tensors under any names.
        task: "segmentation", "depth" or "detection".
        trust_remote_code: Whether you know who wrote the file; a program of `torch.export` can run code.

    Raises:
        ValueError: If it is not trusted where it must be, cannot be read, names no classes, or gives no
            answer to the task.
        ImportError: If onnxruntime is missing.
    """
    path = Path(path)
    network = load_exported(path, trust_remote_code=trust_remote_code)
    config = ModuleConfig(file=f"{path.name}, {_digest(path)}", **_colours(path, task))
    if KINDS[task].has_classes:
        config.id2label = network.id2label or _names_beside(path)
        config.label2id = {name: label for label, name in config.id2label.items()}
    model = model_around(network, config, task, read=_reader(task, path))
    _, height, width = network.shape
    try:
        check_answer(model, (height or _USUAL_SIDE, width or _USUAL_SIDE))
    except RuntimeError:
        if height is not None:
            raise
        # It may take images of another size; the first batch tells.
    return model.eval()


def _digest(path: Path) -> str:
    """Return a digest of a file and of those that begin with its name, such as ONNX weights beside it."""
    digest = hashlib.blake2b(digest_size=16)
    for part in sorted(one for one in path.parent.iterdir() if one.name.startswith(path.name)):
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def refuse_features(config: PretrainedConfig, name: str, weights: Sequence[str]) -> None:
    """Raise `ValueError` if terms compare features and the teacher is a file, which has none.

    Args:
        config: The teacher's configuration.
        name: What it was loaded from.
        weights: Names of the weights of these terms.
    """
    if weights and isinstance(config, ModuleConfig) and config.file:
        raise ValueError(
            f"{' and '.join(f'`{weight}`' for weight in weights)} must be 0 with the `teacher_model` {name}, "
            "a file of operations in which no feature map can be found; set "
            f"{'them' if weights[1:] else 'it'} to 0."
        )


def _names_beside(path: Path) -> Mapping[int, str]:
    names, config = path.with_name("id2label.json"), path.with_name("config.json")
    if names.is_file():
        return read_names(names)
    found = _read(config).get("id2label") or _read(path.with_name(_DESCRIPTION)).get("classes")
    if found:
        return {int(label): str(name) for label, name in found.items()}
    raise ValueError(
        f"`teacher_model` {path} must name its classes, and neither its metadata (`id2label` or `names`) nor "
        'an id2label.json or config.json beside it does; write {"0": "sky", ...} to ' + f"{names}."
    )


def _colours(path: Path, task: str) -> dict[str, Any]:
    """Return the normalisation in the description that `structkd export` writes, where there is one."""
    known = _read(path.with_name(_DESCRIPTION)).get("pre_processing")
    if not known or not known["colours"].startswith("RGB"):
        return {}
    if not math.isclose(known["rescale_factor"], 1 / 255):
        return {}
    return {
        "image_mean": known["mean"],
        "image_std": known["std"],
        "image_size": [known["resize"]["height"], known["resize"]["width"]],
        "processor_class": KINDS[task].processor,
    }


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _reader(task: str, path: Path) -> Callable[[Any], Any]:
    """Return what finds the answer among a file's outputs."""
    wanted = KINDS[task].answers

    def read(output: Any) -> Any:
        if isinstance(output, Mapping) and all(name in output for name in wanted):
            values = [output[name] for name in wanted]
        elif isinstance(output, Mapping):
            values = list(output.values())
        else:
            values = list(output) if isinstance(output, tuple | list) else [output]
        if len(values) != len(wanted):
            named = f" ({', '.join(output)})" if isinstance(output, Mapping) else ""
            raise ValueError(
                f"`teacher_model` {path} must return {' and '.join(wanted)}, got {len(values)} outputs"
                f"{named}; export these alone, or pass `wrap_model(load_exported(path), read=...)` in Python."
            )
        return values[0] if len(wanted) == 1 else tuple(values)

    return read
