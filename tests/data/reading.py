"""Rows of a dataset as model inputs, stored or streamed as the dataset is."""

from __future__ import annotations

from typing import Any

import datasets

from hf_structkd.data import DenseReader, DetectionReader, RowReader, StoredRows, StreamedRows


def read(kind: type[RowReader], rows: Any, target: Any, *, skip_bad_images: bool = False, **settings: Any):
    reader = kind(target=target, **settings)
    dataset = StreamedRows if isinstance(rows, datasets.IterableDataset) else StoredRows
    return dataset(rows, reader, skip_bad_images=skip_bad_images)


def read_dense(rows: Any, target: Any, **settings: Any):
    return read(DenseReader, rows, target, **settings)


def read_detection(rows: Any, target: Any, **settings: Any):
    return read(DetectionReader, rows, target, **settings)
