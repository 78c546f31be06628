"""Boxes in COCO's files, as rows of the dataset."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import datasets

from ._files import FoundFile, first_names, split_names, words_of

logger = logging.getLogger(__name__)

_WORDS = words_of("annotation annotations instances coco labels train valid validation val test")
_OTHER_FILES = {"captions", "keypoints", "panoptic", "stuff"}
_FIELDS = {"images", "annotations", "categories"}

_MOST_FILES = 20

Index = Mapping[str, Sequence[FoundFile]]


def read_coco(folder: Path, files: Sequence[FoundFile]) -> dict[str, datasets.Dataset] | None:
    """Return the images that COCO files list, with their objects, by split; None without such a file.

    The rows have `image`, `objects` with `bbox` (x, y, w, h in pixels), `category` and `iscrowd`, and, where
    all images have them in the file, `height` and `width`. Categories become ids 0 to K - 1 in the order of
    the file's ids, over all files by name.

    Raises:
        ValueError: If a split has two files, no listed image exists, or a file contradicts itself.
    """
    contents = _contents(folder, files)
    if not contents:
        return None
    names = list(dict.fromkeys(name for _, content in contents for name in content["names"].values()))
    images = [file for file in files if file.is_image and file.kind in ("image", None)]
    index = defaultdict(list)
    for image in images:
        index[image.path.name].append(image)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    written, missing, used = split_names(files), [], set()
    for file, content in contents:
        objects = _objects(file, content, names)
        listed = Counter(_last_name(str(one.get("file_name"))) for one in content["images"])
        for one in content["images"]:
            name = str(one.get("file_name"))
            found = _locate(name, file, index, is_repeated=listed[_last_name(name)] > 1)
            if found is None:
                missing.append(name)
                continue
            used.add(found.path)
            row = {"image": str(found.path), "objects": objects[one["id"]]}
            sizes = {side: one.get(side) for side in ("height", "width")}
            rows[written[file.split or found.split or "train"]].append(row | sizes)
    covered = {file.split for file, _ in contents} | {None}
    extra = [str(one.place) for one in images if one.path not in used and one.split in covered]
    _report(folder, missing, extra, found=bool(rows))
    return {split: _dataset(of_split, names) for split, of_split in rows.items()}


def _contents(folder: Path, files: Sequence[FoundFile]) -> list[tuple[FoundFile, Mapping[str, Any]]]:
    """Return the COCO files and what they hold, at most one for each split, that of training first."""
    found: dict[str | None, tuple[FoundFile, Mapping[str, Any]]] = {}
    written = [file for file in files if file.path.suffix.lower() == ".json"]
    named = [file for file in written if words_of(file.path.stem) & _WORDS]
    read = [(file, content) for file in named if (content := _content(folder, file)) is not None]
    if not read and len(written) <= _MOST_FILES:  # a file for each image is not COCO's
        others = (file for file in written if file not in named and file.path.name != "id2label.json")
        read = [(file, content) for file in others if (content := _content(folder, file)) is not None]
    for file, content in read:
        if file.split in found:
            raise ValueError(
                f"`dataset_name` {str(folder)!r} must hold one COCO file for each split, got "
                f"{str(found[file.split][0].place)!r} and {str(file.place)!r}; move one of them away."
            )
        found[file.split] = file, {**content, "names": _names(file, content)}
    return sorted(found.values(), key=lambda pair: (pair[0].split != "train", pair[0].place))


def _content(folder: Path, file: FoundFile) -> Mapping[str, Any] | None:
    """Return what a COCO file of boxes holds, None of another JSON file."""
    if words_of(file.path.stem) & _OTHER_FILES:
        return None
    try:
        content = json.loads(file.path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file.place} in {folder} is not valid JSON: {error}; write it anew.") from error
    return content if isinstance(content, Mapping) and content.keys() >= _FIELDS else None


def _names(file: FoundFile, content: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the categories in the order of their ids.

    Roboflow lists the name of the project as a category above all others, which no box has; it is no class.
    """
    categories = content["categories"]
    names = {one["id"]: str(one.get("name")) for one in categories if isinstance(one.get("id"), int)}
    if len(set(names.values())) != len(categories):
        raise ValueError(
            f"The categories of {file.place} must have an integer `id` and a `name` of their own, got "
            f"{list(categories)[:3]}; correct the file."
        )
    if not names:
        raise ValueError(f"{file.place} must list at least one category, got none; add the classes.")
    parents = {str(one.get("supercategory")) for one in categories}
    used = {one.get("category_id") for one in content["annotations"]}
    for one in categories:
        if one.get("supercategory") == "none" and names[one["id"]] in parents and one["id"] not in used:
            logger.info("%s: the category %r is above the others and is no class.", file.place, one["name"])
            del names[one["id"]]
    return dict(sorted(names.items()))


def _objects(
    file: FoundFile, content: Mapping[str, Any], names: Sequence[str]
) -> dict[Any, dict[str, list[Any]]]:
    """Return the objects of every image that the file lists, by the image's id."""
    categories = {key: names.index(name) for key, name in content["names"].items()}
    objects: dict[Any, dict[str, list[Any]]] = {
        one.get("id"): {"bbox": [], "category": [], "iscrowd": []} for one in content["images"]
    }
    if len(objects) != len(content["images"]):
        raise ValueError(f"The images of {file.place} must have an `id` of their own; correct the file.")
    for one in content["annotations"]:
        where = f"annotation {one.get('id')} of {file.place}"
        if one.get("image_id") not in objects or one.get("category_id") not in categories:
            raise ValueError(
                f"`image_id` and `category_id` must be listed under images and categories, got "
                f"{one.get('image_id')!r} and {one.get('category_id')!r} in {where}; correct the file."
            )
        if len(one.get("bbox") or ()) != 4:
            raise ValueError(
                f"`bbox` must be x, y, w, h, got {one.get('bbox')!r} in {where}; correct the file."
            )
        fields = objects[one["image_id"]]
        fields["bbox"].append(one["bbox"])
        fields["category"].append(categories[one["category_id"]])
        fields["iscrowd"].append(bool(one.get("iscrowd")))
    return objects


def _locate(name: str, file: FoundFile, index: Index, *, is_repeated: bool) -> FoundFile | None:
    """Return the image file of this name in the split of the COCO file, None if there is none.

    The folders in the name count where they exist; a file that was moved is known by its last name alone,
    unless the COCO file lists this name in several folders.
    """
    wanted = PurePosixPath(name.replace("\\", "/"))
    found = [
        one for one in index.get(wanted.name, ()) if file.split is None or one.split in (file.split, None)
    ]
    exact = [one for one in found if one.place.parts[-len(wanted.parts) :] == wanted.parts]
    found = exact or ([] if is_repeated else found)
    if len(found) > 1:
        places = first_names([str(one.place) for one in found])
        raise ValueError(
            f"`file_name` must name one file, got {name!r} in {file.place}, which fits {places}; write the "
            "folder into it."
        )
    return found[0] if found else None


def _last_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _report(folder: Path, missing: Sequence[str], extra: Sequence[str], *, found: bool) -> None:
    if not found:
        raise ValueError(
            f"`dataset_name` {str(folder)!r} must hold the images that its COCO file lists, got none of "
            f"{first_names(missing)}; put them into `images`."
        )
    if missing:
        logger.warning("%s: images that the COCO file lists do not exist: %s.", folder, first_names(missing))
    if extra:
        logger.warning("%s: images that no COCO file lists are left out: %s.", folder, first_names(extra))


def _dataset(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> datasets.Dataset:
    objects = {
        "bbox": datasets.List(datasets.List(datasets.Value("float64"))),
        "category": datasets.List(datasets.ClassLabel(names=list(names))),
        "iscrowd": datasets.List(datasets.Value("bool")),
    }
    features: dict[str, Any] = {"image": datasets.Image(), "objects": objects}
    if all(row["height"] and row["width"] for row in rows):
        features |= {side: datasets.Value("int64") for side in ("height", "width")}
    columns = {name: [row[name] for row in rows] for name in features}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))
