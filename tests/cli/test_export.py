"""An ONNX file gives the model's answers, and its description is enough to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import PreTrainedModel

from hf_structkd.cli.endings import ExitCode, UsageError
from hf_structkd.cli.extras import optional
from hf_structkd.cli.main import main
from hf_structkd.cli.trained.loading import Trained
from hf_structkd.cli.trained.onnx_export import TOLERANCE, export_onnx, onnx_session
from hf_structkd.cli.trained.showing import Eye
from hf_structkd.scenes.scenes import CLASS_NAMES
from hf_structkd.tasks import TASKS, SegmentationTask, Task
from hf_structkd.tasks.uses import use_of

from ..tiny_detectors import DETECTION_ARCHITECTURES, detector_images, tiny_detector
from ..tiny_models import (
    DEPTH_MODELS,
    SEGMENTATION_ARCHITECTURES,
    random_images,
    tiny_depth_model,
    tiny_segmentation_model,
)
from .slips import check_slip

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text(encoding="utf-8")
NAMES = dict(enumerate(CLASS_NAMES))

FREE = {"all": ("batch", "height", "width"), "batch": ("batch",), "none": ()}
QUICK = ("segmentation segformer", "depth glpn")
"""Those that the tests export every time."""


def exports() -> dict[str, str]:
    """Task and architecture -> which axes are free, as the page says it."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| export of ")]
    return {
        f"{row[0].removeprefix('export of ')} {arch.strip()}": free
        for row in rows
        for free, cell in zip(("all", "batch", "none", "no"), row[1:], strict=True)
        for arch in cell.split(",")
        if arch.strip("– ")
    }


SLOW = [pytest.param(name, marks=pytest.mark.long) for name in exports() if name not in QUICK]


def tiny(task: str, arch: str) -> tuple[type[Task], PreTrainedModel, list[torch.Tensor]]:
    kind = next(one for one in TASKS if one.short_name == task)
    if task == "detection":
        return kind, tiny_detector(arch), list(detector_images(batch=2).split(1))
    make = tiny_segmentation_model if task == "segmentation" else tiny_depth_model
    return kind, make(arch), list(random_images(arch).split(1))


def test_the_page_says_of_every_architecture_whether_it_exports() -> None:
    """A user trains a student for a week before finding that it cannot be deployed."""
    known = {
        "segmentation": SEGMENTATION_ARCHITECTURES,
        "depth": [arch for arch in DEPTH_MODELS if arch != "dpt_hierarchical"],  # a DPT of another backbone
        "detection": DETECTION_ARCHITECTURES,
    }
    assert exports().keys() == {f"{task} {arch}" for task, archs in known.items() for arch in archs}
    assert set(QUICK) <= {name for name, free in exports().items() if free == "all"}


@pytest.mark.filterwarnings("ignore")  # of what the exporters warn, the answers are compared
@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_an_architecture_exports_as_the_page_says(name: str, tmp_path: Path) -> None:
    task, arch = name.split()
    kind, model, images = tiny(task, arch)
    use, path = use_of(kind.name, model.config), tmp_path / "model.onnx"
    if exports()[name] == "no":
        with pytest.raises(ValueError, match="cannot be exported to ONNX"):
            export_onnx(model, use, images, path)
        assert not path.exists()
        return
    assert export_onnx(model, use, images, path).free == FREE[exports()[name]]
    answers = onnx_session(path)(images[1])
    with torch.no_grad():
        expected = use.exported(model(images[1]))
    for one, (output, tensor) in zip(answers, expected.items(), strict=True):
        assert one.dim() == len(use.axes[output])
        assert (one - tensor).abs().max() <= TOLERANCE * tensor.abs().max()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student of the scenes, its file and its description."""
    folder = tmp_path_factory.mktemp("exported")
    model = tiny_segmentation_model("segformer", id2label=NAMES)
    model.save_pretrained(folder / "model")
    SegmentationTask.image_processor((64, 96), model.config).save_pretrained(folder / "model")
    main(["export", str(folder / "model"), "--to", "onnx", "--output_dir", str(folder)])
    return folder


def test_the_description_is_enough_to_use_the_file(exported: Path) -> None:
    """A program that prepares images in another way gets other answers, and nothing says so."""
    facts = json.loads((exported / "model.json").read_text())
    picture = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    steps, size = facts["pre_processing"], facts["pre_processing"]["resize"]
    resized = PIL.Image.fromarray(picture).resize(
        (size["width"], size["height"]), PIL.Image.Resampling.BILINEAR
    )
    values = (np.asarray(resized) * steps["rescale_factor"] - steps["mean"]) / steps["std"]
    ours = torch.from_numpy(values.astype(np.float32).transpose(2, 0, 1)[None])
    assert facts["input"] == {
        "name": "pixel_values", "type": "float32", "shape": ["batch", 3, "height", "width"]
    }  # fmt: skip
    shown = Eye(Trained(str(exported / "model"), SegmentationTask, torch.device("cpu")))(picture)
    (logits,) = onnx_session(exported / "model.onnx")(ours)
    assert torch.allclose(shown.output.logits, logits, atol=1e-4)
    assert facts["classes"] == {str(index): name for index, name in NAMES.items()}
    assert facts["check"]["images_of"] == "the embedded scenes"
    assert facts["check"]["largest_difference_from_pytorch"] < TOLERANCE


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["export"], ExitCode.USAGE, "takes one model, got 0"),
        (["export", "model", "--to", "tflite"], ExitCode.USAGE, "invalid choice: 'tflite'"),
        (["export", "model", "--int9"], ExitCode.USAGE, "did you mean '--int8'?"),
        (["export", "model", "--calibration_images", "0"], ExitCode.INPUT, "`calibration_images` must be"),
    ],
)
def test_a_slip_is_one_sentence(
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: ExitCode,
    sentence: str,
) -> None:
    monkeypatch.chdir(exported)
    check_slip(capsys, words, code, sentence)


def test_a_missing_package_is_named_with_what_installs_it() -> None:
    with pytest.raises(UsageError, match=r'`pip install "hf_structkd\[onnx\]"` installs it'):
        optional("no_such_package", extra="onnx", needed_for="an export")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_integers_are_scored_on_the_named_data(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight bits may cost a model most of its quality, and a file alone does not show it."""
    words = ["--int8", "--calibration_images", "4", "--max_eval_samples", "3", "--output_dir", str(tmp_path)]
    main(["export", str(exported / "model"), *words])
    facts: dict[str, Any] = json.loads((tmp_path / "model.json").read_text())["int8"]
    assert facts["measured_on"] == "the embedded scenes, validation"
    assert 0 <= facts["int8"] <= 1
    assert (tmp_path / "model-int8.onnx").is_file()
    assert "in float32 and" in capsys.readouterr().out
    main(
        [
            "evaluate",
            str(exported / "model"),
            "--max_eval_samples",
            "3",
            "--no_memory",
            "--output_dir",
            str(tmp_path / "e"),
        ]
    )
    scores = json.loads((tmp_path / "e" / "scores.json").read_text())["models"][0]["scores"]
    assert facts["float32"] == pytest.approx(scores["mean_iou"], abs=1e-3)
