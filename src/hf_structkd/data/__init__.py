"""Datasets: loading, decoding, augmentation and batches."""

from ._assembly import LoadedData
from ._rows import Normalization
from .boxes import BOX_RULES, ObjectBoxes
from .decoding import BadImageError, decode_depth, decode_image, decode_label
from .dense import DenseDataset, DenseIterableDataset, collate_dense
from .detection import DetectionDataset, DetectionIterableDataset, collate_detection
from .load_depth import DepthKind, DepthOptions, load_depth_data
from .load_detection import DetectionOptions, load_detection_data
from .load_segmentation import SegmentationOptions, load_segmentation_data
from .loading import check_columns, load_dataset_splits, load_unlabeled_split, read_id2label
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
    "DenseDataset",
    "DenseIterableDataset",
    "DenseOptions",
    "DepthKind",
    "DepthMap",
    "DepthOptions",
    "DetectionDataset",
    "DetectionIterableDataset",
    "DetectionOptions",
    "LoadedData",
    "MixedDataset",
    "MixedIterableDataset",
    "Normalization",
    "ObjectBoxes",
    "SegmentationOptions",
    "TargetMap",
    "check_columns",
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
    "load_unlabeled_split",
    "read_id2label",
    "resize_image",
]
