"""Bad inputs of many kinds: each is refused with the sentence that stands beside it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_structkd.data import load_depth_data, load_segmentation_data
from hf_structkd.data.loading import choose_splits
from hf_structkd.matching.normalization import ImageNormalization

NORMALIZATION = ImageNormalization()
PICTURE = datasets.Image()
SIDE = (32, 32)


def file(content: Any, kind: str = "PNG") -> dict[str, Any]:
    """Encode an array or a picture as a row of a dataset holds it."""
    buffer = io.BytesIO()
    (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(buffer, kind)
    return raw(buffer.getvalue())


def raw(content: bytes) -> dict[str, Any]:
    return {"bytes": content, "path": None}


def full(value: float, kind: Any = float) -> Any:
    return np.full(SIDE, value, dtype=kind)


RGB = np.random.default_rng(0).integers(0, 255, (*SIDE, 3), dtype=np.uint8)
IMAGE = file(RGB)
MASK = file(np.arange(1024, dtype=np.uint8).reshape(SIDE) % 3)
FLOATS = file(Image.fromarray(full(0.5, np.float32)), "TIFF")
RAGGED = [[0] * 32] * 31 + [[0] * 31]

UNREADABLE = r"image in row 0.* cannot be decoded"
NO_CLASS_MAP = "must hold one integer class id per pixel"
NO_DEPTH_MAP = "must hold one number per pixel"
WRONG_TYPE = "must be of the type .* correct this option"
NAMES = "must map each class id, 0 to K - 1, to a name of its own"

IMAGES: dict[str, tuple[Any, str]] = {
    "missing image": (None, f"{UNREADABLE} .*the row holds no image"),
    "cut image": (raw(IMAGE["bytes"][:200]), UNREADABLE),
    "image of no bytes": (raw(b""), UNREADABLE),
    "web page for an image": (raw(b"<html>404</html>"), UNREADABLE),
    "image of floats": (FLOATS, "must have 8 or 16 bits per channel"),
    "path to nothing": ("x.png", UNREADABLE),
    "number for an image": (1, UNREADABLE),
    "dict for an image": ({"a": 1}, UNREADABLE),
    "ragged image": ([[1, 2], [1]], "rows of pixels in row 0.* must be of one length"),
    "words for pixels": ([["a"]], "must hold integers in"),
    "empty list for an image": ([], "must have the shape"),
    "channels first": (np.zeros((3, *SIDE), np.uint8).tolist(), "must have the shape .*move the channels"),
    "two channels": (np.zeros((*SIDE, 2), np.uint8).tolist(), "must have the shape"),
    "five channels": (np.zeros((*SIDE, 5), np.uint8).tolist(), "must have the shape"),
    "negative pixels": (full(-1, int).tolist(), "must hold integers in"),
    "pixels above 255": (full(256, int).tolist(), "must hold integers in"),
}
LABELS: dict[str, tuple[Any, str]] = {
    "missing mask": (None, UNREADABLE),
    "cut mask": (raw(MASK["bytes"][:60]), UNREADABLE),
    "mask of floats": (FLOATS, NO_CLASS_MAP),
    "mask of colours": (IMAGE, NO_CLASS_MAP),
    "mask of another size": (file(np.zeros((16, 32), np.uint8)), "must have the same size"),
    "path to no mask": ("a/b.png", UNREADABLE),
    "one id for a mask": (3, "`label_column` must be a column of masks"),
    "negative ids": (full(-1, int).tolist(), r"Labels must lie in \[0, 3\)"),
    "ragged mask": (RAGGED, "must be of one length"),
    "list of shares for a mask": (full(0.5).tolist(), NO_CLASS_MAP),
    "ids too high": (file(full(7, np.uint8)), r"Labels must lie in \[0, 3\).* got the values 7"),
    "ids of 16 bits": (file(full(300, np.uint16)), r"Labels must lie in .* got the values 300"),
    "mask in JPEG": (file(full(0, np.uint8), "JPEG"), "stored as JPEG, which does not keep values"),
    "dict for a mask": ({"x": 1}, UNREADABLE),
}
DEPTHS: dict[str, tuple[Any, str]] = {
    "missing depth": (None, UNREADABLE),
    "depth of 8 bits": (file(full(9, np.uint8)), "`depth_scale` must be given for depth in 8 bits"),
    "depth in colours": (IMAGE, NO_DEPTH_MAP),
    "one number for depth": (3, "which holds one int64 of each image"),
    "path to no depth": ("x.png", UNREADABLE),
    "truth values for depth": (full(1, bool).tolist(), NO_DEPTH_MAP),
    "ragged depth": (RAGGED, "must be of one length"),
    "depth of another size": (np.ones((16, 32)).tolist(), "must have the same size"),
    "depth with two channels": (np.ones((2, *SIDE)).tolist(), NO_DEPTH_MAP),
    "depth in no unit": (full(1e30).tolist(), "`depth_scale` must be the metres of a stored unit"),
    "cut depth": (raw(file(full(900, np.uint16))["bytes"][:60]), UNREADABLE),
}
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"image_size": [0, 32]}, "must be height and width in whole pixels"),
    ({"image_size": [-1, 32]}, "must be height and width in whole pixels"),
    ({"image_size": [32]}, "`image_size` must be two numbers"),
    ({"image_size": [32, 32, 32]}, "`image_size` must be two numbers"),
    ({"image_size": [32.5, 32]}, f"`image_size` {WRONG_TYPE}"),
    ({"image_size": ["a", "b"]}, f"`image_size` {WRONG_TYPE}"),
    ({"image_size": 32}, f"`image_size` {WRONG_TYPE}"),
    ({"image_size": None}, f"`image_size` {WRONG_TYPE}"),
    ({"scale": [0, 1]}, "`scale` must be two positive numbers"),
    ({"scale": [1]}, "`scale` must be two numbers"),
    ({"scale": ["a", "b"]}, f"`scale` {WRONG_TYPE}"),
    ({"scale": [float("nan"), 1]}, "`scale` must be two positive numbers"),
    ({"flip_probability": 2}, r"`flip_probability` must lie in \[0, 1\]"),
    ({"flip_probability": "x"}, f"`flip_probability` {WRONG_TYPE}"),
    ({"color_jitter": [1]}, "`color_jitter` must be four strengths"),
    ({"color_jitter": ["a"] * 4}, f"`color_jitter` {WRONG_TYPE}"),
    ({"base_size": [0, 0]}, "`base_size` must be height and width"),
    ({"base_size": [3]}, "`base_size` must be two numbers"),
    ({"ignore_index": "x"}, f"`ignore_index` {WRONG_TYPE}"),
    ({"ignore_index": 2.5}, f"`ignore_index` {WRONG_TYPE}"),
    ({"ignore_index": True}, f"`ignore_index` {WRONG_TYPE}"),
    ({"label_values": ["0"]}, "`label_values` must list the stored value of each"),
    ({"label_values": ["a"]}, "`label_values` must be integers .* or colours"),
    ({"label_values": [0, 0, 1]}, "`label_values` must name a value once"),
    ({"label_values": "012"}, f"`label_values` {WRONG_TYPE}"),
    ({"label_values": 5}, f"`label_values` {WRONG_TYPE}"),
    ({"max_train_samples": 0}, "`max_train_samples` must be at least 1"),
    ({"max_train_samples": 1.5}, f"`max_train_samples` {WRONG_TYPE}"),
    ({"max_train_samples": "x"}, f"`max_train_samples` {WRONG_TYPE}"),
    ({"validation_fraction": 0.0}, r"`validation_fraction` must lie in \(0, 1\)"),
    ({"validation_fraction": 0.1}, "`validation_fraction` must leave rows"),
    ({"validation_fraction": "x"}, f"`validation_fraction` {WRONG_TYPE}"),
    ({"train_split": ""}, "`train_split` must be one of the splits"),
    ({"train_split": "train[:0%]"}, "`train_split` must hold at least one row"),
    ({"train_split": "train[x"}, "a slice is written"),
    ({"train_split": None}, f"`train_split` {WRONG_TYPE}"),
    ({"image_column": "img"}, "`image_column` must be a column of the dataset, got 'img'"),
    ({"image_column": None}, f"`image_column` {WRONG_TYPE}"),
    ({"label_column": ""}, "`label_column` must be a column of the dataset"),
    ({"label_column": "image"}, NO_CLASS_MAP),
    ({"streaming": "yes"}, f"`streaming` {WRONG_TYPE}"),
    ({"colour_jitter": [1]}, "did you mean `color_jitter`"),
]
CLASS_NAMES: list[tuple[bytes, str]] = [
    (b"{", "must be JSON that names the classes"),
    (b"\xff\xfe", "must be JSON that names the classes"),
    *((text, NAMES) for text in (b"[]", b"{}", b"null", b'"x"', b"3")),
    (b'{"0": "a", "2": "b"}', NAMES),
    (b'{"0": "a", "1": "a", "2": "c"}', NAMES),
    (b'{"x": "a"}', NAMES),
    (b'{"0": "a", "1": "b", "2": null}', NAMES),
    (b'{"0": {"a": 1}, "1": "b", "2": "c"}', NAMES),
]


def saved(folder: Path, column: str, target: Any, image: Any = IMAGE, *, rows: int = 2) -> str:
    """Write a dataset whose rows are all alike."""
    table = datasets.Dataset.from_dict({"image": [image] * rows, column: [target] * rows})
    for name, value in (("image", image), (column, target)):
        if value is None or (isinstance(value, dict) and "bytes" in value):
            table = table.cast_column(name, PICTURE)
    datasets.DatasetDict({"train": table, "validation": table}).save_to_disk(str(folder))
    (folder / "id2label.json").write_text(json.dumps(["a", "b", "c"]))
    return str(folder)


def read(load: Any, name: str, **options: Any) -> None:
    data = load(name, normalization=NORMALIZATION, **{"image_size": list(SIDE), **options})
    for row in range(len(data.train)):
        assert data.train[row] is not None


def refused(sentence: str, load: Any, name: str, **options: Any) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        read(load, name, **options)
    text = str(caught.value)
    assert re.search(sentence, text), text
    assert "\n" not in text


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("good") / "data", "label", MASK)


@pytest.mark.parametrize(("image", "sentence"), IMAGES.values(), ids=IMAGES)
def test_a_bad_image_is_refused(tmp_path: Path, image: Any, sentence: str) -> None:
    """A message from deep inside a decoder says neither which row nor what to do."""
    refused(sentence, load_segmentation_data, saved(tmp_path / "data", "label", MASK, image))


@pytest.mark.parametrize(("label", "sentence"), LABELS.values(), ids=LABELS)
def test_a_bad_mask_is_refused(tmp_path: Path, label: Any, sentence: str) -> None:
    refused(sentence, load_segmentation_data, saved(tmp_path / "data", "label", label))


@pytest.mark.parametrize(("depth", "sentence"), DEPTHS.values(), ids=DEPTHS)
def test_a_bad_depth_map_is_refused(tmp_path: Path, depth: Any, sentence: str) -> None:
    refused(sentence, load_depth_data, saved(tmp_path / "data", "depth", depth))


@pytest.mark.parametrize(("options", "sentence"), OPTIONS, ids=lambda value: str(value)[:40])
def test_a_bad_option_is_refused(good: str, options: dict[str, Any], sentence: str) -> None:
    refused(sentence, load_segmentation_data, good, **options)


@pytest.mark.parametrize(("content", "sentence"), CLASS_NAMES, ids=lambda value: str(value)[:40])
def test_bad_class_names_are_refused(good: str, tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(content)
    refused(sentence, load_segmentation_data, good, id2label_path=str(path))


def test_a_split_without_rows_is_refused() -> None:
    """As validation data it passed, and nothing was scored."""
    empty = datasets.Dataset.from_dict({"image": [1]}).select([])
    with pytest.raises(ValueError, match="`validation_split` must hold at least one row"):
        choose_splits({"train": empty}, "data", validation_split="train")
