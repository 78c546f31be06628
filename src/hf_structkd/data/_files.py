"""What the folders above a file say of it: images or maps, and of which split."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

logger = logging.getLogger(__name__)

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"}
_ARRAY = ".npy"
TEXTS = {".json", ".txt", ".yaml", ".yml"}
_READ_BY_DATASETS = {".parquet", ".arrow", ".tar"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# `trainannot` and the like.
_TWO_WORDS = re.compile(r"\b(train|val|test)((?:annot|image|img|label|mask)s?)\b")


def words_of(name: str) -> set[str]:
    """Return the words of a file's or folder's name in small letters, as `train` and `images`."""
    return set(_TWO_WORDS.sub(r"\1 \2", " ".join(_WORD.findall(name)).lower()).split())


_KINDS = {
    "depth": words_of("depth depths"),
    "label": words_of(
        "lbl lbls ann anns annot annots mask masks label labels annotation annotations seg segmentation "
        "segmentations segmentationclass semantic"
    ),
    # Masks or depth, as the task needs.
    "target": words_of("gt groundtruth ground truth target targets"),
    "image": words_of(
        "image images img imgs rgb photo photos picture pictures jpegimages input inputs original originals"
    ),
}
_SPLITS = {
    "train": words_of("train training"),
    "validation": words_of("validation valid val dev"),
    "test": words_of("test testing"),
}
_FILLERS = words_of("map maps set raw dir left bit fine trainvaltest v jpeg class")
_KNOWN = set().union(*_KINDS.values(), *_SPLITS.values(), _FILLERS)


@dataclass(frozen=True)
class FoundFile:
    """A file, its place below the folder, and what the folders of this place say.

    `kind` is "image", "label", "depth", "target" (one of the last two) or None; `split` is "train",
    "validation", "test" or None, and `split_word` is how the folder writes it; `key` is the place without
    these folders and without the ending.
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
        return suffix in IMAGES or (suffix == _ARRAY and self.kind in ("depth", "target"))


def find_files(folder: Path) -> list[FoundFile] | None:
    """Return all images, arrays and text files below a folder, in the order of their places.

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
            if not name.startswith(".") and suffix in {*IMAGES, _ARRAY, *TEXTS}:
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
        is_new = (part_kind and kind in (None, part_kind)) or (part_split and split is None)
        if words and words <= _KNOWN and is_new:
            kind = kind or part_kind
            split, word = (split, word) if split else (part_split, part_word)
        else:
            rest.append(part)
    if path.suffix.lower() == ".json" and split is None:
        split, word = _split_of(words_of(path.stem))
    return FoundFile(path, place, kind, split, word, "/".join([*rest, place.stem]))


def divided_by_lists(folder: Path, files: Sequence[FoundFile]) -> list[FoundFile]:
    """Return the files in the splits of Pascal VOC's lists (`ImageSets/*/train.txt`), if there are any.

    Of the lists of several tasks, those of segmentation count. Maps that no list names are told.
    """
    lists: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for file in files:
        split, word = _split_of({file.path.stem})
        if file.path.suffix == ".txt" and split and word and "ImageSets" in file.place.parts[:-1]:
            listed = file.path.read_text(encoding="utf-8").split()
            lists[file.path.parent.name] |= dict.fromkeys(listed, (split, word))
    if not lists or any(file.split for file in files if file.is_image):
        return [*files]
    stems = lists.get("Segmentation") or next(iter(lists.values()))
    divided = []
    for file in files:
        split, word = stems.get(file.path.stem, (None, None))
        if split or not file.is_image:
            divided.append(replace(file, split=split, split_word=word))
    maps = (file for file in files if file.is_image and file.kind == "label")
    alone = [str(file.place) for file in maps if file.path.stem not in stems]
    text = f"; maps that they do not name are left out: {first_names(alone)}" if alone else ""
    logger.warning("%s: the splits are those of the lists in ImageSets%s.", folder, text)
    return divided


def _kind_of(words: set[str]) -> str | None:
    return next((kind for kind, known in _KINDS.items() if words & known), None)


def _split_of(words: set[str]) -> tuple[str, str] | tuple[None, None]:
    """Return the split that the words name, and how they write it."""
    found = ((split, word) for split, known in _SPLITS.items() for word in words & known)
    return next(found, (None, None))
