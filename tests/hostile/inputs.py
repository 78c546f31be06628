"""How a bad input is made and read; `table.py` lists them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image
from transformers import Trainer, TrainingArguments

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import ModelArguments, parse_arguments
from hf_structkd.data import (
    SegmentationOptions,
    load_depth_data,
    load_detection_data,
    load_segmentation_data,
)
from hf_structkd.data.boxes import ObjectBoxes
from hf_structkd.data.loading import choose_splits
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.models.loading import load_image_processor, load_student, load_teacher
from hf_structkd.models.teacher_source import TeacherSource
from hf_structkd.tasks import SegmentationTask
from hf_structkd.training.manifest import list_files

from ..cases import NUM_LABELS, SEGMENTATION, arguments, make_trainer, narrow_critics
from ..loopback_hub import LoopbackHub
from ..tiny_models import tiny_segmentation_model


@dataclass(frozen=True)
class Place:
    """Where an input is made.

    Attributes:
        folder: An empty folder of the test.
        shared: A folder with what is right, which all tests read and none changes.
    """

    folder: Path
    shared: Path

    @cached_property
    def model(self) -> Path:
        """A folder with a model of three classes."""
        folder = self.shared / "model"
        if not folder.exists():
            names = {0: "a", 1: "b", 2: "c"}
            tiny_segmentation_model("segformer", id2label=names).save_pretrained(folder)
        return folder

    @cached_property
    def data(self) -> Path:
        """A saved dataset of one image."""
        folder = self.shared / "data"
        return folder if folder.exists() else saved(folder, "label", MASK)

    @cached_property
    def checkpoint(self) -> Path:
        """The checkpoint of one step with all terms on."""
        folder = self.shared / "run"
        if not folder.exists():
            with narrow_critics():
                make_trainer(SEGMENTATION, saving(folder), rows=4).train()
        return folder / "checkpoint-1"


Reader = Callable[[Path], Any]
Make = Callable[[Place], Any]
Change = Callable[[Path], Any]


def saving(folder: Path, **settings: Any) -> StructKDTrainingArguments:
    return arguments(folder, **{"max_steps": 1, "save_strategy": "steps", "save_steps": 1, **settings})


# ---- images, masks and depth maps ----

NORMALIZATION = ImageNormalization()
SIDE = (32, 32)


def raw(content: bytes) -> dict[str, Any]:
    return {"bytes": content, "path": None}


def file(content: Any, kind: str = "PNG") -> dict[str, Any]:
    """Encode an array or a picture as a row of a dataset holds it."""
    buffer = io.BytesIO()
    (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(buffer, kind)
    return raw(buffer.getvalue())


def full(value: float, kind: Any = float) -> Any:
    return np.full(SIDE, value, dtype=kind)


RGB = np.random.default_rng(0).integers(0, 255, (*SIDE, 3), dtype=np.uint8)
IMAGE = file(RGB)
MASK = file(np.arange(1024, dtype=np.uint8).reshape(SIDE) % 3)


def saved(folder: Path, column: str, target: Any, image: Any = IMAGE) -> Path:
    """Write a dataset of one image, as training and as validation data."""
    table = datasets.Dataset.from_dict({"image": [image], column: [target]})
    for name, value in (("image", image), (column, target)):
        if value is None or (isinstance(value, dict) and "bytes" in value):
            table = table.cast_column(name, datasets.Image())
    datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(folder))
    (folder / "id2label.json").write_text('["a", "b", "c"]')
    return folder


def read(load: Any, name: Path, **options: Any) -> None:
    data = load(str(name), normalization=NORMALIZATION, **{"image_size": [*SIDE], **options})
    for row in range(len(data.train)):
        assert data.train[row] is not None


def image(value: Any) -> Make:
    return lambda at: read(load_segmentation_data, saved(at.folder / "data", "label", MASK, value))


def mask(value: Any) -> Make:
    return lambda at: read(load_segmentation_data, saved(at.folder / "data", "label", value))


def depth(value: Any) -> Make:
    return lambda at: read(load_depth_data, saved(at.folder / "data", "depth", value))


def option(sentence: str, **options: Any) -> tuple[str, Make, str]:
    """A whole row of the table: options of the data, named by themselves."""
    name = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return name, lambda at: read(load_segmentation_data, at.data, **options), sentence


def names(content: bytes, sentence: str) -> tuple[str, Make, str]:
    """A whole row of the table: a file with the names of the classes."""

    def make(at: Place) -> None:
        path = at.folder / "names.json"
        path.write_bytes(content)
        read(load_segmentation_data, at.data, id2label_path=str(path))

    return repr(content), make, sentence


def place(name: str, **options: Any) -> Make:
    """Read data by a name and options in which `GOOD` and `HERE` stand for folders."""

    def make(at: Place) -> None:
        (at.folder / "pairs" / "images").mkdir(parents=True)
        (at.folder / "pairs" / "masks").mkdir()
        (at.folder / "file.json").write_text("{}")

        def put(text: Any) -> Any:
            known = {"GOOD": str(at.data), "HERE": str(at.folder)}
            return "".join(known.get(part, part) for part in text.partition("/"))

        given = {key: put(value) if isinstance(value, str) else value for key, value in options.items()}
        load_segmentation_data(
            put(name) or None, normalization=NORMALIZATION, **{"image_size": [*SIDE], **given}
        )

    return make


def damaged(pattern: str, content: bytes = b"PAR1" * 9) -> Make:
    """Read a saved dataset one of whose files is damaged."""

    def make(at: Place) -> None:
        folder = saved(at.folder / "data", "label", MASK)
        (path,) = folder.glob(pattern)
        path.write_bytes(content)
        read(load_segmentation_data, folder)

    return make


def damaged_table(name: str) -> Make:
    """Read a folder with a table that is none."""

    def make(at: Place) -> None:
        (at.folder / name).write_bytes(b"\x00\xff" * 9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.config, "HF_DATASETS_CACHE", at.folder / "cache")
            read(load_segmentation_data, at.folder)

    return make


def no_rows(at: Place) -> None:
    empty = datasets.Dataset.from_dict({"image": [1]}).select([])
    choose_splits({"train": empty}, "data", validation_split="train")


# ---- boxes ----

BOX = [2.0, 3.0, 10.0, 5.0]
CLASSES = ObjectBoxes(id2label={0: "cat", 1: "dog"})


def boxes(value: Any = None, **fields: Any) -> Make:
    """Decode an image's objects, by default one good box of the first class."""
    one = {"bbox": [BOX], "category": [0], **fields} if value is None else value
    return lambda at: CLASSES.decode(one, size=(20, 30), where="row 0")


def objects(*rows: Any, **options: Any) -> Callable[[Place], tuple[list[Any], Any]]:
    """Read a dataset of these objects, one image for each; return the boxes and their counts."""

    def make(at: Place) -> tuple[list[Any], Any]:
        pixels = np.zeros((20, 30, 3), np.uint8).tolist()
        table = datasets.Dataset.from_list([{"image": pixels, "objects": json.dumps(row)} for row in rows])
        datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(at.folder / "data"))
        (at.folder / "data" / "id2label.json").write_text('["cat", "dog"]')
        data = load_detection_data(
            str(at.folder / "data"), normalization=NORMALIZATION, image_size=[*SIDE], **options
        )
        return [row["labels"]["boxes"] for row in data.train], data.train.reader.box_counts

    return make


# ---- files of settings, and flags ----

TYPES = (ModelArguments, SegmentationOptions, StructKDTrainingArguments)


def parsed(*flags: str, **files: bytes) -> Make:
    """Parse flags behind a file, if one is given by its ending; `HERE/` is the test's folder."""

    def make(at: Place) -> None:
        (at.folder / "file.json").write_text("{}")
        paths = [at.folder / f"run.{ending}" for ending in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        given = [*map(str, paths), *(flag.replace("HERE", str(at.folder)) for flag in flags)]
        parse_arguments(*TYPES, argv=[*given, "--use_cpu", "--report_to", "none"])

    return make


def yaml(text: str) -> Make:
    return parsed(yaml=text.encode())


def flag(name: str, *values: str) -> Make:
    return parsed(f"--{name}", *values)


# ---- folders of models ----

CONFIG, WEIGHTS, PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
INDEX_FILE, PROCESSOR = "model.safetensors.index.json", "preprocessor_config.json"
INDEX = json.dumps({"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode()
PAGE = b"<html>404</html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def teacher(folder: Path) -> Any:
    return TeacherSource(folder, SegmentationTask).model


def loaded(folder: Path) -> Any:
    return load_teacher(folder, SegmentationTask)


def student(folder: Path) -> Any:
    return load_student(folder, SegmentationTask)


def matched(folder: Path) -> Any:
    config = TeacherSource(folder, SegmentationTask).config
    return SegmentationTask(config, config)


def processor(folder: Path) -> Any:
    return load_image_processor(folder)


def normalization(folder: Path) -> Any:
    return ImageNormalization.from_image_processor(load_image_processor(folder))


def written(name: str, content: bytes) -> Change:
    """Replace a file of the folder, which holds weights in one file only."""

    def change(folder: Path) -> None:
        if name in (PICKLE, INDEX_FILE):
            (folder / WEIGHTS).unlink()
        (folder / name).write_bytes(content)

    return change


def cut(name: str) -> Change:
    """Keep the first half of a file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def without(*gone: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in gone]


def set_to(**settings: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def model(change: Change, reader: Reader, name: str = "") -> Make:
    """Read a copy of a good folder, or what has a name inside it, after a change."""

    def make(at: Place) -> Any:
        folder = Path(shutil.copytree(at.model, at.folder / "model"))
        change(folder)
        return reader(folder / name)

    return make


def unchanged(folder: Path) -> None:
    """Leave the folder as it is."""


# ---- answers of the Hub ----


def hub(change: Change, reader: Reader, *, fault: str = "", name: str = "user/model", **repo: Any) -> Make:
    """Read a model from a Hub that holds a copy of a good folder after a change; see `LoopbackHub.fail`."""

    def make(at: Place) -> None:
        folder = Path(shutil.copytree(at.model, at.folder / "model"))
        change(folder)
        with LoopbackHub(at.folder / "hub") as running, pytest.MonkeyPatch.context() as patch:
            running.put_model("user/model", folder, **repo)
            if fault:
                methods, pattern, status = fault.rsplit(" ", 2)
                running.fail(methods, pattern, int(status), times=9)
            patch.setattr(constants, "ENDPOINT", running.url)
            template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patch.setattr(constants, "HF_HUB_OFFLINE", False)
            patch.setattr(constants, "HF_HUB_CACHE", str(at.folder / "cache"))
            reader(Path(name))

    return make


def teacher_with(token: str) -> Reader:
    return lambda name: load_teacher(name, SegmentationTask, token=token)


# ---- checkpoints ----

SETTINGS, MANIFEST, STATE = "structkd_settings.json", "structkd_manifest.json", "trainer_state.json"
CRITIC, OPTIMISER = "critic.safetensors", "optimizer.pt"


def checkpoint(change: Change, case: Any = SEGMENTATION, *, listed: bool = False, **models: Any) -> Make:
    """Resume from a copy of a checkpoint after a change, which its list of files may know.

    Args:
        change: To the copy.
        case: The task that resumes.
        listed: Whether the list of files is written again after the change, as somebody who is not to be
            trusted would do.
        **models: Make another student or teacher than that of the checkpoint.
    """

    def make(at: Place) -> None:
        folder = Path(shutil.copytree(at.checkpoint, at.folder / "run" / "checkpoint-1"))
        change(folder)
        if listed:
            list_files(folder)
        made = {name: make() for name, make in models.items()}
        with narrow_critics():
            make_trainer(case, saving(folder.parent, max_steps=2), rows=4, **made).train(str(folder))

    return make


def of_plain_trainer(folder: Path) -> None:
    shutil.rmtree(folder)
    args = TrainingArguments(
        str(folder.parent), max_steps=1, save_steps=1, use_cpu=True, report_to="none", disable_tqdm=True
    )
    Trainer(SEGMENTATION.student(0), args, train_dataset=SEGMENTATION.rows(2)).train()


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("{}")


def segmenter(architecture: str, num_labels: int = NUM_LABELS) -> Callable[[], Any]:
    return lambda: tiny_segmentation_model(architecture, num_labels=num_labels)
