"""Datasets: loading, decoding, augmentation and batches."""

from hf_structkd.data._segmentation_rows import Normalization
from hf_structkd.data.decoding import BadImageError, decode_image, decode_label
from hf_structkd.data.loading import check_columns, load_dataset_splits, read_id2label
from hf_structkd.data.recipes import SegmentationData, load_segmentation_data
from hf_structkd.data.segmentation import (
    SegmentationDataset,
    SegmentationIterableDataset,
    collate_segmentation,
)
from hf_structkd.data.transforms import SegmentationAugmentation, jitter_color, resize_image, resize_label

__all__ = [
    "BadImageError",
    "Normalization",
    "SegmentationAugmentation",
    "SegmentationData",
    "SegmentationDataset",
    "SegmentationIterableDataset",
    "check_columns",
    "collate_segmentation",
    "decode_image",
    "decode_label",
    "jitter_color",
    "load_dataset_splits",
    "load_segmentation_data",
    "read_id2label",
    "resize_image",
    "resize_label",
]
