"""Bad model folders, boxes, settings and checkpoints: each is refused with the sentence beside it."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from hf_structkd import StructKDTrainingArguments
from hf_structkd.cli.script_args import ModelArguments, parse_arguments
from hf_structkd.data import SegmentationOptions, load_detection_data, load_segmentation_data
from hf_structkd.data.boxes import ObjectBoxes
from hf_structkd.data.decoding import BadImageError, decode_image
from hf_structkd.matching.normalization import ImageNormalization
from hf_structkd.models.loading import load_image_processor, load_student, load_teacher
from hf_structkd.models.teacher_source import TeacherSource
from hf_structkd.tasks import SegmentationTask, task_of

from ..tiny_models import tiny_segmentation_model
from .test_bad_inputs import MASK, saved

Reader = Callable[[Path], Any]

NORMALIZATION = ImageNormalization()
PAGE = b"<html>404</html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def refused(read: Reader, folder: Path, sentence: str) -> None:
    """Check the sentence of our error, or of argparse, which writes it before it exits."""
    said = io.StringIO()
    with pytest.raises((ValueError, TypeError, OSError, SystemExit)) as caught, redirect_stderr(said):
        read(folder)
    text = str(caught.value)
    if caught.type is SystemExit:
        *_, text = said.getvalue().strip().splitlines()
    assert re.search(sentence, text), text
    assert "\n" not in text


# ---- model folders ----


def written(name: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file of the folder, which holds weights in one file only."""

    def change(folder: Path) -> None:
        if name.endswith((".bin", ".index.json")):
            (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(content)

    return change


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def set_to(**settings: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def without(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def teacher(folder: Path) -> Any:
    return TeacherSource(folder, SegmentationTask).model


def loaded_teacher(folder: Path) -> Any:
    return load_teacher(folder, SegmentationTask)


def student(folder: Path) -> Any:
    return load_student(folder, SegmentationTask)


def file_in(read: Reader) -> Reader:
    return lambda folder: read(folder / "model.safetensors")


def beside(read: Reader) -> Reader:
    return lambda folder: read(folder / "none")


def away(read: Reader) -> Reader:
    return lambda folder: read(Path("nowhere/model"))


def matched(folder: Path) -> Any:
    config = TeacherSource(folder, SegmentationTask).config
    return SegmentationTask(config, config)


INDEX = json.dumps({"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode()
FOLDERS: dict[str, tuple[Callable[[Path], None], Reader, str]] = {
    "cut config": (
        cut("config.json"),
        teacher,
        "`teacher_model` .* cannot be loaded .*config.json' is not a valid JSON",
    ),
    "cut config of a student": (
        cut("config.json"),
        student,
        "the student .* cannot be loaded .*config.json' is not a valid JSON",
    ),
    "cut config, task": (cut("config.json"), task_of, "`model` .* cannot be loaded .*not a valid JSON"),
    "config of no bytes": (
        written("config.json", b""),
        student,
        "the student .* cannot be loaded .*not a valid JSON",
    ),
    "config is a list": (
        written("config.json", b"[]"),
        student,
        "the student .* cannot be loaded .*`model_type`",
    ),
    "config is a page": (
        written("config.json", PAGE),
        teacher,
        "`teacher_model` .* cannot be loaded .*not a valid JSON",
    ),
    "config of bytes": (
        written("config.json", b"\xff\xfe\x00"),
        teacher,
        "`teacher_model` .* cannot be loaded .*not a valid JSON",
    ),
    "unknown model_type": (
        set_to(model_type="seqformer"),
        teacher,
        "`teacher_model` .* cannot be loaded .*`seqformer`",
    ),
    "unknown model_type of a student": (
        set_to(model_type="seqformer"),
        student,
        "the student .* cannot be loaded .*`seqformer`",
    ),
    "no model_type": (
        set_to(model_type=None),
        student,
        "the student .* cannot be loaded .*model type `None`",
    ),
    "words for widths": (
        set_to(hidden_sizes="wide"),
        student,
        "the student .* cannot be loaded .*'hidden_sizes'",
    ),
    "names are a list": (set_to(id2label=["a"]), student, "the student .* cannot be loaded "),
    "names of words": (set_to(id2label={"a": "b"}), student, "the student .* cannot be loaded .*'a'"),
    "names with a gap": (
        set_to(id2label={"0": "a", "2": "b"}),
        matched,
        r"class ids must be 0 to K - 1, got \[0, 2\]; correct",
    ),
    "names twice": (set_to(id2label={"0": "a", "1": "a"}), matched, "two classes of one name: 'a'"),
    "more names than outputs": (
        set_to(id2label={str(i): str(i) for i in range(4)}),
        teacher,
        "`teacher_model` .* cannot be loaded .*belong together",
    ),
    "another task": (
        set_to(architectures=["GLPNForDepthEstimation"]),
        teacher,
        "must be a model for image-segmentation, got .* which is GLPNForDepthEstimation",
    ),
    "cut weights": (cut("model.safetensors"), teacher, "`teacher_model` .* cannot be loaded .*Safetensor"),
    "cut weights of a student": (
        cut("model.safetensors"),
        student,
        "the student .* cannot be loaded .*Safetensor",
    ),
    "weights are a page": (
        written("model.safetensors", PAGE),
        teacher,
        "`teacher_model` .* cannot be loaded .*Safetensor",
    ),
    "weights are a page, student": (
        written("model.safetensors", PAGE),
        student,
        "the student .* cannot be loaded .*Safetensor",
    ),
    "weights are a pointer of LFS": (
        written("model.safetensors", POINTER),
        loaded_teacher,
        "`teacher_model` .* cannot be loaded .*Safetensor.*download",
    ),
    "weights of no bytes": (
        written("model.safetensors", b""),
        student,
        "the student .* cannot be loaded .*Safetensor",
    ),
    "pickle is a page": (
        written("pytorch_model.bin", PAGE),
        teacher,
        "`teacher_model` .* cannot be loaded .*UnpicklingError",
    ),
    "pickle of no bytes": (
        written("pytorch_model.bin", b""),
        teacher,
        "`teacher_model` .* cannot be loaded .*EOFError",
    ),
    "index without its files": (
        written("model.safetensors.index.json", INDEX),
        teacher,
        "`teacher_model` .* cannot be loaded .*model-00001-of-00001",
    ),
    "cut index": (
        written("model.safetensors.index.json", INDEX[:20]),
        teacher,
        "`teacher_model` .* cannot be loaded .*JSONDecodeError",
    ),
    "teacher without weights": (
        without("model.safetensors"),
        teacher,
        "`teacher_model` .* cannot be loaded .*no file named model.safetensors",
    ),
    "teacher of wider layers": (
        set_to(decoder_hidden_size=9),
        teacher,
        "`teacher_model` .* cannot be loaded .*belong together",
    ),
    "teacher without a config": (without("config.json"), teacher, "`teacher_model` .* cannot be loaded "),
    "student without a config": (without("config.json"), student, "the student .* cannot be loaded "),
    "empty folder": (
        without("config.json", "model.safetensors"),
        student,
        "the student .* cannot be loaded ",
    ),
    "student is a file": (
        lambda folder: None,
        file_in(student),
        "the student .* cannot be loaded .*not a valid JSON",
    ),
    "teacher is a file": (
        lambda folder: None,
        file_in(teacher),
        "`teacher_model` .* cannot be loaded .*not a valid JSON",
    ),
    "no such path": (
        lambda folder: None,
        beside(student),
        "the student must be a folder, or a model on the Hub",
    ),
    "no such path of a teacher": (
        lambda folder: None,
        beside(teacher),
        "`teacher_model` must be a folder, or a model on the Hub",
    ),
    "no such id": (
        lambda folder: None,
        away(student),
        "the student 'nowhere/model' is no folder and not in the cache",
    ),
    "cut processor": (
        written("preprocessor_config.json", b"{"),
        load_image_processor,
        "the image processor of .* cannot be loaded ",
    ),
    "processor is a list": (
        written("preprocessor_config.json", b"[]"),
        load_image_processor,
        "the image processor of .* cannot be loaded ",
    ),
    "processor of an unknown type": (
        written("preprocessor_config.json", b'{"image_processor_type": "X"}'),
        load_image_processor,
        "the image processor of .* cannot be loaded .*Unrecognized image processor",
    ),
    "processor with words for a mean": (
        written(
            "preprocessor_config.json",
            b'{"image_processor_type": "SegformerImageProcessor", "image_mean": "grey"}',
        ),
        lambda f: ImageNormalization.from_image_processor(load_image_processor(f)),
        "`image_mean` must be one number or three, got 'grey'",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained model of three classes."""
    folder = tmp_path_factory.mktemp("good") / "model"
    tiny_segmentation_model("segformer", id2label={0: "a", 1: "b", 2: "c"}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("change", "read", "sentence"), FOLDERS.values(), ids=FOLDERS)
def test_a_bad_model_folder_is_refused(
    good: Path, tmp_path: Path, change: Callable[[Path], None], read: Reader, sentence: str
) -> None:
    """A message from deep inside names neither the model nor what to do, and some said nothing."""
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    change(folder)
    refused(read, folder, sentence)


# ---- boxes ----


def decoded(value: Any) -> Reader:
    boxes = ObjectBoxes(id2label={0: "cat", 1: "dog"})
    return lambda folder: boxes.decode(value, size=(20, 30), where="row 0")


def trained_on(*objects: Any, **options: Any) -> Reader:
    """Read a dataset of these objects, one image for each, as training and as validation data."""

    def read(folder: Path) -> Any:
        image = np.zeros((20, 30, 3), np.uint8)
        rows = [{"image": image.tolist(), "objects": json.dumps(one)} for one in objects]
        table = datasets.Dataset.from_list(rows)
        datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(folder / "data"))
        (folder / "data" / "id2label.json").write_text('["cat", "dog"]')
        data = load_detection_data(
            str(folder / "data"), normalization=NORMALIZATION, image_size=[32, 32], **options
        )
        return [row["labels"]["boxes"] for row in data.train], data.train.reader.box_counts

    return read


GOOD = [2.0, 3.0, 10.0, 5.0]
NAN = float("nan")
BOXES: dict[str, tuple[Reader, str]] = {
    "words for numbers": (
        decoded({"bbox": [["a", "b", "c", "d"]], "category": [0]}),
        "A box in row 0 must be four numbers, got ",
    ),
    "five numbers": (
        decoded({"bbox": [[*GOOD, 1.0]], "category": [0]}),
        "A box in row 0 must be four numbers, got ",
    ),
    "empty box": (decoded({"bbox": [[]], "category": [0]}), r"A box in row 0 must be four numbers, got \[\]"),
    "box is None": (
        decoded({"bbox": [None], "category": [0]}),
        "A box in row 0 must be four numbers, got None",
    ),
    "box is a dict": (
        decoded({"bbox": [{"x": 1}], "category": [0]}),
        "A box in row 0 must be four numbers, got ",
    ),
    "box of lists": (
        decoded({"bbox": [[[1], [2], [3], [4]]], "category": [0]}),
        "A box in row 0 must be four numbers, got ",
    ),
    "boxes None": (
        decoded({"bbox": None, "category": [0]}),
        "The fields of row 0 must be of one length, got ",
    ),
    "boxes a word": (decoded({"bbox": "abcd", "category": [0]}), "The field 'bbox' in row 0 must be a list"),
    "categories None": (
        decoded({"bbox": [GOOD], "category": None}),
        "The fields of row 0 must be of one length, got ",
    ),
    "category None": (
        decoded({"bbox": [GOOD], "category": [None]}),
        r"The categories in row 0 must be ids in \[0, 2\) or class names, got None",
    ),
    "category NaN": (
        decoded({"bbox": [GOOD], "category": [NAN]}),
        r"The categories in row 0 must be ids in \[0, 2\) or class names, got nan",
    ),
    "category negative": (
        decoded({"bbox": [GOOD], "category": [-1]}),
        r"The categories in row 0 must be ids in \[0, 2\) or class names, got -1",
    ),
    "category half": (
        decoded({"bbox": [GOOD], "category": [0.5]}),
        r"The categories in row 0 must be ids in \[0, 2\) or class names, got 0.5",
    ),
    "category is a digit": (
        decoded({"bbox": [GOOD], "category": ["1"]}),
        r"The categories in row 0 must be ids in \[0, 2\) or class names, got '1'",
    ),
    "category is a list": (decoded({"bbox": [GOOD], "category": [[0]]}), "must be ids or class names, got"),
    "fewer categories": (
        decoded({"bbox": [GOOD, GOOD], "category": [0]}),
        "The fields of row 0 must be of one length, got ",
    ),
    "crowd None": (
        decoded({"bbox": [GOOD], "category": [0], "iscrowd": None}),
        "The fields of row 0 must be of one length, got ",
    ),
    "crowd words": (
        decoded({"bbox": [GOOD], "category": [0], "iscrowd": ["no"]}),
        "The field 'iscrowd' in row 0 must hold 0 or 1",
    ),
    "cut JSON": (decoded('{"bbox": [[1'), "must be JSON where they are a string"),
    "JSON of a number": (decoded("3"), "must be a dict of lists, a list of dicts or JSON"),
    "all NaN": (
        trained_on({"bbox": [[NAN] * 4], "category": [0]}),
        "must hold at least one box to train on, got none",
    ),
    "all infinite": (
        trained_on({"bbox": [[1.0, 2.0, 1e999, 3.0]], "category": [0]}),
        "must hold at least one box to train on, got none",
    ),
    "all negative": (
        trained_on({"bbox": [[9.0, 9.0, -3.0, -3.0]] * 3, "category": [0] * 3}),
        "must hold at least one box to train on, got none",
    ),
    "all unknown": (
        trained_on({"bbox": [GOOD], "category": [7]}, unknown_categories="drop"),
        "must hold at least one box to train on, got none",
    ),
    "all crowd": (
        trained_on({"bbox": [GOOD], "category": [0], "iscrowd": [1]}),
        "must hold at least one box to train on, got none",
    ),
    "no objects": (
        trained_on({"bbox": [], "category": []}),
        "must hold at least one box to train on, got none",
    ),
}


# ---- YAML and flags ----

TYPES = (ModelArguments, SegmentationOptions, StructKDTrainingArguments)


def parsed(*flags: str, **files: bytes) -> Reader:
    """Parse flags behind a file, if one is given by its ending."""

    def read(folder: Path) -> Any:
        names = []
        for ending, content in files.items():
            names = [str(folder / f"run.{ending}")]
            Path(names[0]).write_bytes(content)
        given = [flag.replace("FOLDER", str(folder)) for flag in flags]
        return parse_arguments(*TYPES, argv=[*names, *given, "--use_cpu", "--report_to", "none"])

    return read


SETTINGS: dict[str, tuple[Reader, str]] = {
    "tab": (
        parsed(yaml=b"learning_rate:\t0.1\n\tmax_steps: 3\n"),
        "run.yaml is not valid YAML: .*cannot start any token",
    ),
    "bytes": (parsed(yaml=b"\xff\xfe\x00\x81"), "run.yaml is not valid YAML: "),
    "zero bytes": (parsed(yaml=b"\x00\x00\x00"), "run.yaml is not valid YAML: "),
    "bytes in JSON": (parsed(json=b"\xff\xfe\x00\x81"), "run.json is not valid JSON: "),
    "page": (parsed(yaml=b"<html>a: b: c</html>"), "run.yaml is not valid YAML: "),
    "JSON list": (parsed(json=b"[1]"), "run.json must map option names to values, got a list"),
    "two documents": (
        parsed(yaml=b"max_steps: 3\n---\nmax_steps: 4\n"),
        "run.yaml is not valid YAML: expected a single document",
    ),
    "python object": (
        parsed(yaml=b"max_steps: !!python/object/apply:os.getcwd []\n"),
        "run.yaml is not valid YAML: could not determine a constructor",
    ),
    "list for a number": (
        parsed(yaml=b"max_steps: [3]\n"),
        "sets 'max_steps' to .3., where one value belongs",
    ),
    "map for a number": (
        parsed(yaml=b"learning_rate: {a: 1}\n"),
        "sets 'learning_rate' to .*, where one value belongs",
    ),
    "map for text": (
        parsed(yaml=b"output_dir: {a: 1}\n"),
        "sets 'output_dir' to .*, where one value belongs",
    ),
    "fraction for a count": (
        parsed(yaml=b"max_steps: 1.5\n"),
        "run.yaml: argument --max_steps.* invalid int value: '1.5'",
    ),
    "truth for a number": (parsed(yaml=b"learning_rate: true\n"), "invalid float value: 'True'"),
    "nothing for a number": (
        parsed(yaml=b"learning_rate:\n"),
        "sets 'learning_rate' to None, where one value belongs",
    ),
    "word for a number": (parsed(yaml=b"learning_rate: fast\n"), "invalid float value: 'fast'"),
    "word for a truth": (parsed(yaml=b"compare_baseline: maybe\n"), "Truthy value expected: got maybe"),
    "number for a truth": (parsed(yaml=b"compare_baseline: 7\n"), "Truthy value expected: got 7"),
    "word for a choice": (parsed(yaml=b"node_pooling: median\n"), "`node_pooling` must be one of"),
    "list of lists": (parsed(yaml=b"image_size: [[64, 64]]\n"), "invalid int value: '.64, 64.'"),
    "nested settings": (parsed(yaml=b"training:\n  max_steps: 3\n"), "sets 'training', which is no option"),
    "misspelt flag": (
        parsed("--pixel_wieght", "3"),
        "'--pixel_wieght' is no option; did you mean '--pixel_weight'",
    ),
    "value without a flag": (parsed("out"), "'out' is no option"),
    "flag without a value": (parsed("--learning_rate"), "expected one argument"),
    "word for a count": (parsed("--max_steps", "many"), "invalid int value: 'many'"),
    "yaml behind flags": (parsed("--max_steps", "3", "run.yaml"), "'run.yaml' is no option"),
    "output_dir is a file": (
        parsed("--output_dir", "FOLDER/config.json"),
        "`output_dir` must be a folder, got .*config.json is a file",
    ),
    "output_dir below a file": (
        parsed("--output_dir", "FOLDER/config.json/out"),
        "`output_dir` must be a folder, got .*config.json is a file",
    ),
    "batch of 0": (
        parsed("--per_device_train_batch_size", "0"),
        "`per_device_train_batch_size` must be at least 1, got 0",
    ),
    "batch below 0": (
        parsed("--per_device_train_batch_size", "-2"),
        "`per_device_train_batch_size` must be at least 1, got -2",
    ),
    "evaluation batch of 0": (
        parsed("--per_device_eval_batch_size", "0"),
        "`per_device_eval_batch_size` must be at least 1",
    ),
    "accumulation of 0": (
        parsed("--gradient_accumulation_steps", "0"),
        "`gradient_accumulation_steps` must be at least 1",
    ),
    "epochs 0": (parsed("--num_train_epochs", "0"), "`num_train_epochs` must be finite and above 0"),
    "epochs below 0": (parsed("--num_train_epochs", "-1"), "`num_train_epochs` must be finite and above 0"),
    "epochs NaN": (parsed("--num_train_epochs", "nan"), "`num_train_epochs` must be finite and above 0"),
    "epochs infinite": (parsed("--num_train_epochs", "inf"), "`num_train_epochs` must be finite and above 0"),
    "steps 0": (parsed("--max_steps", "0"), "`max_steps` must be at least 1, or -1"),
    "learning rate below 0": (
        parsed("--learning_rate", "-1"),
        "`learning_rate` must be finite and at least 0",
    ),
    "learning rate NaN": (parsed("--learning_rate", "nan"), "`learning_rate` must be finite and at least 0"),
    "image_size of one": (parsed("--image_size", "64"), "`image_size` must be two numbers"),
    "image_size 0": (
        parsed("--image_size", "0", "0"),
        "`image_size` must be height and width in whole pixels",
    ),
    "image_size below 0": (
        parsed("--image_size", "-1", "64"),
        "`image_size` must be height and width in whole pixels",
    ),
    "image_size a fraction": (parsed("--image_size", "64.5", "64"), "invalid int value: '64.5'"),
}


# ---- places of data ----


def data_of(name: str, **options: Any) -> Reader:
    def read(folder: Path) -> Any:
        saved(folder / "saved", "label", MASK)
        (folder / "pairs" / "images").mkdir(parents=True)
        (folder / "pairs" / "masks").mkdir()
        given = {
            key: value.replace("FOLDER", str(folder)) if isinstance(value, str) else value
            for key, value in options.items()
        }
        return load_segmentation_data(
            name.replace("FOLDER", str(folder)) or None,
            normalization=NORMALIZATION,
            **{"image_size": [32, 32], **given},
        )

    return read


PLACES: dict[str, tuple[Reader, str]] = {
    "no such data": (data_of("FOLDER/none"), "`dataset_name` must be a Hub id, or a folder"),
    "data are a file": (data_of("FOLDER/config.json"), "`dataset_name` must be a Hub id, or a folder"),
    "folders without files": (data_of("FOLDER/pairs"), "`dataset_name` must be a Hub id, or a folder"),
    "configuration of a saved folder": (
        data_of("FOLDER/saved", dataset_config_name="b"),
        "neither configurations nor revisions, got 'b'",
    ),
    "revision of a saved folder": (
        data_of("FOLDER/saved", dataset_revision="v1"),
        "neither configurations nor revisions, got None and 'v1'",
    ),
    "no such names": (
        data_of("FOLDER/saved", id2label_path="FOLDER/none.json"),
        "`id2label_path` must be a JSON file .*none.json",
    ),
    "names are a folder": (
        data_of("FOLDER/saved", id2label_path="FOLDER"),
        "`id2label_path` must be a JSON file",
    ),
    "no such unlabelled images": (
        data_of("FOLDER/saved", unlabeled_dataset_name="FOLDER/none"),
        "`unlabeled_dataset_name` must be a Hub id, or a folder",
    ),
    "unlabelled beside scenes": (
        data_of("", unlabeled_dataset_name="FOLDER/saved", max_train_samples=1),
        "`unlabeled_dataset_name` needs `dataset_name`",
    ),
    "scenes of no size": (
        data_of("", image_size=[0, 32], max_train_samples=1, max_eval_samples=1),
        "`image_size` must be height and width in whole pixels",
    ),
    "scenes of negative size": (
        data_of("", image_size=[32, -1], max_train_samples=1, max_eval_samples=1),
        "`image_size` must be height and width in whole pixels",
    ),
}


RUNS = BOXES | SETTINGS | PLACES


@pytest.mark.parametrize(("read", "sentence"), RUNS.values(), ids=RUNS)
def test_bad_boxes_settings_and_places_are_refused(tmp_path: Path, read: Reader, sentence: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused(read, tmp_path, sentence)


def test_an_image_without_boxes_is_fine_beside_others(tmp_path: Path) -> None:
    read = trained_on({"bbox": [GOOD], "category": [0]}, {"bbox": [], "category": []}, None)
    boxes, _ = read(tmp_path)
    assert [len(one) for one in boxes][1:] == [0, 0]


def test_an_image_of_no_bytes_shows_no_address_of_memory() -> None:
    with pytest.raises(BadImageError) as caught:
        decode_image({"bytes": b"", "path": None}, where="row 0")
    assert " at 0x" not in str(caught.value)
