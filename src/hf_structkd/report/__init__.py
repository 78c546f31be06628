"""Figures and tables that show what a distillation run did, from plain values; it knows no task."""

from ._palette import class_palette
from ._pictures import PictureRow
from .boxes import Boxes, plot_boxes
from .class_bars import plot_class_bars
from .comparison import (
    ComparisonRow,
    Headline,
    comparison_table,
    milliseconds_per_image,
    share_of_gap_closed,
)
from .curves import plot_curves
from .depth_maps import plot_depth_maps
from .label_maps import plot_label_maps
from .page.gallery import Gallery, Range
from .page.page import ReportPage
from .page.painting import box_gallery, class_gallery, depth_gallery
from .run import Exhibit, write_report

__all__ = [
    "Boxes",
    "ComparisonRow",
    "Exhibit",
    "Gallery",
    "Headline",
    "PictureRow",
    "Range",
    "ReportPage",
    "box_gallery",
    "class_gallery",
    "class_palette",
    "comparison_table",
    "depth_gallery",
    "milliseconds_per_image",
    "plot_boxes",
    "plot_class_bars",
    "plot_curves",
    "plot_depth_maps",
    "plot_label_maps",
    "share_of_gap_closed",
    "write_report",
]
