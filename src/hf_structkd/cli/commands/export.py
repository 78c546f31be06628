"""`structkd export`: a trained student as an ONNX file that is checked, with its description in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...data import DataOptions, LoadedData
from ...data.options import option, pair_of
from ...models.parameters import count_parameters
from ...models.teacher_forms import WrappedTeacher, class_name
from ...report.latency import side_by_side
from ...tasks.uses import Use, use_of
from ..doctor.rehearsal import some_rows
from ..endings import UsageError
from ..model_words import parse_models
from ..trained.loading import Trained, load_trained
from ..trained.onnx_export import OPSET, Exported, as_model, export_onnx, onnx_session
from ..trained.onnx_int8 import quantize
from ..trained.options import DATA_SEED
from ..trained.scoring import prepare, score, seed_of

NAME = "export"
SUMMARY = "write a trained student as an ONNX file, checked against PyTorch, with what a program must know"

_CHECKED = 4
_EXAMPLES = """  structkd export outputs/street --to onnx --dataset_name street
  structkd export outputs/street --to onnx --int8 --dataset_name street --output_dir outputs/street-onnx"""


@dataclass(kw_only=True)
class ExportArguments:
    """What is written."""

    help_group: ClassVar[str] = "export"

    to: Literal["onnx"] = option("onnx", "Format of the file.")
    output_dir: str = option("outputs/onnx", "Folder of model.onnx, model.json and model-int8.onnx.")
    own_size: bool = option(
        True, "Export for the size in the model's image processor, where it has one; otherwise image_size."
    )
    data_seed: int | None = DATA_SEED
    int8: bool = option(
        False, "Also write 8-bit integers, calibrated on training images, and say what that costs in quality."
    )
    calibration_images: int = option(64, "Training images that decide the ranges of the 8-bit integers.")
    trust_remote_code: bool = option(
        False, "Run code that lies beside the model, as a wrapped network has it."
    )

    def __post_init__(self) -> None:
        """Check the number of images."""
        if self.calibration_images < 1:
            raise ValueError(
                f"`calibration_images` must be at least 1, got {self.calibration_images}; take 64."
            )


def run(argv: Sequence[str]) -> None:
    """Export, compare with PyTorch, and describe.

    Raises:
        UsageError: If not exactly one model is named.
        ValueError: If it cannot be exported, or is no student.
    """
    names, options, (settings,) = parse_models(NAME, argv, ExportArguments, examples=_EXAMPLES)
    if len(names) != 1:
        raise UsageError(f"`structkd {NAME}` takes one model, got {len(names)}; name one folder or Hub id.")
    (trained,) = load_trained(names, "cpu", settings.trust_remote_code)
    if isinstance(trained.model, WrappedTeacher):
        raise ValueError(
            f"{trained.name} is {class_name(trained.model)}, which can teach and be no student; export its "
            "student."
        )
    size = (trained.own_size if settings.own_size else None) or pair_of("image_size", options.image_size)
    folder, use = Path(settings.output_dir), use_of(trained.kind.name, trained.config)
    data = _images_of(trained, options, settings, size)
    shown = data.train if data.validation is None else data.validation
    images = [row["pixel_values"][None] for row in some_rows(shown, _CHECKED)]
    exported = export_onnx(
        trained.model, use, images * 2 if len(images) == 1 else images, folder / "model.onnx"
    )
    facts = description(trained, use, exported, size, options)
    if settings.int8:
        facts["int8"] = _in_integers(trained, use, exported, options, settings, data)
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
    print(_summary(facts, folder))  # noqa: T201


def description(
    trained: Trained, use: Use, exported: Exported, size: tuple[int, int], options: DataOptions
) -> dict[str, Any]:
    """Return what a program must know of the file, as JSON values."""
    normalization = trained.normalization
    lengths = {"batch": 1, "channels": 3, "height": size[0], "width": size[1]}
    shape = [name if name in exported.free else length for name, length in lengths.items()]
    return {
        "model": trained.name,
        "class": class_name(trained.model),
        "task": trained.kind.name,
        "parameters": count_parameters(trained.model),
        "file": exported.path.name,
        "opset": OPSET,
        "exporter": exported.exporter,
        "input": {"name": "pixel_values", "type": "float32", "shape": shape},
        "outputs": [{"name": name, "type": "float32", "axes": list(axes)} for name, axes in use.axes.items()],
        "pre_processing": {
            "colours": f"{normalization.channel_order.upper()}, 8 bits a channel, channels first",
            "resize": {"height": size[0], "width": size[1], "method": "bilinear, antialiased"},
            "rescale_factor": normalization.rescale_factor,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
            "formula": "(value * rescale_factor - mean) / std",
        },
        "post_processing": list(use.post_processing),
        **use.facts(),
        "check": {
            "images_of": options.dataset_name or "the embedded scenes",
            "largest_difference_from_pytorch": exported.difference,
            "why_other_axes_are_fixed": list(exported.refused),
        },
    }


def _images_of(
    trained: Trained, options: DataOptions, settings: ExportArguments, size: tuple[int, int]
) -> LoadedData:
    """Load the data for their images; of the embedded scenes no more are rendered than are needed."""
    training = settings.calibration_images if settings.int8 else 1
    few: dict[str, Any] = {"max_train_samples": training, "max_eval_samples": _CHECKED}
    few = {} if options.dataset_name is not None else few
    return trained.kind.load_data(
        replace(options, image_size=list(size), **few),
        normalization=trained.normalization,
        teacher=trained.config,
        seed=seed_of(options, settings.data_seed),
    )


def _in_integers(
    trained: Trained,
    use: Use,
    exported: Exported,
    options: DataOptions,
    settings: ExportArguments,
    data: LoadedData,
) -> dict[str, Any]:
    """Write the 8-bit file; return what it costs in quality and gains in size and time."""
    target = exported.path.with_name("model-int8.onnx")
    rows = some_rows(data.train, settings.calibration_images)
    calibration: list[Tensor] = [row["pixel_values"][None] for row in rows]
    quantize(exported.path, target, calibration)
    scored = prepare(trained, options, settings)
    sessions = {"float32": onnx_session(exported.path), "int8": onnx_session(target)}
    how: dict[str, Any] = {
        "device": torch.device("cpu"),
        "batch_size": 8 if "batch" in exported.free else 1,
        "workers": 0,
    }
    found = {name: score(as_model(one, use), scored, **how) for name, one in sessions.items()}
    image = calibration[0]
    times = side_by_side([partial(one, image) for one in sessions.values()])
    metric = trained.kind.headline.metric
    return {
        "file": target.name,
        "calibration_images": len(rows),
        "measured_on": f"{options.dataset_name or 'the embedded scenes'}, {scored.rows.split}",
        "metric": metric,
        **{name: scores[metric] for name, scores in found.items()},
        "bytes": {"float32": exported.path.stat().st_size, "int8": target.stat().st_size},
        "milliseconds": {name: time.median for name, time in zip(sessions, times, strict=True)},
        "threads": torch.get_num_threads(),
    }


def _summary(facts: dict[str, Any], folder: Path) -> str:
    shape = " × ".join(map(str, facts["input"]["shape"]))
    lines = [
        f"{folder / facts['file']}: {facts['class']}, opset {facts['opset']}, pixel_values {shape}; its "
        f"answers differ from PyTorch's by at most {facts['check']['largest_difference_from_pytorch']:.1g} "
        f"of the largest value, on images of {facts['check']['images_of']}."
    ]
    if "int8" in facts:
        found = facts["int8"]
        size, time = found["bytes"], found["milliseconds"]
        lines.append(
            f"{folder / found['file']}: {found['metric']} {found['float32']:.4f} in float32 and "
            f"{found['int8']:.4f} in int8 on {found['measured_on']}; {size['float32'] / 1e6:.2f} MB and "
            f"{size['int8'] / 1e6:.2f} MB; {time['float32']:.3g} ms and {time['int8']:.3g} ms an image on "
            f"{found['threads']} threads."
        )
    return "\n".join([*lines, f"model.json in {folder} says how images are prepared and answers are read."])
