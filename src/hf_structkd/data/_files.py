"""What the folders above a file say of it: images or maps, and of which split."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"}
_ARRAY = ".npy"
_READ_BY_DATASETS = {".parquet", ".arrow", ".tar"}
_KINDS = {
    "depth": {"depth", "depths"},
    "label": {
        *(
            "lbl",
            "lbls",
            "ann",
            "anns",
            "annot",
            "annots",
            "mask",
            "masks",
            "label",
            "labels",
            "annotation",
            "annotations",
            "gt",
            "groundtruth",
        ),
        *("ground", "truth", "seg", "segmentation", "segmentations", "segmentationclass", "semantic"),
    },
    "image": {
        "image",
        "images",
        "img",
        "imgs",
        "rgb",
        "photo",
        "photos",
        "picture",
        "pictures",
        "jpegimages",
    },
}
_SPLITS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev"},
    "test": {"test", "testing"},
}
_FILLERS = {"map", "maps", "set", "raw", "dir"}
_KNOWN = set().union(*_KINDS.values(), *_SPLITS.values(), _FILLERS)


@dataclass(frozen=True)
class FoundFile:
    """A file, its place below the folder, and what the folders of this place say.

    `kind` is "image", "label", "depth" or None; `split` is "train", "validation", "test" or None, and
    `split_word` is how the folder writes it; `key` is the place without these folders and without the ending.
    """

    path: Path
    place: PurePath
    kind: str | None
    split: str | None
    split_word: str | None
    key: str

    @property
    def is_image(self) -> bool:
        """Whether the file is an image, or a depth map in an array of NumPy's, by its ending."""
        suffix = self.path.suffix.lower()
        return suffix in _IMAGES or (suffix == _ARRAY and self.kind == "depth")


def find_files(folder: Path) -> list[FoundFile] | None:
    """Return all images, arrays and JSON files below a folder, in the order of their places.

    None says that the folder holds what `datasets` reads with more than paths: tables or `metadata` files.
    """
    found = []
    for parent, below, names in os.walk(folder, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith((".", "__")))
        for name in sorted(names):
            path = Path(parent, name)
            suffix = path.suffix.lower()
            if suffix in _READ_BY_DATASETS or (path.stem == "metadata" and suffix in (".csv", ".jsonl")):
                return None
            if not name.startswith(".") and suffix in {*_IMAGES, _ARRAY, ".json"}:
                found.append(_described(path, path.relative_to(folder)))
    return sorted(found, key=lambda file: file.place)


def words_of(name: str) -> set[str]:
    """Return the words of a file's or folder's name in small letters, without numbers at their ends."""
    return set(re.findall(r"[a-z]+", name.lower()))


def split_names(files: Iterable[FoundFile]) -> dict[str, str]:
    """Return each split that occurs and how the folders write it; files outside of all splits train."""
    names: dict[str, str] = {}
    for file in files:
        is_validation = file.split == "validation"
        names.setdefault(
            file.split or "train", str(file.split_word) if is_validation else file.split or "train"
        )
    return names


def first_names(names: Sequence[str]) -> str:
    """Return the number of names and the first of them."""
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} ({', '.join(names[:3])}{more})"


def _described(path: Path, place: PurePath) -> FoundFile:
    kind = split = word = None
    rest = []
    for part in place.parent.parts:
        words = words_of(part)
        if not words or words - _KNOWN:
            rest.append(part)
            continue
        part_kind = next((name for name, known in _KINDS.items() if words & known), None)
        part_split = next((name for name, known in _SPLITS.items() if words & known), None)
        if (part_kind is None or kind is not None) and (part_split is None or split is not None):
            rest.append(part)
            continue
        kind = kind or part_kind
        if split is None and part_split is not None:
            split, word = part_split, next(iter(words & _SPLITS[part_split]))
    if path.suffix.lower() == ".json" and split is None:
        words = words_of(path.stem)
        split = next((name for name, known in _SPLITS.items() if words & known), None)
        word = next(iter(words & _SPLITS[split])) if split else None
    return FoundFile(path, place, kind, split, word, "/".join([*rest, place.stem]))
