"""Datasets: loading, decoding, augmentation and batches."""

from hf_structkd.data._recipes import DenseData
from hf_structkd.data._rows import Normalization
from hf_structkd.data.boxes import BOX_RULES, ObjectBoxes
from hf_structkd.data.decoding import BadImageError, decode_depth, decode_image, decode_label
from hf_structkd.data.dense import DenseDataset, DenseIterableDataset, collate_dense
from hf_structkd.data.detection import DetectionDataset, DetectionIterableDataset, collate_detection
from hf_structkd.data.load_depth import load_depth_data
from hf_structkd.data.load_detection import load_detection_data
from hf_structkd.data.load_segmentation import load_segmentation_data
from hf_structkd.data.loading import (
    check_columns,
    load_dataset_splits,
    load_unlabeled_split,
    read_id2label,
)
from hf_structkd.data.mixing import MixedDataset, MixedIterableDataset
from hf_structkd.data.targets import ClassMap, DepthMap, TargetMap
from hf_structkd.data.transforms import DenseAugmentation, jitter_color, resize_image, resize_label

__all__ = [
    "BOX_RULES",
    "BadImageError",
    "ClassMap",
    "DenseAugmentation",
    "DenseData",
    "DenseDataset",
    "DenseIterableDataset",
    "DepthMap",
    "DetectionDataset",
    "DetectionIterableDataset",
    "MixedDataset",
    "MixedIterableDataset",
    "Normalization",
    "ObjectBoxes",
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
    "resize_label",
]
