"""A loopback Hub with a teacher for each task and a dataset, for tests that push students."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from hf_structkd.scenes.scenes import CLASS_NAMES, OBJECT_CLASS_NAMES, load_scenes
from hf_structkd.tasks import DepthTask, DetectionTask, SegmentationTask, Task

from .loopback_hub import LoopbackHub
from .tiny_detectors import tiny_detector
from .tiny_models import tiny_depth_model, tiny_segmentation_model

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
NAMES = dict(enumerate(CLASS_NAMES))
OBJECT_NAMES = dict(enumerate(OBJECT_CLASS_NAMES))

# Two steps of an example, for a machine without an accelerator.
SMALL = (
    *("--image_size", "64", "64", "--max_steps", "2", "--per_device_train_batch_size", "2"),
    *("--logging_steps", "1", "--use_cpu", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"),
)


# Each example as if it were started alone, its critic with few channels and its figures with few pixels.
EXAMPLES = """
import functools, json, runpy, sys
from hf_structkd.adversary.critic import Critic
from hf_structkd.report import _figure
from hf_structkd.terms import holistic
_figure._PIXELS_PER_INCH = 50
holistic.Critic = functools.partial(Critic, widths=(8, 8, 16, 16))
for arguments in map(json.loads, sys.argv[1:]):
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Case:
    """A task with its example and a tiny pair.

    Attributes:
        task: What is solved.
        script: The example.
        teacher: Makes the trained model.
        student: Makes the model whose configuration is the student.
    """

    task: type[Task]
    script: str
    teacher: Callable[[], PreTrainedModel]
    student: Callable[[], PreTrainedModel]

    @property
    def name(self) -> str:
        """As the example calls it: seg, depth, det."""
        return self.script.split("_")[1]


CASES = (
    Case(
        SegmentationTask,
        "run_seg_distill.py",
        lambda: tiny_segmentation_model("mobilenet_v2", id2label=NAMES, seed=1),
        lambda: tiny_segmentation_model("segformer", id2label=NAMES),
    ),
    Case(
        DepthTask,
        "run_depth_distill.py",
        lambda: tiny_depth_model("dpt", seed=1),
        lambda: tiny_depth_model("glpn"),
    ),
    Case(
        DetectionTask,
        "run_det_distill.py",
        lambda: tiny_detector("rt_detr", id2label=OBJECT_NAMES, seed=1),
        lambda: tiny_detector("yolos"),
    ),
)


def save_teacher(case: Case, folder: Path) -> Path:
    model = case.teacher()
    model.save_pretrained(folder)
    case.task.image_processor((64, 64), model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """A Hub with a teacher for each task and the scenes, all public; student configurations lie beside it."""
    root = tmp_path_factory.mktemp("world")
    scenes = load_scenes(num_train=4, num_validation=2, height=64, width=64)
    for split, rows in scenes.items():
        (root / "data" / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(root / "data" / "data" / f"{split}-00000-of-00001.parquet")
    (root / "data" / "id2label.json").write_text(json.dumps(NAMES))
    with LoopbackHub(root / "hub") as hub:
        hub.put_dataset("user/scenes", root / "data")
        hub.put_dataset("user/secret-scenes", root / "data", private=True)
        for case in CASES:
            folder = save_teacher(case, root / "teachers" / case.name)
            hub.put_model(f"user/{case.name}-teacher", folder)
            hub.put_model(f"user/secret-{case.name}-teacher", folder, private=True)
            case.student().config.save_pretrained(root / "hub" / "students" / case.name)
        yield hub
        assert not hub.crashes, "\n".join(hub.crashes)
    # The command-line tool asks the last one where it takes its caller for a program.
    unknown = {(seen.request.method, seen.request.target) for seen in hub.requests() if not seen.known} - {
        ("GET", "/api/agent-harnesses")
    }
    assert not unknown, "a client asked for what this Hub does not speak"
