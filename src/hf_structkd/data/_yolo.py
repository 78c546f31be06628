"""Boxes in YOLO's text files, as rows of the dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import yaml

from ._files import FoundFile, split_names

YOLO = "yolo"
_NAMES = "classes.txt"


def read_yolo(folder: Path, files: Sequence[FoundFile]) -> dict[str, datasets.Dataset] | None:
    """Return the images, with the objects of the text file of the same name in `labels`, by split.

    The rows have `image` and `objects` with `bbox` (cx, cy, w, h in shares of the image) and `category`, and
    their `info.builder_name` is `YOLO`. An image without a text file has no objects. None says that there is
    no such file.

    Raises:
        ValueError: If a line is none of YOLO's, or the file of the names is malformed.
    """
    names = _names(files)
    texts = {
        (file.split, file.key): file
        for file in files
        if file.kind == "label" and file.path.suffix == ".txt" and file.path.name != _NAMES
    }
    if not texts:
        return None
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    written = split_names(files)
    for file in files:
        if file.is_image and file.kind == "image":
            text = texts.pop((file.split, file.key), None)
            objects = _objects(text, names) if text else {"bbox": [], "category": []}
            rows[written[file.split or "train"]].append({"image": str(file.path), "objects": objects})
    if texts:
        places = sorted(str(file.place) for file in texts.values())
        raise ValueError(
            f"`dataset_name` {str(folder)!r} must hold an image in `images` for each text file in "
            f"`labels`, got none for {len(texts)} of them, {places[0]} for one; add images or remove these "
            "files."
        )
    category = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    objects = {
        "bbox": datasets.List(datasets.List(datasets.Value("float64"))),
        "category": datasets.List(category),
    }
    features = datasets.Features({"image": datasets.Image(), "objects": objects})
    loaded = {split: datasets.Dataset.from_list(of_split, features) for split, of_split in rows.items()}
    for one in loaded.values():
        one.info.builder_name = YOLO
    return loaded


def _names(files: Sequence[FoundFile]) -> list[str] | None:
    """Return the class names of `classes.txt` or `data.yaml`, None without such a file."""
    for file in files:
        text = file.path.read_text(encoding="utf-8") if file.path.suffix in (".txt", ".yaml", ".yml") else ""
        if file.path.name == _NAMES:
            return [line.strip() for line in text.splitlines() if line.strip()]
        if file.path.suffix in (".yaml", ".yml") and "names" in text:
            try:
                named = yaml.safe_load(text)["names"]
                by_id = named if isinstance(named, dict) else dict(enumerate(named))
                return [str(by_id[index]) for index in range(len(by_id))]
            except (yaml.YAMLError, LookupError, TypeError) as error:
                raise ValueError(
                    f"{file.place} must list the class names under `names`, as [cat, owl] or by id from 0, "
                    f"and does not ({error!r}); correct the file."
                ) from error
    return None


def _objects(file: FoundFile, names: Sequence[str] | None) -> dict[str, list[Any]]:
    """Return the objects of a file; a polygon becomes the box around it."""
    objects: dict[str, list[Any]] = {"bbox": [], "category": []}
    for number, line in enumerate(file.path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            category, numbers = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            category, numbers = -1, []
        is_polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
        if not 0 <= category < len(names or [0] * (category + 1)) or not (len(numbers) == 4 or is_polygon):
            known = f"from 0 to {len(names) - 1}" if names else "from 0"
            raise ValueError(
                f"A line of YOLO must be a class {known} and cx, cy, w, h or the corners of a polygon, got "
                f"{line!r} in line {number} of {file.place}; correct the file or the class names."
            )
        if is_polygon:
            (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in (numbers[::2], numbers[1::2]))
            numbers = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        objects["bbox"].append(numbers)
        objects["category"].append(category)
    return objects
