"""The Python on the pages runs as it stands, in a folder with what a reader has: data, models, a photo."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoModelForSemanticSegmentation, SegformerConfig

from hf_structkd.cli.main import main
from hf_structkd.scenes.scenes import CLASS_NAMES, OBJECT_CLASS_NAMES, load_scenes
from hf_structkd.tasks import SegmentationTask

from .cases import SEGMENTATION, arguments, make_trainer
from .docs_pages import DOCS, blocks, commands
from .tiny_models import tiny_segmentation_model

SCORED = ("segmentation.md", "depth.md", "detection.md")
RUN_HERE = ("quickstart.md", "data.md", "method.md", *SCORED, "weights.md", "deploying.md", "report.md")
SIZE = (64, 64)

# Training pins memory by default, and torch warns where no accelerator is.
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("reader")
    rows = load_scenes(num_train=8, num_validation=1, height=SIZE[0], width=SIZE[1])["train"]
    for name in ("street/images", "street/masks", "rooms/images", "rooms/depth", "fruit/images"):
        (folder / name).mkdir(parents=True)
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": index, "name": name} for index, name in enumerate(OBJECT_CLASS_NAMES)],
    }
    for index, row in enumerate(rows):
        for name in ("street", "rooms", "fruit"):
            row["image"].save(folder / name / "images" / f"{index}.png")
        row["label"].save(folder / "street" / "masks" / f"{index}.png")
        row["depth"].save(folder / "rooms" / "depth" / f"{index}.png")
        coco["images"].append({"id": index, "file_name": f"{index}.png"})
        for box, category in zip(row["objects"]["bbox"], row["objects"]["category"], strict=True):
            number = len(coco["annotations"])
            coco["annotations"].append(
                {"id": number, "image_id": index, "bbox": box, "category_id": category, "iscrowd": 0}
            )
    (folder / "fruit" / "annotations.json").write_text(json.dumps(coco))
    (folder / "street" / "id2label.json").write_text(json.dumps(CLASS_NAMES))
    noise = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(folder / "photo.jpg")
    names = dict(enumerate(CLASS_NAMES))
    models = {"student": "segformer", "teacher": "mobilenet_v2", "outputs/street": "segformer"}
    for name, arch in models.items():
        tiny_segmentation_model(arch, id2label=names).save_pretrained(folder / name)
        SegmentationTask.image_processor(SIZE, SegformerConfig()).save_pretrained(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def run(page: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the blocks of a page leave behind, run one after the other."""
    left = {"__name__": "__main__"} if names is None else names
    torch.manual_seed(0)
    for block in blocks(DOCS / page, "python"):
        exec(compile(block, page, "exec"), left)
    return left


@pytest.mark.parametrize("page", ["quickstart.md", "data.md", "method.md", "weights.md"])
def test_the_python_of_the_page_runs(world: Path, page: str) -> None:
    left = run(page)
    check: dict[str, Callable[[], bool]] = {
        "quickstart.md": lambda: left["report"].path.is_file(),
        "data.md": lambda: len(left["fruit"].id2label) == len(OBJECT_CLASS_NAMES),
        "method.md": lambda: left["total"].requires_grad and not left["of_the_critic"].isnan(),
        "weights.md": lambda: all(norm > 0 for norm in left["norms"].values()),
    }
    assert check[page]()


@pytest.mark.parametrize("page", SCORED)
def test_the_page_of_a_task_names_the_scores_that_there_are(world: Path, page: str) -> None:
    """A score that is looked for in a file and is not there looks like a failed run."""
    trainer = run(page)["trainer"]
    scores = trainer.evaluate().keys()
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"`(eval_\w+)`", "".join(re.findall(r"^\| `eval_.*", text, re.MULTILINE)))
    assert named
    assert set(named) <= set(scores)
    best = re.search(r"`(\w+)` decides which checkpoint", text)
    assert best is not None
    assert trainer.task.headline.metric == best[1]


@pytest.mark.filterwarnings("ignore")  # of what the exporters warn, the answers are compared
def test_an_exported_student_is_used_as_the_page_says(world: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export = next(line for line in commands(DOCS / "deploying.md") if " export " in line)
    main(shlex.split(export)[1:])
    left = run("deploying.md")
    assert left["class_map"].shape == (48, 80)
    with torch.no_grad():
        student = AutoModelForSemanticSegmentation.from_pretrained("outputs/street")
        logits = student(torch.from_numpy(left["pixel_values"])).logits
    assert torch.allclose(torch.from_numpy(left["logits"]), logits, atol=1e-3)


def test_the_report_is_shown_as_the_page_says(world: Path, tmp_path: Path) -> None:
    trainers = []
    for name in ("distilled", "alone"):
        args = arguments(tmp_path / name, report_to="none", max_steps=1, logging_steps=1)
        trainers.append(make_trainer(SEGMENTATION, args, eval_dataset=SEGMENTATION.rows(2)))
        trainers[-1].train()
    run("report.md", {"trainer": trainers[0], "other_trainer": trainers[1]})
    assert (tmp_path / "distilled" / "report.html").is_file()
