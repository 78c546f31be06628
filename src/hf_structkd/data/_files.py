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


def words_of(name: str) -> set[str]:
    """Return the words of a file's or folder's name in small letters, without numbers at their ends."""
    return set(re.findall(r"[a-z]+", name.lower()))


_KINDS = {
    "depth": words_of("depth depths"),
    "label": words_of(
        "lbl lbls ann anns annot annots mask masks label labels annotation annotations gt groundtruth ground "
        "truth seg segmentation segmentations segmentationclass semantic"
    ),
    "image": words_of("image images img imgs rgb photo photos picture pictures jpegimages"),
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


def split_names(files: Iterable[FoundFile]) -> dict[str, str]:
    """Return each split that occurs and how the folders write it; files outside of all splits train."""
    names: dict[str, str] = {}
    for file in files:
        split = file.split or "train"
        names.setdefault(split, str(file.split_word) if split == "validation" else split)
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
        part_kind, (part_split, part_word) = _kind_of(words), _split_of(words)
        if words <= _KNOWN and ((part_kind and not kind) or (part_split and not split)):
            kind = kind or part_kind
            split, word = (split, word) if split else (part_split, part_word)
        else:
            rest.append(part)
    if path.suffix.lower() == ".json" and split is None:
        split, word = _split_of(words_of(path.stem))
    return FoundFile(path, place, kind, split, word, "/".join([*rest, place.stem]))


def _kind_of(words: set[str]) -> str | None:
    return next((kind for kind, known in _KINDS.items() if words & known), None)


def _split_of(words: set[str]) -> tuple[str, str] | tuple[None, None]:
    """Return the split that the words name, and how they write it."""
    found = ((split, word) for split, known in _SPLITS.items() for word in words & known)
    return next(found, (None, None))
