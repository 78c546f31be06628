"""Datasets from the Hub or a folder, their splits, columns and class names."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from pyarrow import ArrowException

from ..hub.access import explained
from ._names_file import read_names
from .folders import read_folder

logger = logging.getLogger(__name__)

_NAMES_FILE = "id2label.json"
_ALONE = "pass `without_labels` to learn from a teacher alone"
MOST_LISTED = 12


def load_dataset_splits(
    name_or_path: str,
    *,
    argument: str = "dataset_name",
    config_name: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    target_kind: str | None = None,
    without_labels: bool = False,
    **hub: Any,
) -> Any:
    """Load all splits of a dataset.

    Args:
        name_or_path: a Hub id; a local folder of images beside maps or a COCO file, see `read_folder`; one
            that `datasets.load_dataset` reads (parquet, images); or one written by ``save_to_disk``. A folder
            comes before a Hub id of the same name.
        argument: what an error calls the dataset.
        config_name: configuration (subset) of the dataset, if it has several.
        revision: branch, tag or commit on the Hub.
        streaming: whether rows are read as they are needed, instead of storing the dataset first.
        target_kind: what stands beside the images of a folder, see `read_folder`.
        without_labels: whether the images of a folder may stand alone, see `read_folder`.
        **hub: passed to `datasets.load_dataset`, for example ``token`` or ``cache_dir``.

    Returns:
        `datasets.Dataset` or, when streaming, `datasets.IterableDataset` by the name of the split.

    Raises:
        ValueError: if a file is damaged, or the Hub has no such dataset or revision, or does not let the user
            read it.
        ConnectionError: if the Hub cannot be reached, or fails.
    """
    if any((Path(name_or_path) / file).is_file() for file in ("dataset_dict.json", "state.json")):
        try:
            loaded = datasets.load_from_disk(name_or_path)
        except Exception as error:  # the readers of its files raise many types
            raise _damage(argument, name_or_path, error) from error
        if isinstance(loaded, datasets.Dataset):
            loaded = {"train": loaded}
    else:
        loaded = read_folder(Path(name_or_path), target_kind, without_labels=without_labels)
    if loaded is not None and (config_name, revision) != (None, None):
        raise ValueError(
            f"`{argument}` {name_or_path!r} is a folder, which has neither configurations nor revisions, got "
            f"{config_name!r} and {revision!r}; leave them out, or pass a Hub id."
        )
    if loaded is None:
        with explained(f"`{argument}`", name_or_path, revision=revision, kind="dataset"):
            try:
                return datasets.load_dataset(
                    name_or_path, config_name, revision=revision, streaming=streaming, **hub
                )
            except datasets.exceptions.DatasetNotFoundError:
                # It says only in prose whether the dataset is missing, private or gated; the Hub's error has
                # a type for each.
                HfApi().auth_check(name_or_path, repo_type="dataset", token=hub.get("token"))
                raise
            except (datasets.exceptions.DatasetGenerationError, ArrowException) as error:
                raise _damage(argument, name_or_path, error.__cause__ or error) from error
            except ValueError as error:
                raise _differing(argument, name_or_path, error) from error
            except FileNotFoundError as error:
                raise ValueError(
                    f"`{argument}` must be a Hub id, or a folder that holds images or tables, got "
                    f"{name_or_path!r} ({error}); correct the path."
                ) from error
    return _as_streams(loaded) if streaming else dict(loaded)


def _as_streams(loaded: Mapping[str, datasets.Dataset]) -> dict[str, datasets.IterableDataset]:
    streams = {name: split.to_iterable_dataset() for name, split in loaded.items()}
    for name, stream in streams.items():
        stream.info.builder_name = loaded[name].info.builder_name  # tells YOLO's boxes, see `read_yolo`
    return streams


def _differing(argument: str, name: str, error: ValueError) -> ValueError:
    """Return what an error of `datasets` means where files differ in their fields, else the error."""
    if "different features" not in str(error):
        return error
    return ValueError(
        f"`{argument}` {name!r} must have metadata with the same fields in every file, and has others, as "
        "where one holds lists that are all empty; write COCO files instead."
    )


def _damage(argument: str, name: str, cause: BaseException) -> ValueError:
    said = " ".join(f"{type(cause).__name__}: {cause}".split())
    return ValueError(
        f"`{argument}` {name!r} cannot be loaded ({said[:300]}); check that its files are complete, and "
        "download or save it again."
    )


def choose_splits(loaded: Any, name_or_path: str, **splits: str) -> list[Any]:
    """Return some of the splits that `load_dataset_splits` loaded, or slices of them.

    Args:
        loaded: the splits by name.
        name_or_path: what an error calls the dataset.
        **splits: argument name to split, for instance ``train_split="train"``, or to a slice in the form of
            `datasets`, ``"train[:80%]"`` or ``"train[10:20]+test"``.

    Raises:
        ValueError: if one does not exist, the message lists those that do; or if a slice is malformed, holds
            no row, or is one of a stream.
    """
    chosen = []
    for argument, split in splits.items():
        if split in loaded:
            if isinstance(loaded[split], datasets.Dataset) and not len(loaded[split]):
                raise ValueError(
                    f"`{argument}` must hold at least one row, and {split!r} of {name_or_path!r} holds none; "
                    f"add rows or choose another split."
                )
            chosen.append(loaded[split])
            continue
        parts = split_ranges(loaded, name_or_path, argument, split)
        chosen.append(datasets.concatenate_datasets([loaded[name].select(rows) for name, rows in parts]))
    return chosen


def split_ranges(loaded: Any, name_or_path: str, argument: str, split: str) -> list[tuple[str, range]]:
    """Return which rows of which splits a slice names; the arguments and errors are of `choose_splits`."""
    whole = f"must be one of the splits of {name_or_path!r}, got {split!r}; it has: {', '.join(loaded)}"
    if "[" not in split and "+" not in split and split not in loaded:
        raise ValueError(f"`{argument}` {whole}.")
    if any(isinstance(rows, datasets.IterableDataset) for rows in loaded.values()):
        raise ValueError(f"`{argument}` {whole}; a stream has no slices, so store it (`streaming` off).")
    try:
        instruction = datasets.ReadInstruction.from_spec(split)
        parts = instruction.to_absolute({name: len(rows) for name, rows in loaded.items()})
    except (ValueError, AssertionError) as error:
        raise ValueError(f"`{argument}` {whole}; a slice is written 'train[:80%]' ({error}).") from error
    ranges = [(part.splitname, range(part.from_, part.to)) for part in parts]
    if not any(len(rows) for _, rows in ranges):
        raise ValueError(f"`{argument}` must hold at least one row, got {split!r}; widen the slice.")
    return ranges


def check_columns(dataset: Any, **columns: str) -> None:
    """Check that a dataset has the columns that the arguments name.

    Args:
        dataset: a `datasets.Dataset` or `datasets.IterableDataset`; a stream of unknown columns passes.
        **columns: argument name to column, for instance ``image_column="image"``.

    Raises:
        ValueError: if one is missing; the message lists the columns that exist.
    """
    for argument, column in columns.items():
        _check_column(dataset, argument, column)


def _check_column(dataset: Any, argument: str, column: str, advice: str = "") -> None:
    present = dataset.column_names
    if present is not None and column not in present:
        raise ValueError(
            f"`{argument}` must be a column of the dataset, got {column!r}; it has: "
            f"{', '.join(present)}{advice}."
        )


def check_target_column(dataset: Any, needed: str, **columns: str) -> None:
    """Check that a column exists and can hold what an image needs, a mask for instance.

    Args:
        dataset: see `check_columns`.
        needed: what an error calls it, "mask".
        **columns: argument name to column.

    Raises:
        ValueError: if it is missing, or holds one class or one number of each image.
    """
    features = dataset.features or {}
    held = {
        name: f"one class of each image ({listed(feature.names)}), as `imagefolder` reads it off the folders"
        for name, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    for argument, column in columns.items():
        feature = features.get(column)
        if isinstance(feature, datasets.Value) and feature.dtype != "string":
            held = {column: f"one {feature.dtype} of each image"}
        if column in held:
            text = f"which holds {held[column]}"
        elif column not in features and held:
            name, content = next(iter(held.items()))
            text = f"which is missing, and {name!r} holds {content}"
        else:
            _check_column(dataset, argument, column, f"; name it, or {_ALONE}")
            continue
        raise ValueError(
            f"`{argument}` must be a column of {needed}s, got {column!r}, {text}; the columns are "
            f"{listed(features)}: add a {needed} for every image, or {_ALONE}."
        )


def listed(texts: Iterable[str]) -> str:
    """Return texts as a list in a sentence, the first ones of many."""
    every = list(texts)
    more = [f"{len(every) - MOST_LISTED} more"] if len(every) > MOST_LISTED else []
    shown = [*every[:MOST_LISTED], *more]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def read_id2label(
    dataset: Any,
    label_column: str,
    *,
    label_field: str | None = None,
    name_or_path: str | None = None,
    id2label_path: str | Path | None = None,
    revision: str | None = None,
) -> dict[int, str] | None:
    """Return the class names of a dataset, from the first of these that has them.

    1. ``id2label_path``, a JSON file; 2. the `ClassLabel` feature of the label column, at any depth;
    3. ``id2label.json`` in the folder, or at the root of the Hub dataset, ``name_or_path``.

    Args:
        dataset: a `datasets.Dataset` or `datasets.IterableDataset`; None has no labels.
        label_column: the column of the labels.
        label_field: field of the column that holds the class ids, if it has several, as objects have.
        name_or_path: what the dataset was loaded from.
        id2label_path: a JSON file, ``{"0": "sky", ...}`` or ``["sky", ...]``.
        revision: branch, tag or commit on the Hub.

    Returns:
        Class id to name, ids 0 to K - 1 in order, or ``None`` if nothing names the classes.

    Raises:
        ValueError: if the file does not give each of the ids 0 to K - 1 a name of its own.
        FileNotFoundError: if ``id2label_path`` does not exist.
    """
    if id2label_path is not None:
        return read_names(Path(id2label_path))
    feature = (getattr(dataset, "features", None) or {}).get(label_column)
    while feature is not None and not isinstance(feature, datasets.ClassLabel):
        has_fields = isinstance(feature, Mapping)
        feature = feature.get(label_field) if has_fields else getattr(feature, "feature", None)
    if feature is not None:
        return dict(enumerate(feature.names))
    if name_or_path is None:
        return None
    if Path(name_or_path).is_dir():
        path = Path(name_or_path) / _NAMES_FILE
        return read_names(path) if path.is_file() else None
    return _names_from_hub(name_or_path, revision)


def _names_from_hub(name: str, revision: str | None) -> dict[int, str] | None:
    try:
        path = hf_hub_download(name, _NAMES_FILE, repo_type="dataset", revision=revision)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        logger.warning(
            "The Hub could not be asked for the class names of %r; pass `id2label_path` to name the classes.",
            name,
        )
        return None
    except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError):
        return None  # the dataset has no such file, or is no repository ("parquet", "imagefolder")
    return read_names(Path(path))
