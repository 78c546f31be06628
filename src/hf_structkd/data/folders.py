"""Folders as people keep them: images beside maps of the same names, or beside a COCO file."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import datasets

from ._coco import read_coco
from ._files import IMAGES, TEXTS, FoundFile, divided_by_lists, find_files, first_names, split_names
from ._yolo import read_yolo

logger = logging.getLogger(__name__)

_AFFIX = (
    r"(images?|imgs?|rgb|photos?|masks?|labels?|annotations?|segmentation|seg|gt|sync|depths?|maps?|l"
    r"|colou?rs?|leftImg8bit|gtFine|label(Train)?Ids)"
)
_AFFIXES = re.compile(rf"(?i)^{_AFFIX}([_\W]+|(?=\d))|([_\W]+|(?<=\d)){_AFFIX}$")
# What tells a map from the image beside it in one folder.
_OF_A_MAP = {
    "label": re.compile(r"(?i)[_\W](masks?|labels?|seg|segmentation|gt)$"),
    "depth": re.compile(r"(?i)(^|[_\W])depth([_\W]|$)"),
}
_EXPECTED = {
    "label": "label maps in a folder `masks`, `labels` or `annotations`",
    "depth": "depth maps in a folder `depth`, as images or `.npy`",
    "objects": "the boxes in a COCO file such as `annotations.json` or in YOLO's text files in "
    "`labels` (convert others to one of them)",
}
# Beginnings of the names of files that hold no labels of images.
_NO_LABELS = ("README", "readme", "LICENSE", "id2label.json")
# Of the maps that Cityscapes keeps beside each other.
_SORTS = ("labelTrainIds", "labelIds")


def read_folder(
    folder: Path, target_kind: str | None, *, without_labels: bool = False
) -> dict[str, datasets.Dataset] | None:
    """Read a folder whose files are paired by their names, without copying or decoding them.

    Below the folder, in either order, stand the kind of the files (`images`, `masks`, `depth` and their usual
    synonyms) and, if there are several, the split (`train`, `validation`, `val`, `test`), which the lists of
    Pascal VOC may name too. A map belongs to the image of the same name, or of the same name without words
    such as `_mask`. Boxes come from COCO files, or from YOLO's, as they are written there.

    Args:
        folder: The folder.
        target_kind: What the images need: "label", "depth" or "objects"; None takes images alone.
        without_labels: Whether images may stand alone where other files are beside them.

    Returns:
        Rows with the columns `image` and `target_kind` by split; None if the folder is laid out in another
        way, which `datasets` reads. Images stand alone in a split without anything else, and in a folder of
        images alone.

    Raises:
        ValueError: If there are images without anything that fits them, or names that are not unique.
    """
    files = find_files(folder)
    if files is None:
        return None
    files = divided_by_lists(folder, files)
    kinds = {file.kind for file in files if file.is_image}
    if target_kind is None:
        return _images_alone(files) if "image" in kinds and kinds - {"image", None} else None
    if target_kind == "depth" and any("proj_depth" in file.place.parts for file in files):
        raise ValueError(
            f"`dataset_name` {str(folder)!r} must hold images beside depth maps of the same names, got "
            "KITTI's tree with `proj_depth`, whose images are in the raw download; link the maps below "
            "`proj_depth/groundtruth/image_02` into `depth/train` and `depth/val`, the images of the same "
            "drives and numbers under the same names into `images/train` and `images/val`, and pass "
            "depth_scale 0.00390625."
        )
    if target_kind == "objects":
        rows = read_coco(folder, files) or read_yolo(folder, files)
        if rows is not None:
            return rows
    if target_kind != "objects" and kinds == {None}:
        is_map = _OF_A_MAP[target_kind].search
        files = [replace(file, kind=target_kind) if is_map(file.path.stem) else file for file in files]
        kinds = {file.kind for file in files if file.is_image}
    map_kind = next((kind for kind in (target_kind, "target") if kind in kinds), None)
    if map_kind is not None and target_kind != "objects":
        return _read_pairs(folder, files, target_kind, map_kind, "image" if "image" in kinds else None)
    could_be = _could_be_labels(folder, files)
    stands_alone = len(kinds) == 1 and kinds <= {"image", None} and not could_be
    if kinds and (without_labels or (stands_alone and not any("/" in file.key for file in files))):
        return _images_alone(files)
    if "image" not in kinds and not (kinds and could_be):
        return None
    below = sorted(path.name for path in folder.iterdir() if path.is_dir())
    endings = {path.suffix for path in folder.rglob("*") if path.is_file()}
    is_usual = {one.lower() for one in endings} <= {*IMAGES, *TEXTS, ""}
    found = "" if is_usual else f" with the files {' and '.join(sorted(endings))}"
    found = found or (could_be and f", in which {first_names(could_be)} may be labels") or ""
    places = f"the folders {', '.join(below)}" if below else "one folder"
    raise ValueError(
        f"`dataset_name` {str(folder)!r} must hold, beside its images, {_EXPECTED[target_kind]}, got {places}"
        f"{found}; add or rename the missing one, or pass `without_labels` to learn from a teacher alone."
    )


def _could_be_labels(folder: Path, files: Sequence[FoundFile]) -> list[str]:
    """Return the names of files that are no images, and of images that have their name twice in a split."""
    images = [file for file in files if file.is_image]
    known = {file.path for file in images}
    others = (path.name for path in folder.rglob("*") if path.is_file() and path not in known)
    counts = Counter((file.split, file.kind, file.key) for file in images)
    twice = [file.path.name for file in images if counts[file.split, file.kind, file.key] > 1]
    return sorted(name for name in others if not name.startswith((".", *_NO_LABELS))) + twice


def _images_alone(files: Sequence[FoundFile]) -> dict[str, datasets.Dataset]:
    by_split = defaultdict(list)
    images = [file for file in files if file.is_image]
    kind = "image" if any(file.kind == "image" for file in images) else None
    for file in images:
        if file.kind == kind:
            by_split[file.split or "train"].append(str(file.path))
    names = split_names(files)
    return {names[split]: _rows({"image": paths}) for split, paths in by_split.items()}


def _read_pairs(
    folder: Path, files: Sequence[FoundFile], target_kind: str, map_kind: str, image_kind: str | None
) -> dict[str, datasets.Dataset]:
    files = _of_one_sort(folder, [file for file in files if file.is_image])
    loaded, unlabeled, names = {}, {}, split_names(files)
    alone: list[str] = []
    for split, name in names.items():
        both = [
            [file for file in files if (file.split or "train", file.kind) == (split, kind)]
            for kind in (image_kind, map_kind)
        ]
        images, maps = _by_name(both[0]), _by_name(both[1])
        if images and not maps and image_kind is not None:
            unlabeled[name] = _rows({"image": [str(file.path) for file in both[0]]})
            continue
        if not images.keys() & maps.keys():
            images, maps = _by_name(both[0], plain=True), _by_name(both[1], plain=True)
        shared = images.keys() & maps.keys()
        alone += [
            str(file.place) for side in (images, maps) for key, file in side.items() if key not in shared
        ]
        if shared:
            columns = {"image": images, target_kind: maps}
            loaded[name] = _rows(
                {column: [str(side[key].path) for key in sorted(shared)] for column, side in columns.items()}
            )
    if not loaded:
        raise ValueError(
            f"`dataset_name` {str(folder)!r} must hold for each image a {target_kind} map of the same name, "
            f"got no pair among {first_names(alone)}; rename the files, `images/1.jpg` and `masks/1.png` say."
        )
    if alone:
        logger.warning(
            "%s: files without a partner of the same name are left out: %s.", folder, first_names(alone)
        )
    return {name: (loaded | unlabeled)[name] for name in names.values() if name in loaded | unlabeled}


def _of_one_sort(folder: Path, files: Sequence[FoundFile]) -> Sequence[FoundFile]:
    """Return the files without the colours and instances that Cityscapes keeps beside the class ids."""
    for sort in _SORTS:
        if any(file.path.stem.endswith(f"_{sort}") for file in files):
            logger.warning(
                "%s: only the maps that end in %r are read; Cityscapes' labelTrainIds are its 19 classes, "
                "and its labelIds all 34 raw ids.",
                *(folder, sort),
            )
            is_map = ("label", "target")
            return [file for file in files if file.kind not in is_map or file.path.stem.endswith(f"_{sort}")]
    return files


def _by_name(files: Iterable[FoundFile], *, plain: bool = False) -> Mapping[str, FoundFile]:
    """Return the files by their names; raise `ValueError` if two have one name."""
    named: dict[str, FoundFile] = {}
    for file in files:
        parent, _, stem = file.key.rpartition("/")
        key = f"{parent}/{_plain(stem)}" if plain else file.key
        if key in named:
            raise ValueError(
                f"`dataset_name` must hold one {file.kind or 'image'} file of each name, got "
                f"{str(named[key].place)!r} and {str(file.place)!r}; remove or rename one of them."
            )
        named[key] = file
    return named


def _plain(stem: str) -> str:
    """Return the name without the words before and behind it that say what kind of file it is."""
    while (shorter := _AFFIXES.sub("", stem)) != stem:
        stem = shorter
    return stem


def _rows(columns: Mapping[str, list[str]]) -> datasets.Dataset:
    features = datasets.Features({column: datasets.Image() for column in columns})
    return datasets.Dataset.from_dict(dict(columns), features=features)
