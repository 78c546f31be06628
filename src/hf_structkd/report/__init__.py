"""Figures and tables that show what a distillation run did."""

from ._palette import class_palette
from .class_bars import plot_class_bars
from .comparison import (
    ComparisonRow,
    comparison_table,
    milliseconds_per_image,
    share_of_gap_closed,
)
from .curves import plot_curves
from .depth import write_depth_report
from .depth_predictions import DepthPredictionRow, plot_depth_predictions
from .detection import write_detection_report
from .detection_predictions import Boxes, BoxRow, plot_detection_predictions
from .predictions import PredictionRow, plot_segmentation_predictions
from .run import Exhibit, write_report
from .segmentation import write_segmentation_report

__all__ = [
    "BoxRow",
    "Boxes",
    "ComparisonRow",
    "DepthPredictionRow",
    "Exhibit",
    "PredictionRow",
    "class_palette",
    "comparison_table",
    "milliseconds_per_image",
    "plot_class_bars",
    "plot_curves",
    "plot_depth_predictions",
    "plot_detection_predictions",
    "plot_segmentation_predictions",
    "share_of_gap_closed",
    "write_depth_report",
    "write_detection_report",
    "write_report",
    "write_segmentation_report",
]
