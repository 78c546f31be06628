"""Datasets: loading, decoding, augmentation and batches."""

from ._assembly import LoadedData
from ._datasets import StoredRows, StreamedRows, has_labels, in_teacher_size, show_teacher
from ._rows import Normalization, RowReader
from .boxes import ObjectBoxes
from .dense import DenseReader, collate_dense
from .detection import DetectionReader, collate_detection
from .image_files import BadImageError
from .kept_views import kept_views_note
from .load_depth import DepthKind, DepthOptions, load_depth_data
from .load_detection import DetectionOptions, load_detection_data
from .load_segmentation import SegmentationOptions, load_segmentation_data
from .mixing import MixedDataset, MixedIterableDataset
from .options import ClassOptions, DataOptions
from .targets import ClassMap, DepthMap, TargetMap
from .transforms import DenseAugmentation

__all__ = [
    "BadImageError",
    "ClassMap",
    "ClassOptions",
    "DataOptions",
    "DenseAugmentation",
    "DenseReader",
    "DepthKind",
    "DepthMap",
    "DepthOptions",
    "DetectionOptions",
    "DetectionReader",
    "LoadedData",
    "MixedDataset",
    "MixedIterableDataset",
    "Normalization",
    "ObjectBoxes",
    "RowReader",
    "SegmentationOptions",
    "StoredRows",
    "StreamedRows",
    "TargetMap",
    "collate_dense",
    "collate_detection",
    "has_labels",
    "in_teacher_size",
    "kept_views_note",
    "load_depth_data",
    "load_detection_data",
    "load_segmentation_data",
    "show_teacher",
]
