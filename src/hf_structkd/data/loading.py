"""Datasets from the Hub or a folder, their splits, columns and class names."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
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

from ..hub.access import explained

logger = logging.getLogger(__name__)

_NAMES_FILE = "id2label.json"


def load_dataset_splits(
    name_or_path: str,
    *,
    config_name: str | None = None,
    revision: str | None = None,
    train_split: str | None = "train",
    validation_split: str | None = "validation",
    streaming: bool = False,
    token: str | None = None,
    cache_dir: str | None = None,
) -> dict[str, Any]:
    """The training and validation split of a dataset.

    Args:
        name_or_path: a Hub id; a local folder that `datasets.load_dataset` reads (parquet, images); or a
            folder written by ``save_to_disk``. A folder comes before a Hub id of the same name.
        config_name: configuration (subset) of the dataset, if it has several.
        revision: branch, tag or commit on the Hub.
        train_split: name of the training split; ``None`` leaves it out.
        validation_split: name of the validation split; ``None`` leaves it out.
        streaming: read rows as they are needed instead of storing the dataset first.
        token: access token for a private dataset.
        cache_dir: where to store the dataset; ``None`` takes the usual cache.

    Returns:
        ``{"train": ..., "validation": ...}`` with `datasets.Dataset` or, when streaming,
        `datasets.IterableDataset` values, whatever the splits are called in the dataset.

    Raises:
        ValueError: if a split does not exist; the message lists those that do. Also if the Hub has no such
            dataset or revision, or does not let the user read it.
        ConnectionError: if the Hub cannot be reached, or fails.
    """
    loaded = _load(
        name_or_path,
        argument="dataset_name",
        config_name=config_name,
        revision=revision,
        streaming=streaming,
        token=token,
        cache_dir=cache_dir,
    )
    wanted = {"train": train_split, "validation": validation_split}
    return {
        name: _chosen(loaded, split, argument=f"{name}_split", name_or_path=name_or_path)
        for name, split in wanted.items()
        if split is not None
    }


def load_unlabeled_split(
    name_or_path: str,
    *,
    config_name: str | None = None,
    revision: str | None = None,
    split: str = "train",
    streaming: bool = False,
) -> Any:
    """One split of a dataset, of which only the images will be read.

    Args:
        name_or_path: as in `load_dataset_splits`.
        config_name: configuration (subset) of the dataset, if it has several.
        revision: branch, tag or commit on the Hub.
        split: name of the split.
        streaming: read rows as they are needed instead of storing the dataset first.

    Returns:
        A `datasets.Dataset` or, when streaming, a `datasets.IterableDataset`.

    Raises:
        ValueError: if the split does not exist; the message lists those that do. Also if the Hub has no such
            dataset or revision, or does not let the user read it.
        ConnectionError: if the Hub cannot be reached, or fails.
    """
    loaded = _load(
        name_or_path,
        argument="unlabeled_dataset_name",
        config_name=config_name,
        revision=revision,
        streaming=streaming,
    )
    return _chosen(loaded, split, argument="unlabeled_split", name_or_path=name_or_path)


def _load(
    name_or_path: str,
    *,
    argument: str,
    config_name: str | None,
    revision: str | None,
    streaming: bool,
    token: str | None = None,
    cache_dir: str | None = None,
) -> Any:
    """All splits by name."""
    if not _is_saved_to_disk(Path(name_or_path)):
        with explained(f"`{argument}`", name_or_path, revision=revision, kind="dataset"):
            try:
                return datasets.load_dataset(
                    name_or_path,
                    config_name,
                    revision=revision,
                    streaming=streaming,
                    token=token,
                    cache_dir=cache_dir,
                )
            except datasets.exceptions.DatasetNotFoundError:
                # Missing, private or gated is told in prose only; the Hub answers by the kind of error.
                HfApi().auth_check(name_or_path, repo_type="dataset", token=token)
                raise
    loaded = datasets.load_from_disk(name_or_path)
    if isinstance(loaded, datasets.Dataset):
        loaded = {"train": loaded}
    if streaming:
        loaded = {name: split.to_iterable_dataset() for name, split in loaded.items()}
    return loaded


def _chosen(loaded: Any, split: str, *, argument: str, name_or_path: str) -> Any:
    if split not in loaded:
        raise ValueError(
            f"`{argument}` must be one of the splits of {name_or_path!r}, got {split!r}; it has: "
            f"{', '.join(loaded)}."
        )
    return loaded[split]


def _is_saved_to_disk(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def check_columns(dataset: Any, **columns: str) -> None:
    """Checks that a dataset has the columns that the arguments name.

    Args:
        dataset: a `datasets.Dataset` or `datasets.IterableDataset`; a stream whose columns are not known
            before reading passes.
        **columns: argument name to column, for instance ``image_column="image"``.

    Raises:
        ValueError: if one is missing; the message lists the columns there are.
    """
    present = dataset.column_names
    if present is None:
        return
    for argument, column in columns.items():
        if column not in present:
            raise ValueError(
                f"`{argument}` must be a column of the dataset, got {column!r}; it has: {', '.join(present)}."
            )


def read_id2label(
    dataset: Any,
    label_column: str,
    *,
    label_field: str | None = None,
    name_or_path: str | None = None,
    id2label_path: str | Path | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> dict[int, str] | None:
    """The class names of a dataset, from the first of these that has them.

    1. ``id2label_path``, a JSON file; 2. the label column's `ClassLabel` feature, however deeply nested;
    3. ``id2label.json`` in the folder, or at the root of the Hub dataset, ``name_or_path``.

    Args:
        dataset: a `datasets.Dataset` or `datasets.IterableDataset`.
        label_column: its label column.
        label_field: the field of the column that holds the class ids, if it has several, as objects have.
        name_or_path: what the dataset was loaded from.
        id2label_path: a JSON file, ``{"0": "sky", ...}`` or ``["sky", ...]``.
        revision: branch, tag or commit on the Hub.
        token: access token for a private dataset.

    Returns:
        Class id to name, ids 0 to K - 1 in order, or ``None`` if nothing names the classes.

    Raises:
        ValueError: if the file does not name the ids 0 to K - 1, each by another name.
        FileNotFoundError: if ``id2label_path`` does not exist.
    """
    if id2label_path is not None:
        return _read_names(Path(id2label_path))
    feature = (dataset.features or {}).get(label_column)
    while feature is not None and not isinstance(feature, datasets.ClassLabel):
        has_fields = isinstance(feature, Mapping)
        feature = feature.get(label_field) if has_fields else getattr(feature, "feature", None)
    if feature is not None:
        return dict(enumerate(feature.names))
    if name_or_path is None:
        return None
    if Path(name_or_path).is_dir():
        path = Path(name_or_path) / _NAMES_FILE
        return _read_names(path) if path.is_file() else None
    return _names_from_hub(name_or_path, revision=revision, token=token)


def _names_from_hub(name: str, *, revision: str | None, token: str | None) -> dict[int, str] | None:
    try:
        path = hf_hub_download(name, _NAMES_FILE, repo_type="dataset", revision=revision, token=token)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        logger.warning(
            "The Hub could not be asked for the class names of %r; pass `id2label_path` to name the classes.",
            name,
        )
        return None
    except (EntryNotFoundError, RepositoryNotFoundError, HFValidationError):
        return None  # the dataset has no such file, or is no repository ("parquet", "imagefolder")
    return _read_names(Path(path))


def _read_names(path: Path) -> dict[int, str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    named = dict(enumerate(content)) if isinstance(content, list) else content
    try:
        names = {int(index): str(name) for index, name in named.items()}
    except (AttributeError, ValueError):
        names = {}
    if not names or sorted(names) != list(range(len(names))) or len(set(names.values())) != len(names):
        raise ValueError(
            f"{path.name} must map each class id, 0 to K - 1, to a name of its own, got {content}; write it "
            'as {"0": "sky", "1": "building", ...}.'
        )
    return dict(sorted(names.items()))
