"""Figures and tables that show what a distillation run did."""

from hf_structkd.report._palette import class_palette
from hf_structkd.report.card import CardFacts, RunNotes, card_facts, model_card
from hf_structkd.report.class_bars import plot_class_bars
from hf_structkd.report.comparison import (
    ComparisonRow,
    comparison_table,
    count_parameters,
    milliseconds_per_image,
    share_of_gap_closed,
)
from hf_structkd.report.curves import plot_curves
from hf_structkd.report.depth import write_depth_report
from hf_structkd.report.depth_predictions import DepthPredictionRow, plot_depth_predictions
from hf_structkd.report.detection import write_detection_report
from hf_structkd.report.detection_predictions import Boxes, BoxRow, plot_detection_predictions
from hf_structkd.report.predictions import PredictionRow, plot_segmentation_predictions
from hf_structkd.report.run import Exhibit, write_report
from hf_structkd.report.segmentation import write_segmentation_report

__all__ = [
    "BoxRow",
    "Boxes",
    "CardFacts",
    "ComparisonRow",
    "DepthPredictionRow",
    "Exhibit",
    "PredictionRow",
    "RunNotes",
    "card_facts",
    "class_palette",
    "comparison_table",
    "count_parameters",
    "milliseconds_per_image",
    "model_card",
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
