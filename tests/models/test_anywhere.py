"""Every kind of saved student loads in a process that never imports this library, and answers the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import DPTConfig, DPTForDepthEstimation, PreTrainedModel

from hf_structkd.models.shipping import ship_code
from hf_structkd.tasks import DepthTask, DetectionTask, SegmentationTask, Task
from tests.models.test_shipping import backbone, detr, upernet
from tests.models.test_wrapping import MAKERS, TASK
from tests.tiny_detectors import DETECTION_ARCHITECTURES, tiny_detector
from tests.tiny_models import (
    DEPTH_MODELS,
    SEGMENTATION_ARCHITECTURES,
    random_images,
    tiny_depth_model,
    tiny_segmentation_model,
)

# One process for all of them: most of its time goes to importing Transformers.
PROGRAM = """
import sys
from pathlib import Path
import PIL.Image, torch, transformers
for folder in sorted(Path(sys.argv[1]).iterdir()):
    auto = getattr(transformers, (folder / "auto_model").read_text())
    student = auto.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        output = student(**torch.load(folder / "inputs.pt"))
    answer = output.get("predicted_depth", output.get("logits"))
    torch.save([answer, output.get("pred_boxes", answer)], folder / "answers.pt")
    if folder.name.startswith("wrapped"):
        task = (folder / "task").read_text()
        predict = transformers.pipeline(task, model=str(folder), trust_remote_code=True)
        assert predict(PIL.Image.new("RGB", (80, 50))) is not None
assert "hf_structkd" not in sys.modules
"""


def hybrid() -> PreTrainedModel:
    """A DPT whose ViT reads a map of the library's own backbone."""
    own = backbone()
    own.set_output_features_output_indices(out_features=["stage1", "stage2", "stage3"], out_indices=None)
    config = DPTConfig(
        backbone_config=own,
        is_hybrid=True,
        image_size=64,
        patch_size=16,
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        backbone_featmap_shape=[1, 16, 4, 4],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    return DPTForDepthEstimation(config)


def students() -> Iterator[tuple[str, type[Task], PreTrainedModel]]:
    for arch in SEGMENTATION_ARCHITECTURES:
        yield f"segmentation {arch}", SegmentationTask, tiny_segmentation_model(arch)
    for arch in DEPTH_MODELS:
        yield f"depth {arch}", DepthTask, tiny_depth_model(arch)
    for arch in DETECTION_ARCHITECTURES:
        yield f"detection {arch}", DetectionTask, tiny_detector(arch)
    yield "own backbone, segmentation", SegmentationTask, upernet()
    yield "own backbone, detection", DetectionTask, detr()
    yield "own backbone, depth", DepthTask, hybrid()
    for name, make in MAKERS.items():
        yield f"wrapped {name}", TASK[name], make()


def answers(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        output = model.eval()(**inputs)
    answer = output.get("predicted_depth", output.get("logits"))
    return [answer, output.get("pred_boxes", answer)]


@pytest.mark.long
def test_every_student_answers_the_same_without_this_library(tmp_path: Path) -> None:
    """A student on our backbone ended in `KeyError: 'structkd_mobilenet_v2'`, wherever it was pushed to."""
    expected = {}
    for name, task, student in students():
        folder = tmp_path / "students" / name.replace(" ", "-").replace(",", "")
        student.save_pretrained(folder)
        ship_code(student, folder, task.auto_model)
        (folder / "task").write_text(task.name)
        (folder / "auto_model").write_text(task.auto_model.__name__)
        inputs = {"pixel_values": random_images(name.split()[-1])}
        if "prompt" in name:
            inputs["prompt_depth"] = 1 + torch.rand(2, 1, 8, 8)
        torch.save(inputs, folder / "inputs.pt")
        expected[folder] = answers(student, inputs)
    done = subprocess.run(
        (sys.executable, "-I", "-c", PROGRAM, str(tmp_path / "students")),
        env={"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(expected) >= 30
    for folder, values in expected.items():
        torch.testing.assert_close(
            torch.load(folder / "answers.pt"), values, msg=lambda m, f=folder: f"{f.name}: {m}"
        )
