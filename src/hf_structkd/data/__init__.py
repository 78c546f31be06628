"""Datasets: loading, decoding, augmentation and batches."""

from ._assembly import LoadedData
from ._datasets import StoredRows, StreamedRows
from ._rows import Normalization, RowReader
from .boxes import BOX_RULES, ObjectBoxes
from .decoding import BadImageError, decode_depth, decode_image, decode_label
from .dense import DenseReader, collate_dense
from .detection import DetectionReader, collate_detection
from .load_depth import DepthKind, DepthOptions, load_depth_data
from .load_detection import DetectionOptions, load_detection_data
from .load_segmentation import SegmentationOptions, load_segmentation_data
from .loading import check_columns, choose_splits, load_dataset_splits, read_id2label
from .mixing import MixedDataset, MixedIterableDataset
from .options import ClassOptions, DataOptions, DenseOptions
from .targets import ClassMap, DepthMap, TargetMap
from .transforms import DenseAugmentation, jitter_color, resize_image

__all__ = [
    "BOX_RULES",
    "BadImageError",
    "ClassMap",
    "ClassOptions",
    "DataOptions",
    "DenseAugmentation",
    "DenseOptions",
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
    "check_columns",
    "choose_splits",
    "collate_dense",
    "collate_detection",
    "decode_depth",
    "decode_image",
    "decode_label",
    "jitter_color",
    "load_dataset_splits",
    "load_depth_data",
    "load_detection_data",
    "load_segmentation_data",
    "read_id2label",
    "resize_image",
]
